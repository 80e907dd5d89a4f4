#!/bin/sh
description='Copies of a payment, over any API and at any time, are charged once; the same id
with another amount is refused where it is known and never counted.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
id=$(new_id)
ok 'accepted'                        post_payment api0 "$id" 19.90
ok 'accepted again at once'          post_payment api1 "$id" 19.90
ok 'settled'                         eventually 5 payment_is api0 "$id" settled
ok 'accepted again when settled'     post_payment api1 "$id" 19.90
ok 'written otherwise'               post_payment api0 "$id" 1990e-2
ok 'another amount: 409'             post_payment api0 "$id" 20.00 409
ok 'on the other API: 409'           post_payment api1 "$id" 20.00 409
ok 'counted once'                    summary_has api0 default 1 19.90

processor default fails
processor fallback fails
id=$(new_id)
ok 'accepted while both are down'    post_payment api0 "$id" 5.00
ok 'known'                           eventually 5 payment_is api1 "$id" '\(queued\|sent\)'
ok 'another amount while queued'     post_payment api1 "$id" 6.00 409
processor default recovers
processor fallback recovers
ok 'settled'                         eventually 20 payment_is api0 "$id" settled

load_start --seconds 5 --rate 400 --seed 61 --duplicates 30 --conflicts 10 --connections 16
ok 'the load is answered'            load_wait
ok 'the books agree'                 books_agree_within 20
ok 'copies were recognised'          test "$(($(counter api.known) + $(counter lane.copies)))" -ge 100
ok 'the windows agree'               windows_agree
done_testing
