#!/bin/sh
description='A request that timed out on our side and is executed later is settled once, with
the processor it was sent to. (The shortest time-out allowed is 30 s.)'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 2 PAYRING_POST_TIMEOUT_MS=30000 PAYRING_DEADLINE_MS=1000
processor default delay 33000
id=$(new_id)
ok 'accepted'                   post_payment api0 "$id" 19.90
ok 'sent to the default'        eventually 5 payment_is api0 "$id" sent default
processor default delay 0
ok 'timed out after 30 s'       eventually 35 counter_at_least lane.unknown 1
ok 'settled with the default'   eventually 20 payment_is api0 "$id" settled default
ok 'the books agree'            books_agree_within 5
ok 'and stay so'                stays 5 books_agree
is 'nothing with the fallback'  "$(book fallback)" ''
ok 'the windows agree'          windows_agree
done_testing
