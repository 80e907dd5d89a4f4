#!/bin/bash
# The highest rate at which the whole gateway accepts every payment and settles it, beside the least
# that could do so; what it does with more than that; and who uses the processors.
#
#   test/bench/whole.sh             (or make bench-whole; ROUNDS=5, SECONDS_EACH=30, PROBE_S=3,
#                                    FIRST_RATE=8000, CONNECTIONS=64, BEYOND=2, BEYOND_S=8)
#
# In each round both are up, and tried by turns, one run of each, so that what the machine's neighbours do
# meets both; the order is reversed in every second round:
#   gateway  nginx, two payring-api, two workers, two stand-in processors that answer at once
#   pair     the same nginx, two bare-h2o that answer 202 and forget, and beside them the bare library
#            loop (bare-settle, two lanes), which posts the same bodies to a stand-in of its own at the same
#            rate. Nothing goes from the one to the other, nothing is remembered.
#
# A rate is held if every payment is answered 202, the last one within a quarter of a second after the
# end, and all are settled a second after that: no backlog grows, neither before the gateway nor in it.
# Looked for by trying rates for PROBE_S, larger ones until one is not held, then between; the highest
# that is held for SECONDS_EACH is the figure, in steps of 8 % downwards if it is not the first.
# Then the gateway is offered BEYOND times as much for BEYOND_S, with queues that are small here (4,096
# places in a ring, 16,384 records in a table): every payment is answered in the end, 202 or 503.
#
# After every run the processors' books hold as many payments as were accepted; after the last one books,
# records and rows are compared id by id over all of them (test/lib/compare-books). *_cpu are parts of
# one processor while the rate is held. Generator and stand-ins share the machine: rates are
# this machine's, the ratio is the figure.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

seconds=${SECONDS_EACH:-30} probe_s=${PROBE_S:-3} connections=${CONNECTIONS:-64}
beyond=${BEYOND:-2} beyond_s=${BEYOND_S:-8}
first_rate=${FIRST_RATE:-8000}
export PAYRING_RING_SLOTS=4096 PAYRING_PAYMENT_SLOTS=16384

# --- one run --------------------------------------------------------------------------------

# offer RATE SECONDS [PATIENCE]: to $side, through nginx; false if not all was accepted in time. Meanwhile
# the processors of $watched_of it are counted: $shares are pairs for object, in parts of one processor.
offer() {
    local name begin_us us watched=${watched_of[$side]}
    begin_us=$(date +%s%6N)
    for name in $watched; do cpu_before[$name]=$(cpu_ns "$name"); done
    load run --target "127.0.0.1:${port_of[$side]}" --connections "$connections" --rate "$1" --seconds "$2" \
        --patience-s "${3:-0.25}" --log "$dir/posted"
    us=$(($(date +%s%6N) - begin_us)) shares=
    for name in $watched; do
        shares+=" ${name}_cpu=$(awk -v ns=$(($(cpu_ns "$name") - cpu_before[$name])) -v us="$us" \
            'BEGIN { printf "%.3f", ns / 1e3 / us }')"
    done
    shares+=" generator_cpu=$(json run '$_->{cpu_share}')"
    [ "$(json run '$_->{scheduled} == ($_->{statuses}{202} // 0) ? 1 : 0')" = 1 ]
}

books_hold() { # what both stand-ins have inserted
    local url sum=0
    for url in "$PAYRING_DEFAULT_URL" "$PAYRING_FALLBACK_URL"; do
        sum=$((sum + $(curl -sf -H 'X-Rinha-Token: 123' "$url/admin/stats" | sed 's/.*"payments":\([0-9]*\).*/\1/')))
    done
    echo "$sum"
}

# Whatever was accepted, held or not, and nothing else, is in the books in the end.
nothing_is_lost() {
    eventually 60 all_is_settled || give_up 'not everything accepted was settled within a minute'
    accepted=$((accepted + $(json run '$_->{statuses}{202} // 0')))
    [ "$(json run '$_->{lost} + $_->{timeouts} + $_->{unanswered}')" != 0 ] ||
        [ "$(books_hold)" = "$accepted" ] || give_up "the books hold $(books_hold) payments, accepted were $accepted"
    accepted=$(books_hold) # what was broken off may be in them
}

books_agree() {
    local name url
    for name in default fallback; do
        url=PAYRING_${name^^}_URL
        curl -sf -H 'X-Rinha-Token: 123' "${!url}/admin/payments" >"$dir/book.$name" || return
    done
    "$build/payringctl" list >"$dir/list" && "$build/payringctl" rows >"$dir/rows" &&
        test/lib/compare-books --default "$dir/book.default" --fallback "$dir/book.fallback" \
            --list "$dir/list" --rows "$dir/rows" --posted "$dir/all-posted" >"$dir/differences" ||
        give_up "the books differ: $(head -n 3 "$dir/differences")"
}

# SIDE_holds RATE SECONDS, of $side.
gateway_holds() {
    local held=yes
    offer "$@" || held=
    [ -z "$held" ] || eventually 1 all_is_settled || held=
    nothing_is_lost
    cat "$dir/posted" >>"$dir/all-posted"
    [ -n "$held" ]
}

