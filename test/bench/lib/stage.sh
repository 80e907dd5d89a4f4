# The stage of the benchmarks that compare (bash): whom to start, how to measure, what is said.
#
#   . "$(dirname "$0")/lib/stage.sh"
#   round() { ...; echo '{"gateway":{...},"bare":{...}}'; }     # $1: its number, from 1
#   play_rounds round
#   say_figures NAME --ratio ... --bar ...
#
# ROUNDS (5) rounds are played, and within one all sides take turns. With ROUNDS_FILE the rounds are
# kept there, behind those that are there already, and the figures are of all of them: so a long
# benchmark can be run in several short calls.
#
# Everything lies in $dir, a private directory, and what was started ends by its id with the script.
# Status 0: every bar is met; 1: one is not; 2: nothing could be measured.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../../.." || exit 2
. test/lib/common.sh

bench=$(basename "$0" .sh)
build=${PAYRING_BUILD:-build}
rounds=${ROUNDS:-5}
dir=$(mktemp -d "${TMPDIR:-/tmp}/payring-$bench.XXXXXX") || exit 2
rounds_file=${ROUNDS_FILE:-$dir/rounds}
unset PAYRING_BUILD
declare -A pid_of=()

give_up() {
    echo "$bench: $*" >&2
    exit 2
}

# --- processes ------------------------------------------------------------------------------

# start NAME COMMAND...: in the background; its output is in $dir/NAME.log. A wrapper (taskset, chrt,
# env) has to become the program, as those do.
start() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pid_of[$name]=$!
}

# stop NAME...: told at once, then waited for.
stop() {
    local name
    for name; do
        [ -z "${pid_of[$name]:-}" ] || kill -TERM "${pid_of[$name]}" 2>/dev/null
    done
    for name; do
        [ -z "${pid_of[$name]:-}" ] || wait "${pid_of[$name]}" 2>/dev/null
        unset "pid_of[$name]"
    done
}

stop_all() {
    stop "${!pid_of[@]}"
}

# Killed at once: of a region that is thrown away, nothing has to be brought to an end.
drop() {
    local name
    for name; do
        [ -z "${pid_of[$name]:-}" ] || kill -KILL "${pid_of[$name]}" 2>/dev/null
    done
    stop "$@"
}

is_running() {
    kill -0 "${pid_of[$1]:-0}" 2>/dev/null
}

# ready NAME COMMAND...: wait until the command is true; NAME is who it waits for.
ready() {
    local name=$1 deadline=$(($(now_ms) + 15000))
    shift
    until "$@"; do
        is_running "$name" || give_up "$name ended: $(tail -n 3 "$dir/$name.log")"
        [ "$(now_ms)" -lt "$deadline" ] || give_up "$name is not ready: $(tail -n 3 "$dir/$name.log")"
        sleep 0.02
    done
}

# answers STATUS CURL-ARGUMENTS...
answers() {
    local status=$1
    shift
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 "$@")" = "$status" ]
}

says() { # NAME WORD: in its log
    grep -q "$2" "$dir/$1.log"
}

# --- processors of the machine ---------------------------------------------------------------

