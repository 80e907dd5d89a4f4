# The stage of the cluster plays: a whole gateway for one play, and words to direct it.
#
#   description='What is true afterwards.'
#   . test/lib/cluster.sh
#   cluster_start --apis 2 --workers 2 PAYRING_POLICY=default-only
#   ok 'accepted' post_payment api0 "$(new_id)" 19.90
#   done_testing
#
# Every play has a region, a directory, sockets and ports of its own, so plays may run side by
# side. Readiness is observed, never slept for. Only processes that the play started are ever
# signalled, by their id. When a play fails, its logs, an inspector's dump and the books stay in
# its directory, and the end of each is shown.
#
# The actors: api0 api1 ..., worker0 worker1 ..., default, fallback (the stand-in processors) and,
# if asked for, balancer. The words are below, each with a line on what it does.

. test/lib/tap.sh
. test/lib/common.sh

# The tree whose programs play. It is no setting, so no program sees it. Under a sanitizer's
# (make asan-cluster) every play ends with questions more: see last_tests.
build=${PAYRING_BUILD:-build}
export build # to the shells that a play starts
unset PAYRING_BUILD
# What is not instrumented does not read these. With the name of the program: a report says whose
# it is.
sanitizer_log=$play_dir/sanitizer
export ASAN_OPTIONS="detect_leaks=1:log_exe_name=1:log_path=$sanitizer_log"
export UBSAN_OPTIONS="print_stacktrace=1:log_exe_name=1:log_path=$sanitizer_log"
export TSAN_OPTIONS="log_exe_name=1:log_path=$sanitizer_log"

export PAYRING_REGION="play-${play%%-*}-${play_dir##*.}"
NO_ID=00000000-0000-4000-8000-000000000000

# give_up REASON: the play cannot go on.
give_up() {
    echo "# $*" >&2
    tests_failed=$((tests_failed + 1))
    exit 1
}

# --- time -----------------------------------------------------------------------------------

now_us() {
    date +%s%6N
}

# stays SECONDS COMMAND...: true if it is true all that time. For what must not happen.
stays() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    while [ "$(now_ms)" -lt "$deadline" ]; do
        "$@" || return 1
        sleep 0.1
    done
}

# --- processes ------------------------------------------------------------------------------

# configure NAME PAYRING_X=value...: settings of this one alone, from its next start on, besides
# those of all; without spaces in them. Replaces what was configured for it before.
configure() {
    local name="$1"
    shift
    printf '%s\n' "$@" >"$play_dir/$name.settings"
}

settings_of() {
    [ ! -f "$play_dir/$1.settings" ] || cat "$play_dir/$1.settings"
}

# another_region NAME: create it; processes are of it that are configured to be. Gone at the end.
another_region() {
    echo "$1" >>"$play_dir/regions"
    PAYRING_REGION="$1" "$build/payringctl" create >>"$play_dir/create.log" 2>&1 ||
        give_up "payringctl create $1: $(cat "$play_dir/create.log")"
}

# start_process NAME: not waiting until it is ready.
start_process() {
    local name="$1" log="$play_dir/$1.log"
    : >>"$log"
    # Where this life of it begins in the log.
    wc -l <"$log" >"$play_dir/$name.from"
    # shellcheck disable=SC2046  # one word for each setting
    case $name in
    api*)
        env PAYRING_API_SOCKET="$play_dir/$name.sock" $(settings_of "$name") "$build/payring-api" \
            >>"$log" 2>&1 </dev/null &
        ;;
    worker*) env $(settings_of "$name") "$build/payring-worker" >>"$log" 2>&1 </dev/null & ;;
    # shellcheck disable=SC2086  # several options
    default) "$build/processor" ${processor_options:-} --listen "127.0.0.1:$default_port" --name default --fee 0.05 \
        >>"$log" 2>&1 </dev/null & ;;
    # shellcheck disable=SC2086
    fallback) "$build/processor" ${processor_options:-} --listen "127.0.0.1:$fallback_port" --name fallback --fee 0.15 \
        >>"$log" 2>&1 </dev/null & ;;
    balancer)
        # shellcheck disable=SC2046  # one word for each socket
        compose/local/balancer.sh "$play_dir" "$balancer_port" $(api_sockets) >>"$log" 2>&1 </dev/null &
        ;;
    *) give_up "start_process: who is $name?" ;;
    esac
    echo $! >"$play_dir/$name.pid"
}

