#!/bin/bash
# How long a client waits at fixed rates: p50, p99 and p99.9 of payments through the load balancer,
# open loop, beside bare servers behind the same balancer.
#
#   test/bench/latency.sh           (or make bench-latency; ROUNDS=5, SECONDS_EACH=4, CONNECTIONS=64,
#                                    RATES='1000 5000 10000')
#
# In each round each rate, in turn, the order of the sides reversed in every second round:
#   api    nginx, two payring-api, two workers, two stand-in processors that answer at once; everything
#          is settled while it is measured, on the same processors
#   bare   the same nginx, two bare-h2o: nothing is settled
#   pair   the same nginx, two bare-h2o, and beside them a gateway whose own API gets payments at the
#          same rate on its unix socket: its worker and the stand-ins do what they do on the API's side
#
# The bar is that of api to bare, which has both processors for itself: what settling takes from the
# latency is in it. api to pair says what the API alone adds. All latencies count from when a request
# was due, to when its answer was read, in us; the generator's own lateness is in lag_p99 (it sleeps
# until a request is due: a timer's wake-up is in every side's figures). Each side is asked for a
# second before it is measured.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

seconds=${SECONDS_EACH:-4} connections=${CONNECTIONS:-64} rates=${RATES:-1000 5000 10000}

# measure RATE PORT: prints the figures.
measure() {
    load warm --target "127.0.0.1:$2" --connections "$connections" --rate "$1" --seconds 1
    load run --target "127.0.0.1:$2" --connections "$connections" --rate "$1" --seconds "$seconds"
    # shellcheck disable=SC2046
    object $(json run "map { \"\$_->[0]=\$_->[1]\" } ['p50_us', \$_->{latency_us}{p50}], ['p99_us', \$_->{latency_us}{p99}],
        ['p999_us', \$_->{latency_us}{p999}], ['lag_p99_us', \$_->{generator_lag_us}{p99}],
        ['not_202', \$_->{scheduled} - (\$_->{statuses}{202} // 0)]")
}

bare_start() {
    local n
    for n in 0 1; do start "bare$n" "$build/bare-h2o" --unix "$dir/bare$n.sock"; done
    for n in 0 1; do ready "bare$n" says "bare$n" ready; done
    nginx_start nginx "$port" "$dir/bare0.sock" "$dir/bare1.sock"
}

play_side() { # SIDE RATE
    local port
    port=$(free_ports 1)
    case $1 in
    api)
        gateway_start 2 2
        nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
        measure "$2" "$port"
        eventually 20 counter_is unsettled 0 || give_up "not all was settled at $2/s"
        stop nginx
        gateway_drop
        ;;
    bare)
        bare_start
        measure "$2" "$port"
        stop nginx bare0 bare1
        ;;
    pair)
        gateway_start 1 2
        bare_start
        start beside "$build/load" --target "unix:$dir/api0.sock" --connections 16 --rate "$2" --seconds 60
        measure "$2" "$port"
        stop beside nginx bare0 bare1
        gateway_drop
        ;;
    esac
}

round() { # NUMBER
    local side rate order='api bare pair' rate_comma='' comma
    [ $(($1 % 2)) -eq 1 ] || order='pair bare api'
    printf '{'
    for rate in $rates; do
        printf '%s"at_%s":{' "$rate_comma" "$rate"
        rate_comma=, comma=
        for side in $order; do
            printf '%s"%s":' "$comma" "$side"
            comma=,
            play_side "$side" "$rate"
        done
        printf '}'
    done
    printf '}\n'
}

ratios=()
for rate in $rates; do
    for p in p50 p99 p999; do
        ratios+=(--ratio "${p}_at_$rate=at_$rate.api.${p}_us/at_$rate.bare.${p}_us"
            --ratio "${p}_to_pair_at_$rate=at_$rate.api.${p}_us/at_$rate.pair.${p}_us")
    done
    ratios+=(--bar "every at_$rate.api.not_202<=0")
done
case " $rates " in
*' 5000 '*) ratios+=(--bar 'p99_at_5000<=1.25') ;;
esac

play_rounds round
say_figures latency --setting "seconds_each=$seconds" --setting "connections=$connections" "${ratios[@]}"
