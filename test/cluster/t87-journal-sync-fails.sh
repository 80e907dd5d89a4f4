#!/bin/sh
description='A sync of the journal fails: payments get 503, what was accepted is settled, the sync is
never tried again, though the disk says that it is well; the next owner begins the journal anew.'
. test/lib/cluster.sh

# While the file is there every fdatasync of the worker fails, and is written down.
broken=$play_dir/broken
mkdir "$play_dir/state"
configure worker0 "LD_PRELOAD=$PWD/$build/broken-sync.so" "BROKEN_SYNC=$broken"
cluster_start --apis 1 --workers 1 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=500 PAYRING_DURABLE_TIMEOUT_MS=500

lanes_are() { # failed | working
    answers "$2" api0 /healthz && [ "$(grep -o "\"journal\":\"$1\"" "$play_dir/answer" | wc -l)" = 2 ]
}

# Whichever lane a payment is of, it is refused.
all_refuse() {
    local n
    for n in 1 2 3 4 5 6 7 8; do post_payment api0 "$(new_id)" 19.90 503 || return; done
}

processor default delay 1500
processor fallback delay 1500
ok 'the journal works'                eventually 10 lanes_are working 200
ok 'payments are accepted'            post_many --count 40 --rate 400 --seed 87
: >"$broken"
ok 'then no more'                     all_refuse
ok 'both lanes say that they failed'  eventually 10 lanes_are failed 503
ok 'and log it'                       grep -q 'event=journal_failed.*could not be synced' "$play_dir/worker0.log"
ok 'what was accepted is settled'     eventually 20 counter_is unsettled 0
ok 'all of it'                        counter_at_least lane.settled_default 40
rm "$broken"
ok 'a disk that is well again is not believed'  stays 1 all_refuse
is 'no file was synced twice after its failure' "$(sort "$broken.log" | uniq -d)" ''
ok 'one of each lane was'             [ "$(grep -c '/journal-[0-9a-f]*\.pj$' "$broken.log")" -ge 2 ]
ok 'the worker starts anew'           eval 'kill_process worker0 TERM; restart_process worker0'
ok 'with a journal that works'        eventually 10 lanes_are working 200
ok 'begun anew'                       grep -q 'event=journal_begun_anew' "$play_dir/worker0.log"
processor default delay 0
ok 'payments are accepted again'      post_many --count 40 --rate 400 --seed 88
# What was answered 503 may have been accepted: sending it again is safe.
send_again() {
    local id amount
    awk -F '\t' '$3 == 503 { print $1, $2 }' "$play_dir/posted" >"$play_dir/refused"
    [ -s "$play_dir/refused" ] || return
    while read -r id amount; do post_payment api0 "$id" "$amount" || return; done <"$play_dir/refused"
}
ok 'and those that were refused'      send_again
ok 'the books agree'                  books_agree_within 20
kill_at_once api0 worker0
rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
ok 'a cold start knows all'           "$build/payringctl" create
restart_process worker0
restart_process api0
ok 'by id'                            books_agree_within 20
ok 'and by window'                    windows_agree
done_testing