# restart_process NAME: start it again and wait until it is ready.
restart_process() {
    start_process "$1"
    eventually 15 is_ready "$1" || give_up "$1 is not ready again"
}

# kill_process NAME SIGNAL: KILL and TERM return when it is gone, STOP when it stands still.
kill_process() {
    local pid
    pid=$(cat "$play_dir/$1.pid")
    case $2 in
    KILL | TERM | INT)
        # Stopped processes do not die of TERM.
        kill -s "$2" "$pid"
        eventually 15 has_ended "$pid"
        ;;
    STOP)
        kill -s STOP "$pid"
        eventually 5 stands_still "$pid"
        ;;
    *) kill -s "$2" "$pid" ;;
    esac
}

# kill_at_once NAME...: no time between them.
kill_at_once() {
    local name pids=''
    for name; do pids="$pids $(cat "$play_dir/$name.pid")"; done
    # shellcheck disable=SC2086
    kill -s KILL $pids
    for name in $pids; do eventually 5 has_ended "$name"; done
}

process_state() {
    sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null
}

has_ended() {
    case $(process_state "$1") in
    '' | Z) wait "$1" 2>/dev/null || : ;;
    *) false ;;
    esac
}

parent_of() {
    sed 's/.*) . //; s/ .*//' "/proc/$1/stat" 2>/dev/null
}

stands_still() {
    [ "$(process_state "$1")" = T ]
}

# is_running NAME
is_running() {
    local pid
    pid=$(cat "$play_dir/$1.pid" 2>/dev/null) && ! has_ended "$pid"
}

# is_ready NAME: it does what it is there for.
is_ready() {
    case $1 in
    api*) [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 \
        --unix-socket "$play_dir/$1.sock" http://payring/healthz)" = 200 ] ;;
    worker*) tail -n +$(($(cat "$play_dir/$1.from") + 1)) "$play_dir/$1.log" | grep -q ready ;;
    default | fallback) # not service-health: the worker may call that once in 5 s
        [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 \
            "$(url_of "$1")/payments/$NO_ID")" = 404 ] ;;
    balancer) [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 \
        "http://127.0.0.1:$balancer_port/healthz")" = 200 ] ;;
    esac || {
        is_running "$1" || give_up "$1 ended: $(tail -n 3 "$play_dir/$1.log")"
        false
    }
}

url_of() {
    case $1 in
    default) echo "http://127.0.0.1:$default_port" ;;
    fallback) echo "http://127.0.0.1:$fallback_port" ;;
    balancer) echo "http://127.0.0.1:$balancer_port" ;;
    esac
}

api_sockets() {
    local n=0
    while [ "$n" -lt "$api_count" ]; do
        echo "$play_dir/api$n.sock"
        n=$((n + 1))
    done
}

