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

is_refused() {
    answers 503 api0 /healthz && body_says '"status":"journal failed"' '"journal":"failed"'
}

ok 'all is well at first'          answers 200 api0 /healthz
ok 'the journal works'             body_says '"journal":"working"'
truncate -s 0 "$play_dir/state/filler"
dd if=/dev/zero of="$play_dir/state/filler" bs=65536 status=none 2>/dev/null
load_start --seconds 25 --rate 700 --seed 83
ok 'it is told'                    eventually 40 is_refused
ok 'and logged once for each lane' eventually 5 eval \
    'grep -h event=journal_failed "$play_dir"/worker?.log | grep -q "No space left"'
id=$(new_id)
refused_both() {
    for api in api0 api1; do
        for _ in 1 2 3 4 5 6; do post_payment $api "$(new_id)" 19.90 503 || return; done
    done
}
load_wait >/dev/null 2>&1 # with what was refused
ok 'both lanes have failed'        eventually 30 eval \
    '[ "$(call api0 /healthz; grep -o "\"journal\":\"failed\"" "$play_dir/answer" | wc -l)" = 2 ]'
ok 'nothing is accepted'           refused_both
ok 'the sentence names it'         body_says 'the journal has failed'
ok 'what was accepted is settled'  books_agree_within 60

rm "$play_dir/state/filler"
mount -o remount,size=64m "$play_dir/state"
for actor in worker0 worker1; do kill_process $actor TERM && restart_process $actor; done
ok 'begun anew, it goes on'        eventually 10 answers 200 api0 /healthz
ok 'a payment is accepted'         post_payment api0 "$id" 19.90
kill_at_once worker0 api0 worker1 api1
rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
ok 'and a cold start knows all'    build/payringctl create
for actor in worker0 api0 worker1 api1; do restart_process $actor; done
ok 'by id'                         books_agree_within 30
ok 'and by window'                 windows_agree
done_testing
