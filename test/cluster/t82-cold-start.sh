#!/bin/sh
description='The region is lost under load, memory and all; a new one is made of the journal, and
everything that was acknowledged is settled once and counted once.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 2 --workers 2 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=1000

everybody='worker0 api0 worker1 api1'
cold_start() {
    local actor
    # shellcheck disable=SC2086
    kill_at_once $everybody
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
    "$build/payringctl" create >"$play_dir/create.log" 2>&1 || { cat "$play_dir/create.log"; return 1; }
    for actor in $everybody; do restart_process "$actor"; done
}

ok 'a payment'                  post_payment api0 "$(new_id)" 19.90
ok 'it settles'                 eventually 5 counter_is lane.settled_default 1
for act in 1 2 3; do
    processor default delay $((act * 100))
    load_start --seconds 4 --rate 300 --seed "82$act" --retry
    before=$(counter api.accepted)
    ok "the load runs, $act"            eventually 5 load_has_posted $((before + 300))
    ok "the region is made anew, $act"  cold_start
    ok "of the journal, $act"           grep -q 'settled payments' "$play_dir/create.log"
    ok "all is answered, $act"          load_wait
    ok "the books agree, $act"          books_agree_within 40
done
processor default delay 0
ok 'the windows agree'          windows_agree
ok 'the region is in order'     "$build/payringctl" check
ok 'the journal is whole'       "$build/payringctl" journal

# A journal of two lanes makes a region of three, and of one.
for lanes in 3 1; do
    export PAYRING_LANES=$lanes
    rows_before=$("$build/payringctl" rows | wc -l)
    ok "made for $lanes lanes"      cold_start
    is "with all rows, $lanes"      "$("$build/payringctl" rows | wc -l)" "$rows_before"
    ok "the books agree, $lanes"    books_agree
    ok "and the windows, $lanes"    windows_agree
done

ok 'in use, it is refused'      eval 'rm -f "/dev/shm/$PAYRING_REGION"
    "$build/payringctl" create 2>&1 | grep -q "state is in use"'
done_testing
