#!/bin/sh
description='The disk of the journal is full: nothing more is accepted, and that is said; what was
accepted is settled; with room again and the workers started anew, everything goes on.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
mount -t tmpfs -o size=3m none "$play_dir/state" 2>/dev/null || {
    echo '1..0 # SKIP a small disk of its own cannot be mounted here'
    play_finished=yes
    exit
}
trap 'umount -l "$play_dir/state"; curtain' EXIT

# Segments of half a MiB: two for each lane, and the third one does not fit.
cluster_start --apis 2 --workers 2 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_JOURNAL_MAX_BYTES=8388608 PAYRING_QUARANTINE_MS=500 PAYRING_HORIZON_S=0
everybody='worker0 api0 worker1 api1'

lanes_with_journal() { # failed | working
    answers 503 api0 /healthz >/dev/null || answers 200 api0 /healthz >/dev/null
    grep -o "\"journal\":\"$1\"" "$play_dir/answer" | wc -l
}

both_lanes_are() {
    [ "$(lanes_with_journal "$1")" = 2 ]
}

nothing_is_unsettled() {
    answers 503 api0 /healthz &&
        [ "$(grep -o '"queued":0,"unsettled":0' "$play_dir/answer" | wc -l)" = 2 ]
}

both_refuse() {
    local api n
    for api in api0 api1; do
        for n in 1 2 3 4 5 6; do post_payment $api "$(new_id)" 19.90 503 || return; done
    done
}

ok 'the journal works'             eventually 10 both_lanes_are working
dd if=/dev/zero of="$play_dir/state/filler" bs=65536 status=none 2>/dev/null
load_start --seconds 20 --rate 700 --seed 83
ok 'both lanes fail'               eventually 60 both_lanes_are failed
ok 'which is told'                 body_says '"status":"journal failed"'
ok 'and logged'                    grep -qh 'event=journal_failed.*No space left' "$play_dir"/worker?.log
ok 'nothing is accepted'           both_refuse
ok 'the sentence names it'         body_says 'the journal has failed'
ok 'what was accepted is settled'  eventually 60 nothing_is_unsettled

rm "$play_dir/state/filler"
mount -o remount,size=64m "$play_dir/state"
for actor in worker0 worker1; do kill_process $actor TERM && restart_process $actor; done
ok 'begun anew, it works'          eventually 10 both_lanes_are working
ok 'the load ends'                 load_wait
# Among them those that were accepted and only not known to be durable.
send_again() {
    local id amount status
    awk -F '\t' '$3 == 503 { print $1, $2 }' "$play_dir/posted.load" >"$play_dir/refused"
    [ -s "$play_dir/refused" ] || return
    while read -r id amount; do post_payment api0 "$id" "$amount" || return; done <"$play_dir/refused"
}
ok 'what was refused is accepted'  send_again
ok 'the books agree'               books_agree_within 60
# shellcheck disable=SC2086
kill_at_once $everybody
rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
ok 'a cold start knows all'        "$build/payringctl" create
for actor in $everybody; do restart_process $actor; done
ok 'by id'                         books_agree_within 30
ok 'and by window'                 windows_agree
done_testing
