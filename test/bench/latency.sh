#!/bin/bash
# How long a client waits at fixed rates: p50, p99 and p99.9 of payments through the load balancer,
# open loop, beside bare servers behind the same balancer.
#
#   test/bench/latency.sh           (or make bench-latency; ROUNDS=5, SLICES=4, SLICE_S=1,
#                                    CONNECTIONS=64, RATES='1000 5000 10000', PLACED=no)
#
#   api    nginx, two payring-api, two workers, two stand-in processors that answer at once; everything
#          is settled while it is measured, on the same processors
#   bare   another nginx of the same kind, two bare-h2o: nothing is settled
#   pair   the same as bare, and beside it a second generator posts payments at the same rate to an API
#          on its unix socket: workers and stand-ins do what they do on the API's side. That generator's
#          and that API's own CPU come on top of it.
#
# Everybody runs where the kernel puts them, as units and containers do. PLACED=yes: as in `make run`
# (compose/local/placing.sh), the bare servers and their nginx like the APIs and theirs.
#
# All stand on one stage, and at each rate they have SLICES slices of SLICE_S in turns, after one that
# is not counted; everything is settled before the next one begins. The percentiles are over all
# requests of a round's slices.
#
# The bar is that of api to bare, which has both processors for itself: what settling takes from the
# latency is in it. All latencies count from when a request was due, to when its answer was read, in
# us. lag_p99_us is the generator's own lateness, the worst slice's (it sleeps until a request is due: a
# timer's wake-up is in every side's figures). steal is the part of the processors that the machine's
# host took: where it is not near 0, these are no figures.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-4} slice_s=${SLICE_S:-1} connections=${CONNECTIONS:-64} rates=${RATES:-1000 5000 10000}
placed=${PLACED:-no}
front=() back=()
case $placed in
yes) . compose/local/placing.sh ;; # sets front, back
no) ;;
*) give_up "PLACED=$placed: yes or no" ;;
esac
server_prefix=("${front[@]}")

stage() {
    gateway_start 2 2 "${back[@]}"
    bare_start 2
    balancers_start api bare
    port_of[pair]=${port_of[bare]}
}

# slice SIDE RATE: its requests and what is said of them, behind those before it.
slice() {
    [ "$1" != pair ] || start beside "$build/load" --target "unix:$dir/api0.sock" --connections 16 --rate "$2" --seconds 60
    load run --target "127.0.0.1:${port_of[$1]}" --connections "$connections" --rate "$2" --seconds "$slice_s" \
        --log "$dir/log"
    [ "$1" != pair ] || stop beside
    eventually 20 all_is_settled || give_up "not all was settled at $2/s"
    cat "$dir/log" >>"$dir/$1.log.all"
    json run '$_->{generator_lag_us}{p99}' '$_->{scheduled} - ($_->{statuses}{202} // 0)' >>"$dir/$1.said"
}

# figures_of SIDE: as JSON.
figures_of() {
    cut -f 6 "$dir/$1.log.all" | sort -n >"$dir/sorted"
    # shellcheck disable=SC2046
    object $(awk '{ v[NR] = $1 } END { printf "p50_us=%d p99_us=%d p999_us=%d", v[int(NR * 0.5) + 1],
            v[int(NR * 0.99) + 1], v[int(NR * 0.999) + 1] }' "$dir/sorted") \
        $(awk '$1 > lag { lag = $1 } { bad += $2 } END { printf "lag_p99_us=%d not_202=%d", lag, bad }' "$dir/$1.said")
}

# All jiffies of the processors so far, and those that the host took.
jiffies() {
    awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all, $9 }' /proc/stat
}

at_rate() { # RATE NUMBER
    local side n turn comma=
    for side in api bare pair; do
        slice "$side" "$1"
        rm "$dir/$side.log.all" "$dir/$side.said"
    done
    for ((n = 0; n < slices; n++)); do
        turn='api bare pair'
        [ $((n % 2)) -eq 0 ] || turn='pair bare api'
        for side in $turn; do slice "$side" "$1"; done
    done
    for side in api bare pair; do
        printf '%s"%s":' "$comma" "$side"
        figures_of "$side"
        rm "$dir/$side.log.all" "$dir/$side.said"
        comma=,
    done
}

round() {
    local rate before
    before=$(jiffies)
    stage
    printf '{'
    for rate in $rates; do
        printf '"at_%s":{' "$rate"
        at_rate "$rate"
        printf '},'
    done
    stop nginx_api nginx_bare bare0 bare1
    gateway_drop
    printf '"steal":%s}\n' "$(echo "$before $(jiffies)" | awk '{ printf "%.4f", ($4 - $2) / ($3 - $1) }')"
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
say_figures latency --setting "slices=$slices" --setting "slice_s=$slice_s" --setting "connections=$connections" \
    --setting "placed=$placed" "${ratios[@]}"