# cluster_start [--apis N] [--workers N] [--balancer] [--processors-later] [PAYRING_X=value...]:
# everybody, ready.
cluster_start() {
    local workers=2 with_balancer='' n
    actors='default fallback'
    api_count=2
    # Small: many plays may run on a small /dev/shm. Plays that need more say so.
    export PAYRING_RING_SLOTS=4096 PAYRING_PAYMENT_SLOTS=16384 PAYRING_LEDGER_ROWS=262144 \
        PAYRING_HORIZON_PAYMENTS=65536 PAYRING_PURGE=on
    while [ $# -gt 0 ]; do
        case $1 in
        --apis) api_count=$2 && shift ;;
        --workers) workers=$2 && shift ;;
        --balancer) with_balancer=balancer ;;
        --processors-later) actors= ;;
        PAYRING_*=*) export "${1?}" ;;
        *) give_up "cluster_start: what is $1?" ;;
        esac
        shift
    done
    # shellcheck disable=SC2046
    set -- $(free_ports 3)
    default_port=$1 fallback_port=$2 balancer_port=$3
    export PAYRING_API_SLOTS="${PAYRING_API_SLOTS:-$api_count}"
    PAYRING_DEFAULT_URL=$(url_of default)
    PAYRING_FALLBACK_URL=$(url_of fallback)
    export PAYRING_DEFAULT_URL PAYRING_FALLBACK_URL

    "$build/payringctl" create >"$play_dir/create.log" 2>&1 ||
        give_up "payringctl create: $(cat "$play_dir/create.log")"
    n=0
    while [ "$n" -lt "$workers" ]; do actors="$actors worker$n" && n=$((n + 1)); done
    n=0
    while [ "$n" -lt "$api_count" ]; do actors="$actors api$n" && n=$((n + 1)); done
    for n in $actors; do start_process "$n"; done
    for n in $actors; do eventually 15 is_ready "$n" || give_up "$n is not ready"; done
    [ -z "$with_balancer" ] || {
        actors="$actors balancer"
        restart_process balancer
    }
    : >"$play_dir/posted"
    started_us=$(now_us)
}

# --- the gateway, as a client sees it ---------------------------------------------------------

new_id() {
    cat /proc/sys/kernel/random/uuid
}

# call ACTOR PATH [curl options...]: sets $status, the body is in $play_dir/answer.
call() {
    local actor="$1" path="$2"
    shift 2
    case $actor in
    api*) status=$(curl -s -o "$play_dir/answer" -w '%{http_code}' --max-time 20 --path-as-is \
        --unix-socket "$play_dir/$actor.sock" "$@" "http://payring$path") ;;
    *) status=$(curl -s -o "$play_dir/answer" -w '%{http_code}' --max-time 20 --path-as-is \
        "$@" "$(url_of "$actor")$path") ;;
    esac
    [ -f "$play_dir/answer" ] || : >"$play_dir/answer"
}

# body_says TEXT...: the last answer holds each of them.
body_says() {
    local text
    for text; do
        grep -qiF -- "$text" "$play_dir/answer" || {
            echo "no \"$text\" in: $(cat "$play_dir/answer")"
            return 1
        }
    done
}

# answers STATUS ACTOR PATH [curl options...]: true if the call ends with that status.
answers() {
    local expected="$1"
    shift
    rm -f "$play_dir/answer"
    call "$@"
    [ "$status" = "$expected" ] || {
        echo "status $status, expected $expected: $(cat "$play_dir/answer")"
        false
    }
}

# post_payment ACTOR ID AMOUNT [STATUS]: true if accepted (any 2xx), or if the status is that one.
# What was said is written down for the comparison of the books.
post_payment() {
    rm -f "$play_dir/answer"
    call "$1" /payments -H 'Content-Type: application/json' \
        -d "{\"correlationId\":\"$2\",\"amount\":$3}"
    [ "$status" != 000 ] || status=lost
    printf '%s\t%s\t%s\n' "$2" "$3" "$status" >>"$play_dir/posted"
    case ${4:-2xx}/$status in
    2xx/2??) ;;
    "$status/$status") ;;
    *)
        echo "status $status: $(cat "$play_dir/answer")"
        false
        ;;
    esac
}

# post_many [poster options...]: in the foreground, through all APIs (or the balancer, if told
# `--target ...`).
post_many() {
    local n
    for n in $(api_sockets); do set -- --target "unix:$n" "$@"; done
    "$build/poster" "$@" >>"$play_dir/posted.many" 2>>"$play_dir/poster.log"
}

