#!/bin/sh
description='The wall clock of APIs and workers is stepped by an hour, forward and back, while payments
wait, are in flight and are pinned: none is lost, none is charged or counted twice, every window adds
up, and none is sent to the dearer processor for an hour that has not passed.'
. test/lib/cluster.sh

# libfaketime tells the programs another time of day than the kernel's, ahead by what stands in a
# file; the monotonic clock stays the kernel's, as it does when an operator sets the clock.
clock_file=$play_dir/clock
faketime=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
step() { # SECONDS: from the true time
    printf '%+d\n' "$1" >"$clock_file.new"
    mv "$clock_file.new" "$clock_file"
    offset_s=$1
}
step 0
for name in api0 api1 worker0 worker1; do
    configure "$name" "LD_PRELOAD=$faketime" "FAKETIME_TIMESTAMP_FILE=$clock_file" FAKETIME_NO_CACHE=1 \
        FAKETIME_DONT_FAKE_MONOTONIC=1
done
# What a killed program leaves of it in /dev/shm.
sweep() {
    local file
    for file in "$play_dir"/api*.pid "$play_dir"/worker*.pid; do
        rm -f /dev/shm/*faketime*_"$(cat "$file")"
    done
}
trap 'sweep; curtain' EXIT

ok 'libfaketime is here'            [ -n "$faketime" ]
cluster_start --apis 2 --workers 2

# gateway_is_ahead SECONDS: by the time that it says it has accepted a payment.
gateway_is_ahead() {
    local id accepted_s
    id=$(new_id)
    post_payment api0 "$id" 1.00 && call api0 "/payments/$id" || return
    accepted_s=$(date +%s -d "$(sed 's/.*"acceptedAt":"\([^"]*\)".*/\1/' "$play_dir/answer")")
    same $(((accepted_s - $(date +%s) - $1 + 2) / 5)) 0
}

windows_agree_meanwhile() {
    audit_start --seconds 2 --clock-offset "$offset_s" --since "$since_us"
    audit_wait
}

ok 'the clock can be stepped'       gateway_is_ahead 0

# Payments that wait for the default processor are seconds old, not an hour and seconds.
processor default fails
load_start --seconds 5 --rate 150 --seed 801 --retry
ok 'the load runs'                  eventually 5 load_has_posted 200
step 3600
before=$(counter api.accepted)
ok 'an hour forward'                gateway_is_ahead 3600
ok 'the load goes on'               eventually 5 load_has_posted $((before + 200))
ok 'the load is answered'           load_wait
is 'nothing went to the fallback'   "$(processor_stat fallback posts)" 0
processor default recovers
ok 'the books agree'                books_agree_within 30

# Every step under load, with payments pinned and in flight.
processor default misbehaves reset-after percent=5 seed=81
processor default misbehaves reset-then-insert percent=3 ms=900 seed=82
processor default delay 20
load_start --seconds 26 --rate 150 --seed 802 --duplicates 10 --retry
for hours in 0 1 0 -1 0; do
    before=$(counter api.accepted)
    step $((hours * 3600))
    ok "the clock is $hours h ahead"       gateway_is_ahead "$offset_s"
    ok 'payments are accepted'             eventually 8 load_has_posted $((before + 250))
    since_us=$((started_us - 3605 * 1000000))
    ok 'the windows of the run agree'      windows_agree_meanwhile
done
ok 'the load is answered'           load_wait
ok 'some were pinned'               counter_at_least lane.resends 20
processor default behaves
ok 'the books agree'                books_agree_within 30
# All of it: an hour before it began to an hour after it ended.
offset_s=3605
audit_all() {
    audit_start --seconds 2 --lag-ms 1 --clock-offset "$offset_s" --since "$since_us"
    audit_wait
}
ok 'the windows agree'              audit_all
is 'no worker ended'                "$(counter lane.take_overs)" 0
ok 'the region is in order'         "$build/payringctl" check
done_testing