# Two that this script may use, for two sides that must not get in each other's way: prefixes of a
# command, or nothing where there is only one.
on_one=() on_other=()
two_cpus() {
    # shellcheck disable=SC2046
    set -- $(. compose/local/placing.sh && echo "${processors[@]}")
    [ $# -lt 2 ] || on_one=(taskset -c "$1") on_other=(taskset -c "$2")
}
two_cpus

# --- the gateway ----------------------------------------------------------------------------

# region_create: $PAYRING_REGION, of the PAYRING_* settings; it goes with the script at the latest.
export PAYRING_REGION="bench-$bench-$$"
region_create() {
    "$build/payringctl" create >"$dir/create.log" 2>&1 || give_up "create: $(cat "$dir/create.log")"
}

# Payments and all; nobody may be in it any more.
region_remove() {
    "$build/payringctl" remove --force-lose-payments >/dev/null 2>&1
    rm -rf "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
}

# counter NAME: as `payringctl show --plain` tells it.
counter() {
    "$build/payringctl" show --plain | sed -n "s/^$1 //p"
}

counter_is() {
    [ "$(counter "$1")" = "$2" ]
}

# processors_start [PREFIX...]: both stand-ins, on ports of their own, named in the environment. Each
# word of PREFIX stands before the programs (chrt -i 0, say).
processors_start() {
    # shellcheck disable=SC2046
    set -- "$(free_ports 2)" "$@"
    default_port=${1% *} fallback_port=${1#* }
    shift
    export PAYRING_DEFAULT_URL=http://127.0.0.1:$default_port PAYRING_FALLBACK_URL=http://127.0.0.1:$fallback_port
    start default "$@" "$build/processor" --name default --fee 0.05 --listen "127.0.0.1:$default_port"
    start fallback "$@" "$build/processor" --name fallback --fee 0.15 --listen "127.0.0.1:$fallback_port"
    ready default says default ready
    ready fallback says fallback ready
}

api_start() { # NAME [PREFIX...]: on $dir/NAME.sock
    local name=$1
    shift
    start "$name" "$@" env PAYRING_API_SOCKET="$dir/$name.sock" "$build/payring-api"
}

api_ready() {
    ready "$1" answers 200 --unix-socket "$dir/$1.sock" http://payring/healthz
}

worker_start() { # NAME [PREFIX...]
    local name=$1
    shift
    start "$name" "$@" "$build/payring-worker"
}

# lanes_ready N: so many lanes have an owner.
lanes_ready() {
    local name
    for name in "${!pid_of[@]}"; do
        [[ $name != worker* ]] || is_running "$name" || give_up "$name ended: $(tail -n 3 "$dir/$name.log")"
    done
    eventually 15 lanes_are_owned "$1" || give_up "not all of $1 lanes have an owner"
}

lanes_are_owned() {
    [ "$(cat "$dir"/worker*.log | grep -c lane_taken)" -ge "$1" ]
}

# gateway_start APIS WORKERS [PREFIX...]: a new region and all of it but the balancer, ready: api0 ...,
# worker0 ..., default, fallback. The prefix is that of workers and processors; that of APIs, bare servers
# and nginx is $server_prefix, an array.
server_prefix=()
gateway_start() {
    local apis=$1 workers=$2 n
    shift 2
    export PAYRING_API_SLOTS=$apis PAYRING_LANES=2 PAYRING_WORKER_LANES=$((2 / workers))
    region_create
    processors_start "$@"
    for ((n = 0; n < workers; n++)); do worker_start "worker$n" "$@"; done
    for ((n = 0; n < apis; n++)); do
        api_start "api$n" "${server_prefix[@]}"
    done
    for ((n = 0; n < apis; n++)); do api_ready "api$n"; done
    lanes_ready 2
}

# Region, payments and all.
gateway_drop() {
    local name
    for name in "${!pid_of[@]}"; do
        [[ $name != api* && $name != worker* && $name != default && $name != fallback ]] || drop "$name"
    done
    rm -f "$dir"/worker*.log
    region_remove
}

# Nothing accepted waits any more.
all_is_settled() {
    "$build/payringctl" show --plain | awk '/^(unsettled|ring\.depth) / { left += $2 } END { exit left > 0 }'
}

# nginx_start NAME PORT SOCKET...: the balancer that the gateway is delivered with.
nginx_start() {
    local name=$1 port=$2
    shift
    mkdir -p "$dir/$name.d"
    start "$name" "${server_prefix[@]}" compose/local/balancer.sh "$dir/$name.d" "$@"
    ready "$name" perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new("127.0.0.1:" . shift)' "$port"
}

# bare_start N: so many bare-h2o, ready, on $dir/bare0.sock ...
bare_start() {
    local n
    for ((n = 0; n < $1; n++)); do
        start "bare$n" "${server_prefix[@]}" "$build/bare-h2o" --unix "$dir/bare$n.sock"
    done
    for ((n = 0; n < $1; n++)); do ready "bare$n" says "bare$n" ready; done
}

# balancers_start SIDE...: nginx_SIDE before $dir/SIDE0.sock and $dir/SIDE1.sock, on ${port_of[SIDE]}.
declare -A port_of=()
balancers_start() {
    local side
    for side; do
        port_of[$side]=$(free_ports 1)
        nginx_start "nginx_$side" "${port_of[$side]}" "$dir/${side}0.sock" "$dir/${side}1.sock"
    done
}

# --- measuring ------------------------------------------------------------------------------

# pids_of NAME...: theirs and their children's.
pids_of() {
    local name
    for name; do
        # shellcheck disable=SC2046
        echo "${pid_of[$name]}" $(cat "/proc/${pid_of[$name]}/task/${pid_of[$name]}/children")
    done
}

# cpu_ns NAME...: what these, with all their threads and children, have used of a processor so far,
# user and system, as the scheduler counts it (a tick of /proc/PID/stat is 10 ms).
cpu_ns() {
    local pid
    for pid in $(pids_of "$@"); do cat /proc/"$pid"/task/*/schedstat; done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# load NAME OPTIONS OF build/load...: its line of JSON is in $dir/NAME.json. A processor of its own
# for it: LOAD_ON='taskset -c 1'.
load() {
    local name=$1
    shift
    # shellcheck disable=SC2086
    ${LOAD_ON:-} "$build/load" "$@" >"$dir/$name.json" 2>"$dir/$name.log" || give_up "load: $(cat "$dir/$name.log")"
}

# json NAME EXPRESSION...: perl, of $_, the object in $dir/NAME.json; the values, a space between.
json() {
    perl -MJSON::PP -e 'local $/; open my $in, "<", shift or die "$!\n"; my $object = decode_json(scalar <$in>);
        print join(" ", map { my $what = $_; local $_ = $object; my @v = eval($what); die $@ if $@; @v } @ARGV), "\n"' "$dir/$1.json" "${@:2}"
}

# object NAME=NUMBER...: as JSON.
object() {
    local pair comma=
    [ $# -gt 0 ] || give_up 'there are no figures'
    printf '{'
    for pair; do
        printf '%s"%s":%s' "$comma" "${pair%%=*}" "${pair#*=}"
        comma=,
    done
    printf '}'
}

# --- rounds and figures ---------------------------------------------------------------------

# play_parts PART...: a round's line of JSON, of the functions that print one each.
play_parts() {
    local part line=''
    for part; do
        "$part" >"$dir/part" || return
        line="$line,\"$part\":$(cat "$dir/part")"
    done
    echo "{${line#,}}"
}

# Of which commit a round is, and with which settings of the benchmark: rounds of another one are not added to.
round_is_of() {
    git rev-parse HEAD
    git diff HEAD | cksum
    env | grep -E '^(LEAN|SLICES|SLICE_S|CASES|RATES|CONNECTIONS|PARTS|SIZES|WINDOWS|ROWS_FIRST|ROWS_MOST|FIRST_RATE|RATE|ROWS|BEYOND|BEYOND_S|PROBE_S|SECONDS_EACH|IDLE_SECONDS|TEST_SECONDS)=' | sort
}

# play_rounds FUNCTION: it prints a round's line of JSON. Its number counts on from the rounds that are
# kept already, so that whose turn is first changes from call to call too.
play_rounds() {
    local round=1 kept=0 of
    of=$(round_is_of 2>/dev/null | tr '\n\t"\\' ' ')
    if [ -f "$rounds_file" ]; then
        kept=$(wc -l <"$rounds_file")
        [ "$kept" = "$(grep -cF "{\"of\":\"$of\"," "$rounds_file")" ] ||
            give_up "$rounds_file has rounds of another commit or with other settings"
    fi
    while [ "$round" -le "$rounds" ]; do
        "$1" $((kept + round)) >"$dir/round" || give_up "round $round did not work"
        sed "s|^{|{\"of\":\"$of\",|" "$dir/round" >>"$rounds_file" || exit 2
        echo "$bench: round $round of $rounds: $(cat "$dir/round")" >&2
        round=$((round + 1))
    done
}

# say_figures NAME ARGUMENTS OF figures.pl...; the script ends with its status.
say_figures() {
    test/bench/lib/figures.pl "$@" <"$rounds_file"
    exit
}

leave() {
    local status=$?
    trap '' INT TERM HUP
    # nginx takes its child along on TERM only.
    local name
    for name in "${!pid_of[@]}"; do
        [[ $name == *nginx* ]] || drop "$name"
    done
    stop_all
    region_remove
    [ -n "${KEEP_DIR:-}" ] || rm -rf "$dir"
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