# load_start [poster options...]: post_many in the background; load_wait waits for its end.
load_start() {
    local n
    case " $* " in
    *' --target '*) ;;
    *) for n in $(api_sockets); do set -- --target "unix:$n" "$@"; done ;;
    esac
    "$build/poster" "$@" >>"$play_dir/posted.load" 2>>"$play_dir/poster.log" &
    echo $! >"$play_dir/poster.pid"
}

load_wait() {
    wait "$(cat "$play_dir/poster.pid")"
}

# load_has_posted N: the load got at least N answers or losses so far (the output is buffered, so
# the APIs are asked).
load_has_posted() {
    [ "$(counter api.accepted)" -ge "$1" ]
}

# summary_of ACTOR default|fallback [QUERY]: "requests amount" as printed.
summary_of() {
    call "$1" "/payments-summary${3:-}"
    [ "$status" = 200 ] || {
        echo "status $status"
        return 1
    }
    tr -d ' \n' <"$play_dir/answer" |
        sed -n "s/.*\"$2\":{\"totalRequests\":\([0-9]*\),\"totalAmount\":\([^},]*\)}.*/\1 \2/p"
}

# summary_has ACTOR default|fallback REQUESTS AMOUNT [QUERY]
summary_has() {
    same "$(summary_of "$1" "$2" "${5:-}")" "$3 $4"
}

# payment_is ACTOR ID STATE [PROCESSOR]: what GET /payments/{id} says.
payment_is() {
    call "$1" "/payments/$2"
    if grep -qi "\"state\": *\"$3\"" "$play_dir/answer" &&
        grep -q "\"processor\": *\"${4:-}" "$play_dir/answer"; then
        return
    fi
    echo "status $status: $(cat "$play_dir/answer")"
    return 1
}

# --- the gateway, from inside -----------------------------------------------------------------

# counter NAME: as in `payringctl show --plain`: lane.posts is the sum of lane.0.posts and so on.
counter() {
    "$build/payringctl" show --plain | sed -n "s/^$1 //p"
}

# counter_is NAME VALUE, counter_at_least NAME VALUE
counter_is() {
    same "$(counter "$1")" "$2"
}

counter_at_least() {
    local value
    value=$(counter "$1")
    [ "$value" -ge "$2" ] || {
        echo "$1 is $value, less than $2"
        false
    }
}

# cpu_is_idle NAME: it uses less than a tenth of a processor over half a second.
cpu_is_idle() {
    local pid before
    pid=$(cat "$play_dir/$1.pid")
    before=$(cpu_ticks "$pid")
    sleep 0.5
    [ $(($(cpu_ticks "$pid") - before)) -lt 5 ]
}

cpu_ticks() {
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# --- the stand-in processors ------------------------------------------------------------------

# processor NAME fails | recovers | delay MS | purge | behaves
# processor NAME misbehaves KIND [key=value...]   (its --help tells the kinds and keys)
processor() {
    case $2 in
    fails) admin "$1" PUT configurations/failure '{"failure":true}' ;;
    recovers) admin "$1" PUT configurations/failure '{"failure":false}' ;;
    delay) admin "$1" PUT configurations/delay "{\"delay\":$3}" ;;
    misbehaves) admin "$1" PUT misbehave "$(shift 2 && fault "$@")" ;;
    behaves) admin "$1" PUT misbehave '{"kind":"none"}' ;;
    purge) admin "$1" POST purge-payments '' ;;
    *) give_up "processor: what is $2?" ;;
    esac
}

fault() { # kind [key=value...] as the JSON of PUT /admin/misbehave
    local json="{\"kind\":\"$1\"" pair
    shift
    for pair; do
        case ${pair#*=} in
        *[!0-9]*) json="$json,\"${pair%%=*}\":\"${pair#*=}\"" ;;
        *) json="$json,\"${pair%%=*}\":${pair#*=}" ;;
        esac
    done
    echo "$json}"
}

