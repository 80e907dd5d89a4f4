#!/bin/sh
description='A default processor that executes and then resets the connection is asked again with
the same id, amount and time: charged once, there, and counted once.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
processor default misbehaves reset-after count=1
id=$(new_id)
ok 'accepted'                   post_payment api0 "$id" 19.90
ok 'settled on a later attempt' eventually 10 payment_is api1 "$id" settled default
ok 'one of them was unknown'    counter_at_least lane.unknown 1
ok 'one of them met a 422'      counter_at_least lane.exists 1
ok 'charged once'               processor_holds default "$id" 1990

processor default misbehaves reset-after percent=20 seed=13
processor fallback misbehaves reset-before percent=20 seed=14
load_start --seconds 5 --rate 200 --seed 31 --duplicates 10
ok 'the load is answered'       load_wait
processor default behaves
processor fallback behaves
ok 'the books agree'            books_agree_within 40
ok 'and stay so'                stays 2 books_agree
ok 'the windows agree'          windows_agree
done_testing
