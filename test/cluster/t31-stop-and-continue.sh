#!/bin/sh
description='Each process in turn stands still under load and goes on: its work waits for it and
nobody does it twice.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
load_start --seconds 18 --rate 200 --seed 91 --duplicates 10 --retry --timeout-ms 1500
ok 'the load runs'              eventually 5 load_has_posted 200
for name in worker0 api0 worker1 api1 default fallback; do
    ok "$name stands still"     kill_process "$name" STOP
    before=$(counter lane.posts)
    # Long enough for a take-over, if anybody thought that standing still is being gone.
    stays 1 stands_still "$(cat "$play_dir/$name.pid")"
    kill_process "$name" CONT
    ok "$name goes on"          eventually 10 counter_at_least lane.posts $((before + 50))
done
ok 'the load is answered'       load_wait
ok 'no lane changed hands'      counter_is lane.take_overs 0
ok 'the books agree'            books_agree_within 30
ok 'the windows agree'          windows_agree
done_testing
