#!/bin/sh
description='Whatever happens, each line of a log is an event in key=value; a flood of one event is
held back and counted, and nothing of a body gets in.'
. test/lib/cluster.sh

is_log() { # check-log arguments
    test/lib/check-log "$@"
}
logs() {
    echo "$play_dir"/api0.log "$play_dir"/worker0.log
}
mark=Zz9-never-in-a-log

cluster_start --apis 1 --workers 1 PAYRING_LOG_LEVEL=debug PAYRING_UNHEARD=of \
    PAYRING_REQUEST_TIMEOUT_MS=2000 PAYRING_BODY_LIMIT=1024 "PAYRING_PEER_SECRET=$mark" \
    "PAYRING_PEERS=unix:$play_dir/nobody"

# --- what clients and processors send -----------------------------------------------------------

for body in "$mark" "{\"$mark\":1}" "{\"correlationId\":\"$mark\",\"amount\":1}" \
    "{\"correlationId\":\"$(new_id)\",\"amount\":1,\"card\":\"$mark\"}"; do
    ok "a body: $body" call api0 /payments -H "Authorization: Bearer $mark" -d "$body"
    ok 'to another path' call api0 "/$mark?$mark=$mark" -H "X-Mark: $mark" -d "$body"
done
ok 'a peer is missing' answers 503 api0 "/payments-summary?mark=$mark"
ok 'too long' answers 413 api0 /payments -d "$mark $(printf '%02000d' 0)"
for fault in garbage-body garbage-http short error-after error-before refuse-429 refuse-400 \
    reset-before reset-after; do
    processor default misbehaves "$fault" count=1
    id=$(new_id)
    ok "$fault: accepted" answers 202 api0 /payments \
        -d "{\"correlationId\":\"$id\",\"amount\":19.90,\"card\":\"$mark\"}"
    ok "$fault: settled"  eventually 15 payment_is api0 "$id" settled
    processor default behaves
done
processor default misbehaves refuse-400
processor fallback misbehaves refuse-400
id=$(new_id)
ok 'refused for good: accepted' post_payment api0 "$id" 19.90
ok 'rejected'                   eventually 15 payment_is api0 "$id" rejected
processor default behaves
processor fallback behaves

# --- a flood ------------------------------------------------------------------------------------

# Not known yet when they are accepted, so it is the worker that finds them, all at once.
kill_process worker0 STOP
ok 'a crowd of conflicting copies' post_many --count 1000 --seed 611 --conflicts 50
kill_process worker0 CONT
settled() {
    counter_is unsettled 0 && counter_is ring.depth 0
}
ok 'settled'                     eventually 30 settled
copies=$(counter lane.copies_conflicting)
ok 'there were many'             test "$copies" -ge 200

# --- a purge, a removed region, the end -----------------------------------------------------------

ok 'a purge'                     answers 200 api0 /purge-payments -X POST
kill_process worker0 STOP
ok 'a purge that is late'        answers 503 api0 /purge-payments -X POST
kill_process worker0 CONT
count_of() { # event
    grep -c " event=$1\( \|\$\)" "$play_dir/worker0.log"
}
rm -f "/dev/shm/$PAYRING_REGION"
ok 'the region is gone'          eventually 5 answers 503 api0 /healthz
deletion_is_told() {
    same "$(count_of region_deleted)" 1
}
ok 'the worker says so'          eventually 5 deletion_is_told
ok '... once'                    stays 3 deletion_is_told
kill_process worker0 TERM
kill_process api0 TERM

held_back_of() {
    sed -n "s/.* event=log_held_back of=$1 lines=//p" "$play_dir/worker0.log" |
        awk '{ n += $1 } END { print n + 0 }'
}
ok 'the flood was held back'     test "$(held_back_of conflicting_copy)" -gt 0
is 'what was held back is counted' \
    "$(($(count_of conflicting_copy) + $(held_back_of conflicting_copy)))" "$copies"
for event in ready stopping lane_taken lane_left payment_ended outcome_unknown bad_request purged log_held_back \
    unknown_setting; do
    ok "the worker says $event"  test "$(count_of $event)" -ge 1
done
for event in ready stopping purge purge_late peers_missing region_gone unknown_setting slot_taken; do
    ok "the API says $event"     grep -q " event=$event\( \|\$\)" "$play_dir/api0.log"
done
# shellcheck disable=SC2046
ok 'all of it is in the style'   is_log --forbid "$mark" $(logs)

# --- what does not start ------------------------------------------------------------------------

not_started() { # program setting
    ! env "$2" "PAYRING_ATTACH_TIMEOUT_MS=0" "$build/$1" >"$play_dir/not-started" 2>&1 &&
        is_log "$play_dir/not-started" && same "$(wc -l <"$play_dir/not-started")" "${3:-1}" &&
        grep -q 'level=error event=\(not_started\|failed\) why=' "$play_dir/not-started"
}
unset PAYRING_UNHEARD
for program in payring-api payring-worker; do
    ok "$program: no region"       not_started $program PAYRING_REGION=nobody-made-it
    ok "$program: a bad setting"   not_started $program PAYRING_STOP_TIMEOUT_MS='"soon" = 5
level=info'
done

# --- this check can fail ------------------------------------------------------------------------

head="time=2025-07-15T12:34:56.000Z program=payring-api level=info event="
finds() { # TEXT LINE...
    local text="$1"
    shift
    printf '%s\n' "$@" >"$play_dir/bad.log"
    ! is_log --forbid "$mark" "$play_dir/bad.log" >"$play_dir/said" && grep -q "$text" "$play_dir/said"
}
printf '%s\n' "${head}ready" "${head}ready socket=/run/a.sock why=\"a \\\"b\\\" = \\x0a\"" >"$play_dir/good.log"
ok 'nothing in a good log'         is_log --forbid "$mark" "$play_dir/good.log"
ok 'finds words of somebody else'  finds 'does not begin' "${head}ready" 'free(): invalid pointer'
ok 'finds no level'                finds 'does not begin' "$(echo "${head}ready" | sed 's/level=info //')"
ok 'finds a sentence'              finds 'no key=value' "${head}ready and waiting"
ok 'finds a value in the open'     finds 'no key=value' "${head}ready why=no such file"
ok 'finds an open quote'           finds 'no key=value' "${head}ready why=\"no such"
ok 'finds a key twice'             finds 'two values' "${head}ready level=error"
ok 'finds an empty line'           finds 'does not begin' "${head}ready" ''
ok 'finds what is not ASCII'       finds 'not printable' "${head}ready a=$(printf '\303\244')"
ok 'finds a long line'             finds 'too long' "${head}ready a=$(printf '%01000d' 0)"
ok 'finds a secret'                finds 'says' "${head}ready a=$mark"
ok 'finds silence'                 not is_log /dev/null
set --
while [ $# -le 20 ]; do set -- "$@" "${head}ready"; done
ok 'finds a flood'                 finds 'too often' "$@"
shift
ok '... and nothing below it'      not finds 'too often' "$@"
done_testing
