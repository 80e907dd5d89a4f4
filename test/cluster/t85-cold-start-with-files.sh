#!/bin/sh
description='With a journal and a ledger whose full segments are files, the region is lost under load:
filed rows come from the files, the others from the journal, each once.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 2 --workers 1 PAYRING_LANES=1 PAYRING_DURABILITY=sync \
    PAYRING_STATE_DIR="$play_dir/state" PAYRING_LEDGER_ROWS=12288 PAYRING_LEDGER_SEGMENT_ROWS=4096 \
    PAYRING_QUARANTINE_MS=500

cold_start() {
    local actor
    kill_at_once worker0 api0 api1
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
    "$build/payringctl" create >"$play_dir/create.log" 2>&1 || { cat "$play_dir/create.log"; return 1; }
    for actor in worker0 api0 api1; do restart_process "$actor"; done
}

has_filed() {
    [ "$(ls "$play_dir"/state/ledger-lane0-*.rows 2>/dev/null | wc -l)" -ge "$1" ]
}

for act in 1 2; do
    load_start --seconds 12 --rate 500 --seed "85$act" --retry
    ok "a segment is filed, $act"       eventually 40 has_filed "$act"
    ok "the region is made anew, $act"  cold_start
    ok "of files, $act"                 grep -q 'rows are filed there' "$play_dir/create.log"
    ok "and of the journal, $act"       grep -q 'made of the journal' "$play_dir/create.log"
    ok "all is answered, $act"          load_wait
    ok "the books agree, $act"          books_agree_within 40
done
ok 'the windows agree'          windows_agree
ok 'the region is in order'     "$build/payringctl" check
ok 'the journal is whole'       "$build/payringctl" journal
done_testing
