#!/bin/sh
description='While nobody listens where the processors should be, payments wait; they are settled
when the first of them comes up.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 --processors-later PAYRING_DEADLINE_MS=2000
id=$(new_id)
ok 'accepted'                  post_payment api0 "$id" 5.00
ok 'more'                      post_many --count 200 --seed 191
ok 'known, and not settled'    eventually 5 payment_is api1 "$id" '\(queued\|sent\)'
restart_process fallback
ok 'settled with the fallback' eventually 20 payment_is api1 "$id" settled fallback
restart_process default
ok 'the books agree'           books_agree_within 20
before=$(counter lane.settled_default)
ok 'more'                      post_many --count 50 --seed 192
settles_with_default() {
    post_many --count 1 --seed "$(now_us)"
    counter_at_least lane.settled_default $((before + 1))
}
ok 'the default is used again' eventually 20 settles_with_default
ok 'the books agree'           books_agree_within 20
ok 'the windows agree'         windows_agree
done_testing