admin() { # processor method path body
    local code
    code=$(curl -s -o "$play_dir/admin.answer" -w '%{http_code}' --max-time 5 -X "$2" -d "$4" \
        -H 'X-Rinha-Token: 123' -H 'Content-Type: application/json' "$(url_of "$1")/admin/$3")
    case $code in
    2??) ;;
    *) give_up "$1 refuses /admin/$3 $4: $code $(cat "$play_dir/admin.answer")" ;;
    esac
}

# book PROCESSOR: its inserts, a line each: id, cents, requestedAt_us, ...
book() {
    ask "$1" payments
}

# processor_holds PROCESSOR ID [CENTS]: exactly one insert of that id.
processor_holds() {
    same "$(book "$1" | awk -F '\t' -v id="$2" '$1 == id { print $2 }')" "${3:-1990}"
}

# processor_saw PROCESSOR ID N: it was POSTed there so often, refused and broken off ones included.
processor_saw() {
    same "$(ask "$1" "seen/$2" | tr -dc '0-9\n' | tail -n 1)" "$3"
}

ask() { # processor path-below-admin
    curl -sf --max-time 20 -H 'X-Rinha-Token: 123' "$(url_of "$1")/admin/$2"
}

# processor_stat PROCESSOR KEY: a number of its statistics.
processor_stat() {
    ask "$1" stats | sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p"
}

# processor_is_busy PROCESSOR: a request is being worked on there.
processor_is_busy() {
    [ "$(processor_stat "$1" running)" -gt 0 ]
}

# insert_elsewhere PROCESSOR ID AMOUNT REQUESTED_AT: somebody else's payment, straight to it.
insert_elsewhere() {
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 -H 'Content-Type: application/json' \
        -d "{\"correlationId\":\"$2\",\"amount\":$3,\"requestedAt\":\"$4\"}" \
        "$(url_of "$1")/payments")" = 200 ]
}

# odd_start PROCESSOR SEED KINDS: it is played by test/lib/odd-processor, which tells the kinds.
odd_start() {
    local port=$default_port
    [ "$1" = default ] || port=$fallback_port
    test/lib/odd-processor "$port" "$2" "$3" >"$play_dir/$1.log" 2>&1 </dev/null &
    echo $! >"$play_dir/$1.pid"
    eventually 5 grep -q listening "$play_dir/$1.log" || give_up "$1 does not listen"
}

# odd_kinds PROCESSOR KINDS: what it does from now on.
odd_kinds() {
    curl -sf -o /dev/null --max-time 5 -X PUT -d "$2" "$(url_of "$1")/admin/kinds"
}

# odd_met PROCESSOR KIND: payments met with it.
odd_met() {
    ask "$1" stats | awk -v kind="$2" '$1 == kind { n = $2 } END { print n + 0 }'
}

# --- the books --------------------------------------------------------------------------------

# books_agree [compare-books options...]: true if the processors' books and ours do, id by id.
books_agree() {
    book default >"$play_dir/book.default" || return
    book fallback >"$play_dir/book.fallback" || return
    "$build/payringctl" list >"$play_dir/list" || return
    "$build/payringctl" rows >"$play_dir/rows" || return
    cat "$play_dir"/posted* >"$play_dir/all-posts"
    test/lib/compare-books --default "$play_dir/book.default" --fallback "$play_dir/book.fallback" \
        --list "$play_dir/list" --rows "$play_dir/rows" --posted "$play_dir/all-posts" "$@"
}

# books_agree_within SECONDS [options...]: settling may take that long.
books_agree_within() {
    local seconds="$1"
    shift
    eventually "$seconds" books_agree "$@" >"$play_dir/differences" 2>&1 || {
        books_agree "$@"
        return 1
    }
}

# windows_agree: with everything settled, the summary of random windows is that of the processors.
windows_agree() {
    audit_start --seconds 1 --lag-ms 1
    audit_wait
}

