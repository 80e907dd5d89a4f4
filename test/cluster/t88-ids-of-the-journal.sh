#!/bin/sh
description='A copy of a payment that is far beyond PAYRING_HORIZON_PAYMENTS is recognised by the journal, by
the owner that wrote it, by its successor and after a cold start: it is not charged by the other processor.'
. test/lib/cluster.sh

# A filter of 64 ids and a table of 64 records: of 3,000 payments a lane remembers some 200 by itself.
mkdir "$play_dir/state"
cluster_start --apis 1 --workers 1 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_LANES=1 PAYRING_RING_SLOTS=256 PAYRING_PAYMENT_SLOTS=64 PAYRING_HORIZON_PAYMENTS=64 \
    PAYRING_HORIZON_S=0 PAYRING_JOURNAL_MAX_BYTES=8388608 PAYRING_QUARANTINE_MS=500

# Copies come while the default fails: what is forgotten would be charged by the fallback.
copies_are_recognised() { # ACT
    local hits
    hits=$(counter lane.journal_hits)
    processor default fails
    ok "copies are accepted, $1"        post_many --count 200 --seed 188 --retry
    ok "the lane takes them in, $1"     eventually 20 counter_is ring.depth 0
    processor default recovers
    ok "they end, $1"                   eventually 30 counter_is unsettled 0
    ok "the journal knew them, $1"      counter_at_least lane.journal_hits $((hits + 100))
    ok "the books agree, $1"            books_agree_within 20
    ok "nothing at the fallback, $1"    summary_has api0 fallback 0 0.00
    ok "each counted once, $1"          summary_has api0 default 3000 59700.00
}

ok 'payments are accepted'      post_many --count 200 --seed 188 --retry
ok 'and many more'              post_many --count 2800 --rate 900 --seed 189 --retry
ok 'all of them settle'         eventually 20 counter_is unsettled 0
ok 'the filter has forgotten'   counter_at_least lane.filter_rotations 20
copies_are_recognised 'by whoever accepted them'
kill_process worker0 KILL
restart_process worker0
copies_are_recognised 'by a successor'
kill_at_once api0 worker0
rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
ok 'the region is made anew'    "$build/payringctl" create
restart_process worker0
restart_process api0
copies_are_recognised 'after a cold start'
ok 'the windows agree'          windows_agree
ok 'the journal is whole'       "$build/payringctl" journal
done_testing
