#!/bin/sh
description='Each process in turn is killed under load and started again: nothing that was
accepted is lost, nothing is charged twice, every window adds up.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
load_start --seconds 16 --rate 250 --seed 81 --duplicates 10 --retry
ok 'the load runs'              eventually 5 load_has_posted 200
for name in worker0 api0 worker1 api1 worker0 worker1; do
    before=$(counter api.accepted)
    ok "$name is killed"        kill_process "$name" KILL
    restart_process "$name"
    ok 'payments are accepted'  eventually 5 load_has_posted $((before + 100))
done
ok 'the load is answered'       load_wait
ok 'the books agree'            books_agree_within 30
ok 'the windows agree'          windows_agree
done_testing
