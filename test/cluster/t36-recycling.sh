#!/bin/sh
description='A copy of a payment whose record was recycled is still recognised: both processors
are asked, nothing is charged or counted again.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_RING_SLOTS=64 PAYRING_PAYMENT_SLOTS=64
# The same 1,000 payments, three times over: each record is long recycled when its copy comes.
for act in 1 2 3; do
    ok "posted, $act"           post_many --count 1000 --seed 141 --rate 250
    ok "the books agree, $act"  books_agree_within 20
    ok "counted once, $act"     summary_has api0 default 1000 19900.00
done
ok 'records were recycled'      counter_at_least lane.recycled 500
ok 'the filter knew them'       counter_at_least lane.filter_hits 500
# While the fallback is the cheaper guess, a forgotten id would be charged there.
processor default fails
ok 'posted while default fails' post_many --count 200 --seed 141
processor default recovers
ok 'the books agree'            books_agree_within 30
ok 'nothing at the fallback'    summary_has api0 fallback 0 0.00
ok 'the windows agree'          windows_agree
done_testing
