#!/bin/sh
description='The payments that a killed worker had in flight are taken over by the other one, and
charged once each.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_POLICY=default-only
processor default delay 1500
load_start --count 120 --rate 300 --seed 101
ok 'the load is answered'       load_wait
ok 'in flight'                  eventually 5 processor_is_busy default
ok 'worker0 is killed'          kill_process worker0 KILL
ok 'taken over'                 eventually 10 counter_at_least lane.take_overs 1
processor default delay 0
ok 'all settled'                eventually 30 summary_has api0 default 120 2388.00
ok 'the books agree'            books_agree_within 10
restart_process worker0
ok 'the other one is killed'    kill_process worker1 KILL
ok 'more payments'              post_many --count 100 --seed 102
ok 'settled by worker0'         eventually 20 summary_has api1 default 220 4378.00
ok 'the books agree'            books_agree_within 10
ok 'the windows agree'          windows_agree
done_testing
