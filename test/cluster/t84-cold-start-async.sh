#!/bin/sh
description='Durability async: the region is lost under load, with what a processor executed and never
answered; whatever a lane had taken in is settled once and counted once, by the books first.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 2 --workers 2 PAYRING_DURABILITY=async PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=1500 PAYRING_LOOKUP_TIMEOUT_MS=1000

rings_are_empty() {
    counter_is ring.depth 0
}

# The APIs first, so that nothing lies in a ring when the region goes: that is what async may lose.
lose_everything() {
    kill_at_once api0 api1
    eventually 10 rings_are_empty || return
    kill_at_once worker0 worker1
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
}

start_anew() {
    local actor
    "$build/payringctl" create >"$play_dir/create.log" 2>&1 || { cat "$play_dir/create.log"; return 1; }
    for actor in worker0 api0 worker1 api1; do restart_process "$actor"; done
}

for act in 1 2; do
    processor default delay 300
    processor default misbehaves reset-after percent=20
    load_start --seconds 4 --rate 300 --seed "84$act" --retry
    before=$(counter api.accepted)
    ok "the load runs, $act"            eventually 8 load_has_posted $((before + 300))
    ok "all is lost, $act"              lose_everything
    ok "the region is made anew, $act"  start_anew
    ok "with what had not ended, $act"  grep -qE '[1-9][0-9]* payments that have not ended' "$play_dir/create.log"
    ok "all is answered, $act"          load_wait
    processor default behaves
    processor default delay 0
    ok "the books agree, $act"          books_agree_within 40
done
ok 'books were asked'           counter_at_least lane.books_asked 1
ok 'the windows agree'          windows_agree
ok 'the region is in order'     "$build/payringctl" check
ok 'the journal is whole'       "$build/payringctl" journal
done_testing
