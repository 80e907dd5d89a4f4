#!/bin/bash
# Why `make run` puts nginx and the APIs on one processor where there are two or three: the same cluster
# with them together on one, and wherever the kernel puts them.
#
#   ROUNDS=5 SLICES=6 SLICE_S=1 RATE=1000 test/bench/one-processor.sh
#
# nginx, two payring-api, two workers, two stand-in processors that answer at once; everything is settled
# while it is measured. The processes stay the same ones: between slices they are moved. In each round the
# two placings have SLICES slices of SLICE_S in turns at RATE a second (p50, p99 in us over all requests,
# counted from when they were due), and as many with as much as is answered at all (per_s).
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-6} slice_s=${SLICE_S:-1} rate=${RATE:-1000}
more_than_possible=600000
[ ${#on_one[@]} -gt 0 ] || give_up 'there is one processor only'
everywhere=$(taskset -cp $$ | sed 's/.*: //') together=${on_one[2]}
# What is accepted in a slice and not settled has to fit.
export PAYRING_RING_SLOTS=262144

place() { # PROCESSORS
    local pid
    for pid in $(pids_of nginx api0 api1); do
        taskset -apc "$1" "$pid" >/dev/null || give_up "process $pid cannot be moved"
    done
}

# slice PLACING RATE [OPTION...]
slice() {
    local placing=$1 at=$2
    shift 2
    place "${!placing}"
    load run --target "127.0.0.1:$port" --connections 64 --rate "$at" --seconds "$slice_s" --log "$dir/log" "$@"
    eventually 60 all_is_settled || give_up "not all was settled at $at/s"
    if [ "$at" = "$rate" ]; then
        cut -f 6 "$dir/log" >>"$dir/$placing.us"
    else
        json run '$_->{answered}' >>"$dir/$placing.answered"
    fi
}

figures_of() { # PLACING
    sort -n "$dir/$1.us" >"$dir/sorted"
    # shellcheck disable=SC2046
    object $(awk '{ v[NR] = $1 } END { printf "p50_us=%d p99_us=%d", v[int(NR * 0.5) + 1], v[int(NR * 0.99) + 1] }' "$dir/sorted") \
        $(awk -v s="$slice_s" '{ n += $1 } END { printf "per_s=%d", n / NR / s }' "$dir/$1.answered")
    rm "$dir/$1.us" "$dir/$1.answered"
}

round() { # NUMBER
    local port n placing turn
    port=$(free_ports 1)
    gateway_start 2 2
    nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
    for placing in together everywhere; do
        slice "$placing" "$rate"
        rm "$dir/$placing.us"
    done
    for ((n = 0; n < slices; n++)); do
        turn='together everywhere'
        [ $((($1 + n) % 2)) -eq 0 ] || turn='everywhere together'
        for placing in $turn; do
            slice "$placing" "$rate"
            slice "$placing" $more_than_possible --patience-s 0
        done
    done
    printf '{"together":%s,"everywhere":%s}\n' "$(figures_of together)" "$(figures_of everywhere)"
    stop nginx
    gateway_drop
}

play_rounds round
say_figures one-processor --setting "slices=$slices" --setting "slice_s=$slice_s" --setting "rate=$rate" \
    --ratio p50=together.p50_us/everywhere.p50_us --ratio p99=together.p99_us/everywhere.p99_us \
    --ratio per_s=together.per_s/everywhere.per_s
