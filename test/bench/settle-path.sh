#!/bin/bash
# The settle path: one worker process against a bare loop of the same library that posts the same
# bodies (bare-settle), with one lane and with two, to a processor that answers at once, after 1 ms
# and after 10 ms. Payments a second, and CPU of the process for each.
#
#   ROUNDS=5 SLICES=4 test/bench/settle-path.sh
#   CASES="1/0 2/10"   only these (LANES/DELAY in ms)
#   LEAN=yes           the bare loop uses libcurl as the worker does (bare-settle --lean), not as its manual says
#
# In a case both sides have SLICES slices of a second in turns, each after a quarter of one that does
# not count, so that what the machine's neighbours do meets both. Who has no turn sleeps: everything
# is settled before the other side begins.
#
# Both have at most as many requests in flight in a lane: 32, 64 and 256. The processor is an epoll
# responder with one answer (build/bare), which takes less CPU than either; its share of a processor
# is in the figures. It also answers as the fallback, which gets nothing. The worker is fed through
# the region's rings, by the functions of the API and without HTTP (build/feed), so that 4,096 payments
# are always unsettled; the feeder runs where the processor does, and its share is in the figures too.
# With one lane the side that is measured has a processor of its own; with two the kernel places all.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-4}
lean=${LEAN:-no}
cases=${CASES:-1/0 1/1 1/10 2/0 2/1 2/10}
declare -A in_flight_max=([0]=32 [1]=64 [10]=256)
timing=(--warm-ms 250 --seconds 1)
export PAYRING_API_SLOTS=1 PAYRING_RING_SLOTS=4096 PAYRING_PAYMENT_SLOTS=65536 PAYRING_LEDGER_ROWS=4194304 \
    PAYRING_HORIZON_S=0
answer='{"message":"payment processed successfully","failing":false,"minResponseTime":0}'

case_start() { # LANES DELAY
    local port
    side=() other=()
    [ "$1" != 1 ] || side=("${on_one[@]}") other=("${on_other[@]}")
    port=$(free_ports 1)
    url=http://127.0.0.1:$port
    start processor "${other[@]}" "$build/bare" --listen "127.0.0.1:$port" --status 200 --body "$answer" \
        --delay-us $(($2 * 1000))
    ready processor says processor ready
    export PAYRING_LANES=$1 PAYRING_WORKER_LANES=$1 PAYRING_IN_FLIGHT_MAX=${in_flight_max[$2]} \
        PAYRING_DEFAULT_URL=$url PAYRING_FALLBACK_URL=$url
    region_create
    worker_start worker0 "${side[@]}"
    lanes_ready "$1"
}

case_end() {
    drop worker0 processor
    rm -f "$dir"/worker*.log "$dir"/*.slices
    region_remove
}

# Each prints what it did in a slice.
bare_slice() { # LANES DELAY
    # shellcheck disable=SC2046
    "${side[@]}" "$build/bare-settle" --url "$url/payments" --lanes "$1" --concurrency "${in_flight_max[$2]}" "${timing[@]}" \
        $([ "$lean" = no ] || echo --lean)
}

gateway_slice() {
    "${other[@]}" "$build/feed" --worker "${pid_of[worker0]}" "${timing[@]}" && eventually 20 all_is_settled
}

slice() { # SIDE LANES DELAY
    local before began
    before=$(cpu_ns processor) began=$(now_ms)
    "$1_slice" "$2" "$3" >"$dir/said" || give_up "$1, $2 lanes, $3 ms: $(cat "$dir/said")"
    echo "$(cat "$dir/said") $(($(cpu_ns processor) - before)) $(($(now_ms) - began))" >>"$dir/$1.slices"
}

# figures_of SIDE: of all its slices, as JSON.
figures_of() {
    perl -MJSON::PP -ne '
        my ($said, $processor_ns, $ms) = /^(\{.*\}) (\d+) (\d+)$/ or die;
        my $of = decode_json($said);
        $settled += $of->{settled}; $seconds += $of->{seconds}; $busy_s += $of->{cpu_share} * $of->{seconds};
        $in_flight += $of->{in_flight} // $of->{concurrency} * $of->{lanes};
        $feeder += $of->{feeder_cpu_share} // 0;
        $processor += $processor_ns / 1e6 / $ms;
        END {
            printf q({"per_s":%.0f,"cpu_us_per_payment":%.3f,"cpu_share":%.3f,"in_flight":%.1f,"processor_cpu_share":%.3f,"feeder_cpu_share":%.3f}),
                $settled / $seconds, $busy_s * 1e6 / $settled, $busy_s / $seconds, $in_flight / $., $processor / $., $feeder / $.
        }' "$dir/$1.slices"
}

# Who begins changes from slice to slice, and from round to round.
play_case() { # LANES DELAY NUMBER
    local n turn
    case_start "$1" "$2"
    for ((n = 0; n < slices; n++)); do
        turn='gateway bare'
        [ $((($3 + n) % 2)) -eq 0 ] || turn='bare gateway'
        for who in $turn; do slice "$who" "$1" "$2"; done
    done
    printf '"lanes%s_ms%s":{"gateway":%s,"bare":%s}' "$1" "$2" "$(figures_of gateway)" "$(figures_of bare)"
    case_end
}

round() { # NUMBER
    local each comma='{'
    for each in $cases; do
        printf '%s' "$comma"
        play_case "${each%/*}" "${each#*/}" "$1"
        comma=,
    done
    printf '}\n'
}

play_rounds round
arguments=()
for each in $cases; do
    name=lanes${each%/*}_ms${each#*/}
    arguments+=(--ratio "cpu.$name=$name.gateway.cpu_us_per_payment/$name.bare.cpu_us_per_payment"
        --ratio "per_s.$name=$name.gateway.per_s/$name.bare.per_s"
        --bar "cpu.$name<=1.25" --bar "per_s.$name>=0.85")
done
say_figures settle-path "${arguments[@]}" --setting "slices=$slices" --setting "cases=$cases" --setting "lean=$lean"
