#!/bin/sh
description='With a state directory the ledger goes on beyond memory: full segments move to files under
load, whoever is killed meanwhile, and every window ever asked stays exact. While nothing can be filed
intake stops and nothing is lost; a file that is missing is a 503 that names it.'
. test/lib/cluster.sh

state="$play_dir/state"
mkdir "$state"
# Memory for 16,384 rows a lane; half of the payments take two.
cluster_start --apis 2 --workers 2 PAYRING_LEDGER_ROWS=16384 PAYRING_LEDGER_SEGMENT_ROWS=4096 \
    PAYRING_STATE_DIR="$state" PAYRING_LOG_LEVEL=info
is 'memory is for four segments'    "$(counter region.ledger_rows) $(counter region.ledger_segment_rows)" \
    '16384 4096'

load_start --count 40000 --rate 2000 --seed 371 --retry --amounts 19.90,167772.16
# Longer ago than a take-over takes; api0 is killed, so api1 is asked.
test/lib/audit-windows --gateway "unix:$play_dir/api1.sock" --default "127.0.0.1:$default_port" \
    --fallback "127.0.0.1:$fallback_port" --since "$started_us" --seed "$$" --seconds 20 --lag-ms 8000 \
    >"$play_dir/audit.log" 2>&1 &
echo $! >"$play_dir/audit.pid"
segments_filed() { # at least
    counter_at_least lane.segments_filed "$1"
}
for name in worker0 api0 worker1 api0 worker0; do
    filed=$(counter lane.segments_filed)
    ok "$name is killed"            kill_process "$name" KILL
    restart_process "$name"
    ok 'and segments are filed'     eventually 20 segments_filed $((filed + 1))
done
ok 'the load is answered'           load_wait
ok 'every window agreed'            audit_wait
ok 'the books agree'                books_agree_within 30
ok 'the windows agree'              windows_agree
ok 'more than memory holds'         counter_at_least lane.segments_dropped 4
ok 'no contradiction anywhere'      "$build/payringctl" check
ok '... in files too'               sh -c '"$build/payringctl" check | grep -qE ", [0-9]+ files"'
ok 'no new file is half made'       same "$(ls "$state" | grep -v '\.rows$')" ''

ok 'healthz tells the share'        answers 200 api0 /healthz
ok '... of each lane'               body_says '"ledgerUsedPercent":'

# A file away: named, never a smaller sum; other calls go on. Back again: all is well.
mv "$state/ledger-lane0-0000000000.rows" "$play_dir/aside"
kill_process api0 KILL
start_process api0
answers_health() { answers 200 api0 /healthz; }
ok 'an API starts without it'       eventually 15 answers_health
ok 'but does not sum'               answers 503 api0 /payments-summary
ok '... and names it'               body_says 'the file ledger-lane0-0000000000.rows of the ledger is missing'
ok 'payments are accepted'          post_payment api0 "$(new_id)" 19.90
ok 'check names it too'             sh -c '"$build/payringctl" check | grep -q "ledger-lane0-0000000000.rows"'
mv "$play_dir/aside" "$state/ledger-lane0-0000000000.rows"
ok 'back again, it sums'            answers 200 api0 /payments-summary
ok 'the windows agree'              windows_agree

# The directory away: nothing is filed, so intake stops, and nothing is lost. Then it goes on.
mv "$state" "$play_dir/state.away"
load_start --count 30000 --rate 2500 --seed 372 --amounts 19.90,167772.16
ok 'the load is answered'           load_wait
ok 'some were turned away'          counter_at_least api.ledger_full 1
ok 'the workers say why'            grep -q 'event=ledger_not_filed' "$play_dir/worker0.log" "$play_dir/worker1.log"
ok 'and warned before'              counter_at_least lane.ledger_warnings 2
ok '... at 80 percent, at 95'       grep -qE 'event=ledger_filling .*used_percent=(8|9[0-4])' "$play_dir/worker0.log" "$play_dir/worker1.log"
ok 'a client is told'               eventually 5 post_payment api1 "$(new_id)" 19.90 503
ok '... by name'                    body_says 'the ledger is full'
mv "$play_dir/state.away" "$state"
ok 'with the directory it goes on'  eventually 30 post_payment api1 "$(new_id)" 19.90
ok 'the books agree'                books_agree_within 40
ok 'the windows agree'              windows_agree

# A purge: what no row counts of any more leaves the disk.
ok 'purged'                         answers 200 api0 /purge-payments -X POST
purged_us=$(now_us)
old_files() { ls "$state" | grep -c '00000000[0-9]*\.rows$'; }
files_are_gone() { same "$(ls "$state" | grep -c '\.rows$')" 0; }
ok 'all files are gone'             eventually 20 files_are_gone
ok 'the purge is on disk'           same "$(ls "$state")" "$(printf 'ledger-lane0.first\nledger-lane1.first')"
ok 'nothing counts'                 summary_has api1 default 0 0.00
load_start --count 16000 --rate 2000 --seed 373
ok 'the load is answered'           load_wait
ok 'the books agree'                books_agree_within 30 --purged-until "$purged_us"
ok 'no contradiction anywhere'      "$build/payringctl" check
done_testing
