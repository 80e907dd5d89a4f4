#!/bin/bash
# The highest rate at which the whole gateway accepts every payment and settles it, beside the least
# that could do so; what it does with more than that; and who uses the processors.
#
#   test/bench/whole.sh             (or make bench-whole; ROUNDS=5, SECONDS_EACH=30, PROBE_S=3,
#                                    FIRST_RATE=8000, CONNECTIONS=64, BEYOND=2, BEYOND_S=8)
#
# In each round, in turn, the order reversed in every second one:
#   gateway  nginx, two payring-api, two workers, two stand-in processors that answer at once
#   pair     the same nginx, two bare-h2o that answer 202 and forget, and beside them the bare library
#            loop (bare-settle, two lanes), which posts the same bodies to the same stand-in at the same
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

# offer RATE SECONDS [PATIENCE]: through nginx; false if not all was accepted in time. Meanwhile the
# processors of $watched are counted: $shares are pairs for object, in parts of one processor.
offer() {
    local name begin_us us
    begin_us=$(date +%s%6N)
    for name in $watched; do cpu_before[$name]=$(cpu_ns "$name"); done
    load run --target "127.0.0.1:$port" --connections "$connections" --rate "$1" --seconds "$2" \
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

# SIDE_holds RATE SECONDS
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
    "$build/bare-settle" --url "$PAYRING_DEFAULT_URL/payments" --lanes 2 --concurrency 32 --rate "$1" \
        --seconds "$2" >"$dir/settle.json" 2>"$dir/settle.log" </dev/null &
    pid_of[settle]=$!
    offer "$@" || held=
    wait "${pid_of[settle]}" || give_up "bare-settle: $(cat "$dir/settle.log")"
    unset 'pid_of[settle]'
    [ "$(json settle '$_->{settled} == $_->{due} ? 1 : 0')" = 1 ] && [ -n "$held" ]
}

# --- the highest rate -----------------------------------------------------------------------

# tells SIDE RATE SECONDS: SIDE_holds, and says so to whoever watches.
tells() {
    local held=no
    ! "$1_holds" "$2" "$3" || held=yes
    echo "whole: $1, $2/s for $3 s: held: $held" >&2
    [ $held = yes ]
}

# highest SIDE: sets $rate; what held it for long was the last run.
highest() {
    local low=0 high=0 try=$first_rate
    until [ "$low" -gt 0 ] && [ "$high" -gt 0 ] && [ $((high * 100)) -le $((low * 106)) ]; do
        if tells "$1" "$try" "$probe_s"; then low=$try; else high=$try; fi
        if [ "$high" -eq 0 ]; then
            try=$((low * 3 / 2))
        elif [ "$low" -eq 0 ]; then
            try=$((high * 2 / 3))
        else
            try=$(((low + high) / 2))
        fi
        [ "$try" -ge 100 ] || give_up "$1 holds no rate at all"
    done
    rate=$low
    until tells "$1" "$rate" "$seconds"; do
        rate=$((rate * 92 / 100))
        [ "$rate" -ge 100 ] || give_up "$1 holds no rate for $seconds s"
    done
}

# --- the sides ------------------------------------------------------------------------------

declare -A cpu_before=()

play_gateway() {
    local rate accepted=0 watched='nginx api0 api1 worker0 worker1 default fallback'
    : >"$dir/all-posted"
    gateway_start 2 2
    nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
    highest gateway
    # shellcheck disable=SC2046
    held=$(object "per_s=$rate" "p99_us=$(json run '$_->{latency_us}{p99}')" $shares)
    gateway_holds $((rate * beyond)) "$beyond_s" 60 || :
    # shellcheck disable=SC2046
    more=$(object "offered_per_s=$((rate * beyond))" $(json run 'my $s = $_->{statuses};
        my $other = 0; $other += $s->{$_} for grep { $_ != 202 && $_ != 503 } keys %$s;
        ("accepted=" . ($s->{202} // 0), "refused_503=" . ($s->{503} // 0), "other_answers=$other",
            "per_s=$_->{achieved_per_s}", "p50_us=$_->{latency_us}{p50}",
            "unanswered=" . ($_->{unsent} + $_->{lost} + $_->{timeouts} + $_->{unanswered}))') $shares)
    books_agree
    stop nginx
    gateway_drop
    printf '"gateway":%s,"beyond":%s' "$held" "$more"
}

play_pair() {
    local rate watched='nginx bare0 bare1 default'
    processors_start
    bare_start 2
    nginx_start nginx "$port" "$dir/bare0.sock" "$dir/bare1.sock"
    highest pair
    # shellcheck disable=SC2046
    held=$(object "per_s=$rate" "p99_us=$(json run '$_->{latency_us}{p99}')" $shares \
        "settle_cpu=$(json settle '$_->{cpu_share}')")
    stop nginx bare0 bare1
    drop default fallback
    printf '"pair":%s' "$held"
}

round() { # NUMBER
    local port held more shares
    port=$(free_ports 1)
    printf '{'
    if [ $(($1 % 2)) -eq 1 ]; then
        play_gateway && printf ',' && play_pair
    else
        play_pair && printf ',' && play_gateway
    fi
    printf '}\n'
}

play_rounds round
say_figures whole --setting "seconds_each=$seconds" --setting "connections=$connections" \
    --setting "probe_s=$probe_s" --setting "beyond=$beyond" --setting "beyond_s=$beyond_s" \
    --ratio per_s_to_pair=gateway.per_s/pair.per_s --bar 'per_s_to_pair>=0.80' \
    --bar 'every beyond.other_answers<=0' --bar 'every beyond.unanswered<=0'
