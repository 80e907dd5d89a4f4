#!/bin/sh
description='Whatever a processor answers, or breaks off answering, each payment is charged once
and counted as it stands in the book.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
for kind in late garbage-body garbage-http short error-after error-before refuse-429 refuse-400 \
    reset-before reset-after; do
    processor default misbehaves "$kind" count=1 $([ "$kind" != late ] || echo ms=700)
    id=$(new_id)
    ok "$kind: accepted" post_payment api0 "$id" 19.90
    ok "$kind: settled"  eventually 15 payment_is api0 "$id" settled
    processor default behaves
done
ok 'the books agree' books_agree_within 5

# Some 400s are a processor that was misconfigured for a moment.
processor default misbehaves refuse-400 count=6
id=$(new_id)
ok 'refuse-400 for a while: accepted' post_payment api0 "$id" 19.90
ok 'refuse-400 for a while: settled'  eventually 15 payment_is api1 "$id" settled
processor default behaves

# A lasting 400 is an answer.
processor default misbehaves refuse-400
processor fallback misbehaves refuse-400
rejected=$(new_id)
ok 'refuse-400 for good: accepted' post_payment api0 "$rejected" 19.90
ok 'refuse-400 for good: rejected' eventually 30 payment_is api1 "$rejected" rejected
processor default behaves
processor fallback behaves

for kind in garbage-body garbage-http short error-after error-before refuse-429 reset-before \
    reset-after; do
    processor default misbehaves "$kind" percent=6 seed=16
    processor fallback misbehaves "$kind" percent=3 seed=17
done
load_start --seconds 6 --rate 200 --seed 51 --duplicates 5 --amounts 19.90,0.01,1e3,123456.78
ok 'the load is answered' load_wait
processor default behaves
processor fallback behaves
ok 'the books agree'      books_agree_within 45 --rejected "$rejected"
ok 'and stay so'          stays 2 books_agree --rejected "$rejected"
ok 'the windows agree'    windows_agree
done_testing