# audit_start [audit-windows options...], audit_wait: random windows while the play goes on.
audit_start() {
    local n
    for n in $(api_sockets); do set -- --gateway "unix:$n" "$@"; done
    test/lib/audit-windows --default "127.0.0.1:$default_port" --fallback "127.0.0.1:$fallback_port" \
        --since "$started_us" --seed "$$" "$@" >"$play_dir/audit.log" 2>&1 &
    echo $! >"$play_dir/audit.pid"
}

audit_wait() {
    wait "$(cat "$play_dir/audit.pid")" || {
        cat "$play_dir/audit.log"
        false
    }
}

# --- under a sanitizer ------------------------------------------------------------------------

# stops_well FILE: whoever FILE names by id ends by itself when told to, with status 0. Leaks are
# told of by those who end so; those who are killed have no say in what they leave behind.
stops_well() {
    local pid status=0
    pid=$(cat "$1")
    # In this order: who looks for leaks stops itself for that, and would be continued.
    kill -s CONT "$pid" && kill -s TERM "$pid" || return
    eventually 30 has_come_to_its_end "$pid" || return
    rm "$1"
    wait "$pid" || status=$?
    case $status in
    0 | 127) ;; # 127: started by a shell within the play, which alone may ask for its status
    *)
        echo "status $status"
        return 1
        ;;
    esac
}

has_come_to_its_end() {
    case $(process_state "$1") in
    '' | Z) ;; # gone: the shell has its status already
    *) false ;;
    esac
}

# is_of_the_tree FILE: it runs, and is one of the programs that play.
is_of_the_tree() {
    case $(readlink "/proc/$(cat "$1")/exe") in
    "$(pwd -P)/$build/"*) ;;
    *) false ;;
    esac
}

nothing_was_reported() {
    local report found=
    for report in "$sanitizer_log".*; do
        [ -e "$report" ] || continue
        found=yes
        echo "== $(basename "$report")"
        head -n 30 "$report"
    done
    [ -z "$found" ]
}

last_tests() {
    local file
    case $build in
    *san) ;;
    *) return 0 ;;
    esac
    # From the front to the back.
    for file in "$play_dir"/api*.pid "$play_dir"/worker*.pid "$play_dir"/*.pid; do
        if [ -e "$file" ] && is_of_the_tree "$file"; then
            ok "$(basename "$file" .pid) stops well" stops_well "$file"
        fi
    done
    ok 'no sanitizer has anything to report' nothing_was_reported
}

# --- the curtain ------------------------------------------------------------------------------

show_what_is_left() {
    "$build/payringctl" show >"$play_dir/show.log" 2>&1
    {
        echo "logs, books and an inspector's dump: $play_dir"
        for log in "$play_dir"/*.log; do
            echo "== $(basename "$log")"
            tail -n 25 "$log"
        done
    } | sed 's/^/# /' >&2
}

curtain() {
    local file pid region
    trap '' INT TERM HUP
    play_succeeded || show_what_is_left
    # Interrupted after starting something and before noting its id: the last child tells.
    [ "$(parent_of "${!:-}")" != $$ ] || echo $! >"$play_dir/last-child.pid"
    for file in "$play_dir"/*.pid; do
        pid=$(cat "$file" 2>/dev/null) || continue
        # nginx takes its child with it on TERM only; the others have nothing to lose.
        case $file in
        */balancer.pid) kill -s TERM "$pid" 2>/dev/null && eventually 5 has_ended "$pid" ;;
        */nginx.pid) continue ;;
        esac
        kill -s KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    for region in "$PAYRING_REGION" $(cat "$play_dir/regions" 2>/dev/null); do
        PAYRING_REGION="$region" "$build/payringctl" remove --force-lose-payments >/dev/null 2>&1
        rm -rf "/dev/shm/$region" "/dev/shm/$region".*
    done
    tap_end
}
trap curtain EXIT
