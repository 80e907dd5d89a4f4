#!/bin/sh
description='A request that the processor broke off and executes seconds later is never sent to
the other one in the meantime.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_DEADLINE_MS=1000
processor default misbehaves reset-then-insert ms=3000
id=$(new_id)
ok 'accepted'                   post_payment api0 "$id" 19.90
ok 'the attempt is unknown'     eventually 5 counter_at_least lane.unknown 1
fallback_has_nothing() {
    same "$(book fallback)" ''
}
ok 'not with the fallback'      stays 2 fallback_has_nothing
processor default behaves
ok 'settled'                    eventually 15 payment_is api0 "$id" settled default
ok 'nothing with the fallback'  fallback_has_nothing

processor default misbehaves reset-then-insert percent=30 ms=2500 seed=15
load_start --seconds 5 --rate 150 --seed 41
ok 'the load is answered'       load_wait
processor default behaves
ok 'the books agree'            books_agree_within 40
ok 'and stay so'                stays 4 books_agree
ok 'the windows agree'          windows_agree
done_testing
