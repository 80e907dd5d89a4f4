#!/bin/sh
description='Payments accepted while both processors are down are settled exactly once when one
of them returns.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
processor default fails
processor fallback fails
id=$(new_id)
ok 'accepted'                  post_payment api1 "$id" 19.90
ok 'more of them'              post_many --count 300 --seed 10
ok 'all were accepted'         eventually 5 counter_at_least api.accepted 301
ok 'known, and not settled'    payment_is api0 "$id" '\(queued\|sent\)'
ok 'nothing is counted'        summary_has api0 default 0 0.00
processor fallback recovers
processor default recovers
ok 'settled'                   eventually 20 payment_is api0 "$id" settled
ok 'the books agree'           books_agree_within 30
ok 'the windows agree'         windows_agree
done_testing
