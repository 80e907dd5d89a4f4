#!/bin/sh
description='Durability async: the acceptance of a payment is lost while its request sleeps at a processor; a
copy that comes to the new region at once waits for the quarantine, and is charged by nobody else.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 1 --workers 1 PAYRING_DURABILITY=async PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=4000 PAYRING_LANES=1 PAYRING_DEADLINE_MS=100

lose_the_region() {
    kill_at_once api0 worker0
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
}

start_anew() {
    created_ms=$(now_ms)
    "$build/payringctl" create >"$play_dir/create.log" 2>&1 || { cat "$play_dir/create.log"; return 1; }
    restart_process worker0
    restart_process api0
}

journal_has_its_row() {
    "$build/payringctl" journal | grep ' 1 rows, .* 0 payments that have not ended'
}

# The journal as it was before the payment: what async may lose.
ok 'another payment'                post_payment api0 "$(new_id)" 19.90
ok 'settles'                        eventually 5 counter_is lane.settled_default 1
ok 'and is in the journal'           eventually 5 journal_has_its_row
cp -a "$play_dir/state" "$play_dir/state.before"

processor default delay 2500
id=$(new_id)
ok 'a payment is accepted'          post_payment api0 "$id" 19.90
ok 'its request is out'             eventually 5 processor_saw default "$id" 1
ok 'the region is lost'             lose_the_region
rm -rf "$play_dir/state" && mv "$play_dir/state.before" "$play_dir/state"
ok 'and so is the acceptance'       start_anew
ok 'nobody knows the payment'       answers 404 api0 "/payments/$id"
ok 'its sender sends it again'      post_payment api0 "$id" 19.90
kill_at_once worker0
ok 'a new owner waits as well'      restart_process worker0
ok 'it is found in the book'        eventually 12 payment_is api0 "$id" duplicate
found_ms=$(($(now_ms) - created_ms))
ok "after the quarantine ($found_ms ms)"  [ "$found_ms" -ge 4000 ]
ok 'its request was the only one'   processor_saw default "$id" 1
ok 'the other one was never asked'  not processor_holds fallback "$id"
# What async has lost stands in the book and in no summary (docs/FAILURE-MODES.md).
ok 'the book has it once'           processor_holds default "$id"
is 'and nobody counts it'           "$(counter lane.settled_default)" 0
done_testing
