#!/bin/sh
description='A worker whose shell allows it few descriptors has as many connections as it needs.'
. test/lib/cluster.sh

cluster_start --workers 1 PAYRING_POLICY=default-only
kill_process worker0 TERM
(
    ulimit -S -n 40
    start_process worker0
)
ok 'the worker starts'       eventually 15 is_ready worker0
processor default delay 400
load_start --seconds 8 --rate 300 --seed 431
ok 'the load is answered'    load_wait
ok 'the books agree'         books_agree_within 30
ok 'more were at work at once than it had descriptors at first' \
    test "$(processor_stat default max_running)" -gt 60
ok 'no connection failed'    counter_is lane.refused 0
done_testing
