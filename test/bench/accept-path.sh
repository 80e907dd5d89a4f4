#!/bin/bash
# What accepting a payment costs, beside the least that an HTTP server can cost: CPU a request and
# requests a second of payring-api at saturation, against bare servers that read the same requests
# and answer the same number of bytes, 202, and do nothing else.
#
#   test/bench/accept-path.sh       (or make bench-accept; ROUNDS=5, SLICES=20, SLICE_S=0.4,
#                                    CONNECTIONS=64)
#
# On one stage together, each on a unix socket of its own:
#   api         one payring-api
#   bare_h2o    one bare server on the same library (test/bench/bare-h2o)
#   bare_epoll  one on epoll alone (test/bench/bare)
#   awake_api, awake_h2o  the first two again, asked by a generator that never sleeps: see below
# and on another:
#   nginx_api   two payring-api behind the nginx that the gateway is delivered with
#   nginx_bare  two bare-h2o behind the same
#
# What makes it a comparison: all are built by the same rules of the Makefile; the generator posts
# payments of new ids over the same number of connections, always as many at once as there are. A
# round has SLICES slices of SLICE_S for each side, in turns, after one that is not counted: what the
# machine's neighbours do for a second meets all sides. Who is not asked waits in epoll and costs
# nothing.
#
# What competes for the processors. On the first stage the servers have a processor of their own, one at a
# time, and the generator has the other; on the second everything shares both. Behind them, in the
# kernel's idle class (SCHED_IDLE: what is left over), the worker and two stand-in processors that answer
# at once settle what the API has accepted, during the slices of all sides alike. So a saturated API
# accepts here more than is settled, and its rings hold the rest; no slice begins before all of them hold no
# more than half of what one can. What accepting and settling at once can do is measured by whole.sh.
#
# Writing an answer also wakes the generator if it sleeps, a tenth of what a request costs or more; and it
# sleeps the more, the slower the server is. So the ratio of api to bare_h2o is more than that of what
# they do themselves. Nobody has to wake a generator that never sleeps; but it leaves nothing to the
# worker, and the words that API and worker share stay in the API's cache. The bars are on the ratio with
# everything in it.
#
# CPU is what the scheduler counted for the servers' (and nginx's) processes, user and system; the
# worker's and the stand-ins' is not in it. It is the main figure. Requests a second are bounded by the
# server or by what drives it: busy is the part of a processor that each had, generator_busy the
# generator's.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-20} slice_s=${SLICE_S:-0.4} connections=${CONNECTIONS:-64}
more_than_possible=600000
idle=(chrt -i 0)
# What a slice accepts has to fit into one ring of which half is free, and what a stage accepts into the ledger.
export PAYRING_RING_SLOTS=524288 PAYRING_LEDGER_ROWS=8388608

# Of each side: which servers it consists of, the nginx before them, what is asked, the generator's
# options.
declare -A servers=([api]=api0 [bare_h2o]=bare0 [bare_epoll]=epoll [awake_api]=api0 [awake_h2o]=bare0
    [nginx_api]='api0 api1' [nginx_bare]='bare0 bare1')
declare -A nginx=([nginx_api]=nginx_api [nginx_bare]=nginx_bare)
declare -A target=([api]="unix:$dir/api0.sock" [bare_h2o]="unix:$dir/bare0.sock" [bare_epoll]="unix:$dir/epoll.sock"
    [awake_api]="unix:$dir/api0.sock" [awake_h2o]="unix:$dir/bare0.sock")
declare -A options=([awake_api]=--awake [awake_h2o]=--awake)

# --- who is there ---------------------------------------------------------------------------

# The bytes of an answer to a payment, head and all, must be the same everywhere.
answer_size() { # SOCKET
    curl -si --unix-socket "$1" http://payring/payments \
        -d "{\"correlationId\":\"$(cat /proc/sys/kernel/random/uuid)\",\"amount\":19.90}" | wc -c
}

unix_stage() {
    server_prefix=("${on_one[@]}") LOAD_ON=${on_other[*]}
    gateway_start 1 1 "${on_other[@]}" "${idle[@]}"
    bare_start 1
    answer_bytes=$(answer_size "$dir/api0.sock")
    start epoll "${server_prefix[@]}" "$build/bare" --unix "$dir/epoll.sock" --answer-bytes "$answer_bytes"
    ready epoll says epoll ready
    [ "$(answer_size "$dir/bare0.sock") $(answer_size "$dir/epoll.sock")" = "$answer_bytes $answer_bytes" ] ||
        give_up 'answers differ in length'
}

