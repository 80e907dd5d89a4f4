# The stage of the plays of deliveries: engines instead of bare processes, the words of tap.sh, and
# a few of the same meaning as in test/lib/cluster.sh.
#
#   description='What is true afterwards.'
#   engine=docker          # or systemd
#   . test/deliveries/stage.sh
#
# Where no engine can be started the whole play is skipped, with the reason. Everything lies in
# $play_dir; what was started ends with the play, however that ends.

. test/lib/tap.sh
. test/lib/common.sh

reason=$(test/deliveries/engine.sh why-not "${engine:?}" 2>"$play_dir/why-not.log")
if [ -n "$reason" ]; then
    rm -rf "$play_dir"
    echo "1..0 # SKIP no $engine engine: $reason"
    trap - EXIT
    exit 0
fi

engine() { # VERB ARGUMENT...
    local verb="$1"
    shift
    test/deliveries/engine.sh "$verb" "$play_dir" "$@"
}

# note TEXT: a figure for whoever reads.
note() {
    echo "# $*"
}

give_up() {
    echo "# $*" >&2
    tests_failed=$((tests_failed + 1))
    exit 1
}

# --- what a play of each engine defines -------------------------------------------------------
#   net                    the words before a command that run it where the gateway's ports are
#   ctl VERB...            payringctl beside the gateway
#   default_at, fallback_at, gateway_at: HOST:PORT

# What was posted: by the poster, which writes when it likes, and by `post`.
nothing_posted() {
    : >"$play_dir/posted"
    : >"$play_dir/posted.here"
}
nothing_posted

# load_start [poster options...]: until load_stop. A payment that was broken off is sent again.
load_start() {
    accepted_before=$(accepted)
    # exec: the process id is the poster's.
    (exec $net build/poster --target "$gateway_at" --connections 8 --retry --timeout-ms 5000 --seconds 900 --rate 200 \
        --seed "$(now_ms)" "$@") >>"$play_dir/posted" 2>>"$play_dir/poster.log" &
    poster=$!
    eventually 30 load_runs || give_up "no load: $(cat "$play_dir/poster.log")"
}

load_runs() {
    [ "$(accepted)" -gt "$accepted_before" ]
}

accepted() {
    ctl show --plain 2>/dev/null | sed -n 's/^api.accepted //p' | grep . || echo 0
}

load_stop() {
    kill -TERM "$poster"
    wait "$poster"
}

# flows: payments are being accepted now.
flows() {
    accepted_before=$(accepted)
    eventually 20 load_runs
}

admin() { # HOST:PORT METHOD PATH [BODY]
    $net curl -sf --max-time 20 -X "$2" -d "${4:-}" -H 'X-Rinha-Token: 123' \
        -H 'Content-Type: application/json' "http://$1/admin/$3"
}

books_agree() {
    admin "$default_at" GET payments >"$play_dir/book.default" || return
    admin "$fallback_at" GET payments >"$play_dir/book.fallback" || return
    ctl list >"$play_dir/list" || return
    ctl rows >"$play_dir/rows" || return
    test/lib/compare-books --default "$play_dir/book.default" --fallback "$play_dir/book.fallback" \
        --list "$play_dir/list" --rows "$play_dir/rows" --posted "$play_dir/posted" \
        --posted "$play_dir/posted.here" "$@"
}

books_agree_within() {
    local seconds="$1"
    shift
    eventually "$seconds" books_agree "$@" >"$play_dir/differences" 2>&1 || books_agree "$@"
}

# windows_agree: with everything settled, the summary of random windows is that of the processors.
windows_agree() {
    $net test/lib/audit-windows --gateway "$gateway_at" --default "$default_at" --fallback "$fallback_at" \
        --since "$started_us" --seed "$$" --seconds 1 --lag-ms 1
}

started_us=$(($(now_ms) * 1000))

# left: how many have been accepted and not settled.
left() {
    ctl show --plain 2>/dev/null | awk '/^unsettled |^ring.depth / { n += $2 } END { print n + 0 }'
}

wait_for_settling() { # COUNT: so many do, at least
    [ "$(left)" -ge "$1" ]
}

rings_are_empty() {
    [ "$(ctl show --plain | sed -n 's/^ring.depth //p')" = 0 ]
}

both_fail() { # true or false
    for at in $default_at $fallback_at; do
        admin $at PUT configurations/failure "{\"failure\":$1}" || return
    done
}

# The default is slow, the fallback fails: what is accepted waits, and much of it is out.
slow() {
    admin $default_at PUT configurations/delay '{"delay":2000}' &&
        admin $fallback_at PUT configurations/failure '{"failure":true}'
}

well() {
    both_fail false && admin $default_at PUT configurations/delay '{"delay":0}'
}

# readme BEGINNING: the README's first line that begins so.
readme() {
    grep -m 1 "^$1" README.md || echo 'false # the README has no such line'
}

# post ID: one payment, through the balancer.
post() {
    local code
    code=$($net curl -s -o /dev/null -w '%{http_code}' --max-time 5 -H 'Content-Type: application/json' \
        -d "{\"correlationId\":\"$1\",\"amount\":19.90}" "http://$gateway_at/payments")
    printf '%s\t19.90\t%s\n' "$1" "$code" >>"$play_dir/posted.here"
    [ "$code" = 202 ]
}

new_id() {
    cat /proc/sys/kernel/random/uuid
}

is_settled() { # ID
    $net curl -s --max-time 5 "http://$gateway_at/payments/$1" | grep -q '"state":"settled"'
}

# kill_ours PID...: processes that this play started.
kill_ours() {
    for pid; do
        kill "$pid" 2>/dev/null || continue
        eventually 10 has_gone "$pid"
    done
}

has_gone() {
    case $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) in
    '' | Z) ;;
    *) false ;;
    esac
}

curtain() {
    trap '' INT TERM HUP
    [ -z "${poster:-}" ] || kill "$poster" 2>/dev/null
    leave >"$play_dir/leave.log" 2>&1
    play_succeeded || { echo "logs: $play_dir" && tail -n 30 "$play_dir"/*.log; } | sed 's/^/# /' >&2
    if play_succeeded; then rm -rf "$play_dir"; else rm -rf "$play_dir/root"; fi
}
trap curtain EXIT
