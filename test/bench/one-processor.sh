#!/bin/bash
# Why `make run` puts nginx and the APIs on one processor where there are two or three, first in line, and
# all others elsewhere: the same cluster placed so, with that in part, and wherever the kernel puts it.
#
#   ROUNDS=5 SLICES=6 SLICE_S=6 test/bench/one-processor.sh
#
# nginx, two payring-api, two workers, two stand-in processors that answer at once; everything is settled
# while it is measured. The processes stay the same ones: between slices they are moved.
#   everywhere  the kernel decides
#   together    nginx and the APIs on one processor
#   apart       and the workers and stand-ins on the others
#   first       and nginx and the APIs with a nice of -10 (as root only: else as apart)
# In each round each placing has SLICES slices in turns: the public test's users, who become 550 in
# SLICE_S seconds (p50, p99 in us, the median of the slices), then for 1 s as much as is answered at all
# (per_s).
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-6} slice_s=${SLICE_S:-6}
more_than_possible=600000 most_s=1
[ ${#on_one[@]} -gt 0 ] || give_up 'there is one processor only'
all=$(taskset -cp $$ | sed 's/.*: //') one=${on_one[2]} other=${on_other[2]}
# What is accepted in a slice and not settled has to fit.
export PAYRING_RING_SLOTS=262144
front='nginx api0 api1' back='worker0 worker1 default fallback'
placings='everywhere together apart first'

put() { # PROCESSORS NICE NAME...
    local processors=$1 nice=$2 pid thread
    shift 2
    for pid in $(pids_of "$@"); do
        taskset -apc "$processors" "$pid" >/dev/null || give_up "process $pid cannot be moved"
        for thread in "/proc/$pid/task"/*; do
            renice -n "$nice" -p "${thread##*/}" >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ] ||
                give_up "thread ${thread##*/} keeps its nice"
        done
    done
}

# shellcheck disable=SC2086
place() {
    case $1 in
    everywhere) put "$all" 0 $front && put "$all" 0 $back ;;
    together) put "$one" 0 $front && put "$all" 0 $back ;;
    apart) put "$one" 0 $front && put "$other" 0 $back ;;
    first) put "$one" -10 $front && put "$other" 0 $back ;;
    esac
}

users() { # PLACING: the public test's
    "$build/rinha" --gateway "http://127.0.0.1:$port" --load-only --seconds "$slice_s" >"$dir/run.json" 2>"$dir/run.log" ||
        give_up "rinha: $(cat "$dir/run.log")"
    json run '$_->{posts_us}{p50}' '$_->{posts_us}{p99}' >>"$dir/$1.us"
}

slice() { # PLACING
    place "$1"
    users "$1"
    load run --target "127.0.0.1:$port" --connections 64 --rate $more_than_possible --seconds $most_s --patience-s 0
    json run '$_->{answered}' >>"$dir/$1.answered"
    eventually 60 all_is_settled || give_up "not all was settled, placed $1"
}

median_of() { # COLUMN FILE
    sort -n -k "$1,$1" "$2" | awk -v column="$1" '{ v[NR] = $column } END { print v[int((NR + 1) / 2)] }'
}

figures_of() { # PLACING
    object p50_us="$(median_of 1 "$dir/$1.us")" p99_us="$(median_of 2 "$dir/$1.us")" \
        per_s="$(median_of 1 "$dir/$1.answered")"
    rm "$dir/$1.us" "$dir/$1.answered"
}

round() { # NUMBER
    local port n placing turn line=''
    port=$(free_ports 1)
    gateway_start 2 2
    nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
    for ((n = 0; n < slices; n++)); do
        turn=$placings
        [ $((($1 + n) % 2)) -eq 0 ] || turn=$(tac -s ' ' <<<"$turn " | xargs)
        for placing in $turn; do slice "$placing"; done
    done
    for placing in $placings; do line="$line,\"$placing\":$(figures_of "$placing")"; done
    echo "{${line#,}}"
    stop nginx
    gateway_drop
}

play_rounds round
arguments=()
for placing in together apart first; do
    for figure in p50_us p99_us per_s; do
        arguments+=(--ratio "${figure%_us}.$placing=$placing.$figure/everywhere.$figure")
    done
done
say_figures one-processor --setting "slices=$slices" --setting "slice_s=$slice_s" "${arguments[@]}"
