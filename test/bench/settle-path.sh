#!/bin/bash
# The settle path: one worker process against a bare loop of the same library that posts the same
# bodies (bare-settle), with one lane and with two, to a processor that answers at once, after 1 ms
# and after 10 ms. Payments a second, and CPU of the process for each.
#
#   ROUNDS=5 SECONDS_EACH=3 test/bench/settle-path.sh
#   CASES="1/0 2/10"   only these (LANES/DELAY in ms)
#
# Both have at most as many requests in flight in a lane: 32, 64 and 256. The processor is an epoll
# responder with one answer (build/bare), which takes less CPU than either; its share of a processor
# is in the figures. It also answers as the fallback, which gets nothing. The worker is fed through
# the region's rings, by the functions of the API and without HTTP (build/feed), so that 4,096 payments
# are always unsettled. With one lane the side that is measured has a processor of its own; with two
# the kernel places all of them.
. "$(dirname "$0")/lib/stage.sh"

seconds=${SECONDS_EACH:-3}
cases=${CASES:-1/0 1/1 1/10 2/0 2/1 2/10}
declare -A in_flight_max=([0]=32 [1]=64 [10]=256)
export PAYRING_API_SLOTS=1 PAYRING_RING_SLOTS=4096 PAYRING_PAYMENT_SLOTS=65536 PAYRING_LEDGER_ROWS=4194304 \
    PAYRING_HORIZON_S=0
answer='{"message":"payment processed successfully","failing":false,"minResponseTime":0}'

# on LANES side|other: where it runs.
on() {
    [ "$1" = 1 ] && [ "$(nproc)" -gt 1 ] || return 0
    case $2 in
    side) echo taskset -c 0 ;;
    other) echo taskset -c 1 ;;
    esac
}

processor_start() { # LANES DELAY
    local port
    port=$(free_ports 1)
    url=http://127.0.0.1:$port
    # shellcheck disable=SC2046
    start processor $(on "$1" other) "$build/bare" --listen "127.0.0.1:$port" --status 200 --body "$answer" \
        --delay-us $(($2 * 1000))
    ready processor says processor ready
}

# The processor's part of a CPU while $result was made (since $before and $began), into it.
add_share() {
    local spent=$(($(cpu_ns processor) - before)) ms=$(($(now_ms) - began))
    result="${result%\}},\"processor_cpu_share\":$(echo "$spent $ms" | awk '{ printf "%.3f", $1 / 1e6 / $2 }')}"
}

# Both sides leave what they say in $result.
bare_side() { # LANES DELAY
    local before began
    before=$(cpu_ns processor) began=$(now_ms)
    # shellcheck disable=SC2046
    result=$($(on "$1" side) "${BARE_SETTLE:-$build/bare-settle}" --url "$url/payments" --lanes "$1" \
        --concurrency "${in_flight_max[$2]}" --seconds "$seconds") || give_up "bare-settle $1/$2: $result"
    add_share
}

gateway_side() { # LANES DELAY
    local before began
    export PAYRING_LANES=$1 PAYRING_WORKER_LANES=$1 PAYRING_IN_FLIGHT_MAX=${in_flight_max[$2]} \
        PAYRING_DEFAULT_URL=$url PAYRING_FALLBACK_URL=$url
    region_create
    # shellcheck disable=SC2046
    worker_start worker0 $(on "$1" side)
    lanes_ready "$1"
    before=$(cpu_ns processor) began=$(now_ms)
    # shellcheck disable=SC2046
    result=$($(on "$1" other) "$build/feed" --worker "${pid_of[worker0]}" --seconds "$seconds") ||
        give_up "feed $1/$2: $result"
    add_share
    drop worker0
    region_remove
}

# Who begins changes from round to round.
round() {
    local each lanes delay bare gateway line=''
    for each in $cases; do
        lanes=${each%/*} delay=${each#*/}
        processor_start "$lanes" "$delay"
        if [ $(($1 % 2)) -eq 0 ]; then
            bare_side "$lanes" "$delay" && bare=$result
            gateway_side "$lanes" "$delay" && gateway=$result
        else
            gateway_side "$lanes" "$delay" && gateway=$result
            bare_side "$lanes" "$delay" && bare=$result
        fi
        stop processor
        line="$line,\"lanes${lanes}_ms$delay\":{\"gateway\":$gateway,\"bare\":$bare}"
    done
    echo "{${line#,}}"
}

play_rounds round
arguments=()
for each in $cases; do
    name=lanes${each%/*}_ms${each#*/}
    arguments+=(--ratio "cpu.$name=$name.gateway.cpu_us_per_payment/$name.bare.cpu_us_per_payment"
        --ratio "per_s.$name=$name.gateway.per_s/$name.bare.per_s"
        --bar "cpu.$name<=1.25" --bar "per_s.$name>=0.85")
done
say_figures settle-path "${arguments[@]}" --setting "seconds=$seconds"
