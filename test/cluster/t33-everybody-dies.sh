#!/bin/sh
description='All processes of the gateway are killed at once under load, payments in rings, in
flight and half settled; after a restart everything accepted is settled once.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
for act in 1 2 3; do
    processor default delay $((act * 100))
    load_start --seconds 4 --rate 400 --seed "11$act" --retry
    before=$(counter api.accepted)
    ok "the load runs, $act"    eventually 5 load_has_posted $((before + 300))
    ok "all are killed, $act"   kill_at_once worker0 api0 worker1 api1
    for name in worker0 api0 worker1 api1; do restart_process "$name"; done
    ok "all is answered, $act"  load_wait
    ok "the books agree, $act"  books_agree_within 30
done
processor default delay 0
ok 'the windows agree'          windows_agree
ok 'the region is in order'     "$build/payringctl" check
done_testing