pair_holds() {
    local held=yes
    "$build/bare-settle" --url "$bare_url/payments" --lanes 2 --concurrency 32 --rate "$1" \
        --seconds "$2" >"$dir/settle.json" 2>"$dir/settle.log" </dev/null &
    pid_of[settle]=$!
    offer "$@" || held=
    wait "${pid_of[settle]}" || give_up "bare-settle: $(cat "$dir/settle.log")"
    unset 'pid_of[settle]'
    [ "$(json settle '$_->{settled} == $_->{due} ? 1 : 0')" = 1 ] && [ -n "$held" ]
}

# --- the highest rate -----------------------------------------------------------------------

# tells RATE SECONDS: ${side}_holds, and says so to whoever watches.
tells() {
    local held=no
    ! "${side}_holds" "$1" "$2" || held=yes
    echo "whole: $side, $1/s for $2 s: held: $held" >&2
    [ $held = yes ]
}

# What is known of each side: the highest rate that was held for PROBE_S and the lowest that was not (0: none yet),
# the next to be tried, whether that is for SECONDS_EACH (found), and the figures of what was held so long, JSON.
declare -A low high try found figures cpu_before=()

# probed HELD: the next rate, from whether the last one was held.
probed() {
    if [ "$1" = yes ]; then low[$side]=${try[$side]}; else high[$side]=${try[$side]}; fi
    if [ "${high[$side]}" -eq 0 ]; then
        try[$side]=$((low[$side] * 3 / 2))
    elif [ "${low[$side]}" -eq 0 ]; then
        try[$side]=$((high[$side] * 2 / 3))
    elif [ $((high[$side] * 100)) -gt $((low[$side] * 106)) ]; then
        try[$side]=$(((low[$side] + high[$side]) / 2))
    else
        try[$side]=${low[$side]} found[$side]=yes
    fi
}

# One run of $side.
try_once() {
    local held=no for_s=$probe_s
    [ -z "${found[$side]}" ] || for_s=$seconds
    ! tells "${try[$side]}" "$for_s" || held=yes
    if [ -z "${found[$side]}" ]; then
        probed $held
    elif [ $held = yes ]; then
        # shellcheck disable=SC2046
        figures[$side]=$(object "per_s=${try[$side]}" "p99_us=$(json run '$_->{latency_us}{p99}')" $shares \
            $([ "$side" = gateway ] || json settle '"settle_cpu=$_->{cpu_share}"'))
    else
        try[$side]=$((try[$side] * 92 / 100))
    fi
    [ "${try[$side]}" -ge 100 ] || give_up "$side holds no rate at all"
}

# Both, by turns, until each has held a rate for long.
find_highest() {
    local side
    for side; do
        low[$side]=0 high[$side]=0 try[$side]=$first_rate found[$side]= figures[$side]=
    done
    while [ -z "${figures[gateway]}" ] || [ -z "${figures[pair]}" ]; do
        for side; do
            [ -n "${figures[$side]}" ] || try_once
        done
    done
}

# --- the sides ------------------------------------------------------------------------------

declare -A watched_of=(
    [gateway]='nginx_gateway api0 api1 worker0 worker1 default fallback'
    [pair]='nginx_pair bare0 bare1 bare_processor'
)

both_start() {
    local name bare_port
    : >"$dir/all-posted"
    gateway_start 2 2
    bare_port=$(free_ports 1)
    bare_url=http://127.0.0.1:$bare_port
    start bare_processor "$build/processor" --name default --fee 0.05 --listen "127.0.0.1:$bare_port"
    ready bare_processor says bare_processor ready
    bare_start 2
    for name in gateway pair; do port_of[$name]=$(free_ports 1); done
    nginx_start nginx_gateway "${port_of[gateway]}" "$dir/api0.sock" "$dir/api1.sock"
    nginx_start nginx_pair "${port_of[pair]}" "$dir/bare0.sock" "$dir/bare1.sock"
}

# What is answered if more comes than can be settled, as JSON.
go_beyond() {
    local side=gateway rate
    rate=$((try[gateway] * beyond))
    gateway_holds $rate "$beyond_s" 60 || :
    # shellcheck disable=SC2046
    object "offered_per_s=$rate" $(json run 'my $s = $_->{statuses};
        my $other = 0; $other += $s->{$_} for grep { $_ != 202 && $_ != 503 } keys %$s;
        ("accepted=" . ($s->{202} // 0), "refused_503=" . ($s->{503} // 0), "other_answers=$other",
            "per_s=$_->{achieved_per_s}", "p50_us=$_->{latency_us}{p50}",
            "unanswered=" . ($_->{unsent} + $_->{lost} + $_->{timeouts} + $_->{unanswered}))') $shares
}

round() { # NUMBER
    local accepted=0 more shares
    both_start
    if [ $(($1 % 2)) -eq 1 ]; then
        find_highest gateway pair
    else
        find_highest pair gateway
    fi
    more=$(go_beyond) || return
    books_agree
    stop nginx_gateway nginx_pair bare0 bare1
    drop bare_processor
    gateway_drop
    printf '{"gateway":%s,"beyond":%s,"pair":%s}\n' "${figures[gateway]}" "$more" "${figures[pair]}"
}

play_rounds round
say_figures whole --setting "seconds_each=$seconds" --setting "connections=$connections" \
    --setting "probe_s=$probe_s" --setting "beyond=$beyond" --setting "beyond_s=$beyond_s" \
    --ratio per_s_to_pair=gateway.per_s/pair.per_s --bar 'per_s_to_pair>=0.80' \
    --bar 'every beyond.other_answers<=0' --bar 'every beyond.unanswered<=0'
