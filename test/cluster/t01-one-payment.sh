#!/bin/sh
description='A payment posted to either API is settled once, and both APIs, the summary
and the processor tell the same of it. Everything stops when told to, and the region
outlives all of its processes.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
ok 'nothing was settled yet'    summary_has api0 default 0 0.00

first=$(new_id)
ok 'api0 accepts'               post_payment api0 "$first" 19.90
ok 'settled'                    eventually 5 payment_is api0 "$first" settled default
ok 'the other API knows'        payment_is api1 "$first" settled default
ok 'the summary has it'         summary_has api0 default 1 19.90
ok 'so has the other one'       summary_has api1 default 1 19.90
ok 'the fallback has nothing'   summary_has api1 fallback 0 0.00
ok 'the processor has it once'  processor_holds default "$first" 1990
ok 'and saw it once'            processor_saw default "$first" 1

second=$(new_id)
ok 'api1 accepts'               post_payment api1 "$second" 0.01
ok 'settled'                    eventually 5 payment_is api0 "$second" settled default
ok 'they add up'                summary_has api0 default 2 19.91
ok 'the books agree'            books_agree_within 5
ok 'the windows agree'          windows_agree

for name in api0 api1 worker0 worker1; do
    ok "$name stops when told"  kill_process "$name" TERM
done
for name in api0 worker0; do restart_process "$name"; done
ok 'the region was kept'        summary_has api0 default 2 19.91
ok 'and still knows them'       payment_is api0 "$first" settled default
ok 'the books still agree'      books_agree_within 5
done_testing
