#!/bin/sh
description='A copy of the state directory that is made while the gateway runs is a backup: its rows are a
prefix of the ledger. A new region goes on from it, and so it does when the old region is lost.'
. test/lib/cluster.sh

state="$play_dir/state"
mkdir "$state" "$play_dir/backup"
cluster_start --apis 2 --workers 2 PAYRING_LEDGER_ROWS=16384 PAYRING_LEDGER_SEGMENT_ROWS=4096 \
    PAYRING_STATE_DIR="$state"
load_start --count 24000 --rate 1500 --seed 381 --amounts 19.90,0.01,167772.16
two_a_lane() { counter_at_least lane.0.segments_filed 2 && counter_at_least lane.1.segments_filed 2; }
ok 'segments are filed'             eventually 40 two_a_lane
ok 'they are copied under load'     cp -a "$state/." "$play_dir/backup"
ok 'the load is answered'           load_wait
ok 'the books agree'                books_agree_within 30
"$build/payringctl" rows >"$play_dir/rows.all"

# of RESTORED ACTOR...: the same words for the region that goes on from the backup.
restored="$PAYRING_REGION-restored"
echo "$restored" >>"$play_dir/regions"
of_restored() { PAYRING_REGION="$restored" PAYRING_STATE_DIR="$play_dir/backup" "$@"; }
ok 'a region goes on from the copy' sh -c 'PAYRING_REGION="$1" PAYRING_STATE_DIR="$2" "$build/payringctl" create | grep -q "its ledger goes on"' - \
    "$restored" "$play_dir/backup"
ok 'nothing in it contradicts'      of_restored "$build/payringctl" check
of_restored "$build/payringctl" rows >"$play_dir/rows.restored"
is_prefix() { # lane
    local count
    awk -v lane="$1" '$1 == lane' "$play_dir/rows.restored" >"$play_dir/lane.restored"
    count=$(wc -l <"$play_dir/lane.restored")
    [ "$count" -gt 4000 ] || { echo "only $count rows"; return 1; }
    awk -v lane="$1" '$1 == lane' "$play_dir/rows.all" | head -n "$count" | cmp - "$play_dir/lane.restored"
}
ok 'lane 0: a prefix of the ledger' is_prefix 0
ok 'lane 1: a prefix of the ledger' is_prefix 1

# The region is lost with everybody; what was filed is not.
filed_rows() { # PROCESSOR: "payments cents" of the rows that a region has
    awk -F '\t' -v name="$1" '$3 == name { n++; cents += $4 } END { printf "%d %.2f\n", n, cents / 100 }' "$2"
}
kill_at_once api0 api1 worker0 worker1
ok 'the region is removed'          "$build/payringctl" remove --force-lose-payments
ok 'and created again'              "$build/payringctl" create
"$build/payringctl" rows >"$play_dir/rows.filed"
ok 'most rows are there'            test "$(wc -l <"$play_dir/rows.filed")" -gt 16000
for name in worker0 worker1 api0 api1; do restart_process "$name"; done
is 'the summary is that of the files' "$(summary_of api0 default)" "$(filed_rows default "$play_dir/rows.filed")"
ok 'a payment is accepted'          post_payment api0 "$(new_id)" 19.90
counted() { [ "$("$build/payringctl" rows | wc -l)" -eq $(($(wc -l <"$play_dir/rows.filed") + 1)) ]; }
ok 'and counted behind them'        eventually 10 counted
ok 'nothing contradicts'            "$build/payringctl" check
done_testing