nginx_stage() {
    server_prefix=() LOAD_ON=
    gateway_start 2 1 "${idle[@]}"
    bare_start 2
    balancers_start api bare
    target[nginx_api]=127.0.0.1:${port_of[api]} target[nginx_bare]=127.0.0.1:${port_of[bare]}
}

# --- measuring ------------------------------------------------------------------------------

# Of all rings together, so of each as well.
rings_have_room() {
    "$build/payringctl" show --plain |
        awk -v most=$((PAYRING_RING_SLOTS / 2)) '/^ring\.depth / { n += $2 } END { exit n > most }'
}

# slice SIDE: a line more in $dir/SIDE.slices: requests, ns of servers, of nginx, of the generator, not 202
slice() {
    local before after nginx_before nginx_after
    eventually 60 rings_have_room || give_up 'the rings stay full'
    # shellcheck disable=SC2086
    before=$(cpu_ns ${servers[$1]}) nginx_before=$(cpu_ns ${nginx[$1]:-})
    # shellcheck disable=SC2086
    load run --target "${target[$1]}" --connections "$connections" --rate $more_than_possible \
        --seconds "$slice_s" --patience-s 0 ${options[$1]:-}
    # shellcheck disable=SC2086
    after=$(cpu_ns ${servers[$1]}) nginx_after=$(cpu_ns ${nginx[$1]:-})
    json run '$_->{answered}' $((after - before)) $((nginx_after - nginx_before)) '$_->{cpu_share} * $_->{seconds} * 1e9' \
        '$_->{answered} - ($_->{statuses}{202} // 0) + $_->{lost} + $_->{timeouts}' >>"$dir/$1.slices"
}

# take_turns SIDE...: prints what was measured, as members of the round.
take_turns() {
    local side n turn
    for side; do
        slice "$side"
        rm "$dir/$side.slices"
    done
    for ((n = 0; n < slices; n++)); do
        turn=$*
        [ $((n % 2)) -eq 0 ] || turn=$(tac -s ' ' <<<"$turn " | xargs)
        for side in $turn; do slice "$side"; done
    done
    for side; do
        awk -v side="$side" -v slices="$slices" -v slice_s="$slice_s" -v nginx="${nginx[$side]:-}" '
            BEGIN { s = slices * slice_s }
            { n += $1; servers += $2; nginx_ns += $3; generator += $4; bad += $5 }
            END {
                printf "\"%s\":{\"cpu_us\":%.4f,", side, (servers + nginx_ns) / 1e3 / n
                if (nginx != "") printf "\"server_cpu_us\":%.4f,\"nginx_cpu_us\":%.4f,", servers / 1e3 / n, nginx_ns / 1e3 / n
                printf "\"busy\":%.3f,\"generator_busy\":%.3f,\"per_s\":%.0f,\"not_202\":%d}", servers / 1e9 / s, generator / 1e9 / s, n / s, bad
            }' "$dir/$side.slices"
        [ "$side" = "${!#}" ] || printf ','
        rm "$dir/$side.slices"
    done
}

round() {
    printf '{'
    unix_stage
    take_turns api bare_h2o bare_epoll
    printf ','
    take_turns awake_api awake_h2o
    stop bare0 epoll
    gateway_drop
    printf ','
    nginx_stage
    take_turns nginx_api nginx_bare
    stop nginx_api nginx_bare bare0 bare1
    gateway_drop
    printf '}\n'
}

play_rounds round
say_figures accept-path --setting "slices=$slices" --setting "slice_s=$slice_s" --setting "connections=$connections" \
    --ratio cpu_to_h2o=api.cpu_us/bare_h2o.cpu_us --ratio per_s_to_h2o=api.per_s/bare_h2o.per_s \
    --ratio cpu_to_epoll=api.cpu_us/bare_epoll.cpu_us --ratio per_s_to_epoll=api.per_s/bare_epoll.per_s \
    --ratio awake_cpu_to_h2o=awake_api.cpu_us/awake_h2o.cpu_us --ratio awake_per_s_to_h2o=awake_api.per_s/awake_h2o.per_s \
    --ratio nginx_cpu=nginx_api.cpu_us/nginx_bare.cpu_us --ratio nginx_per_s=nginx_api.per_s/nginx_bare.per_s \
    --bar 'cpu_to_h2o<=1.15' --bar 'per_s_to_h2o>=0.90' \
    --bar 'every api.not_202<=0' --bar 'every awake_api.not_202<=0' --bar 'every nginx_api.not_202<=0'
