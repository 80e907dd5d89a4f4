#!/bin/bash
# What accepting a payment costs, beside the least that an HTTP server can cost: CPU a request and
# requests a second of payring-api at saturation, against bare servers that read the same requests
# and answer the same number of bytes, 202, and do nothing else.
#
#   test/bench/accept-path.sh       (or make bench-accept; ROUNDS=5, SECONDS_EACH=2, CONNECTIONS=64)
#
# In each round, in turn, the order reversed in every second one:
#   api         one payring-api on its unix socket
#   bare_h2o    one bare server on the same library (test/bench/bare-h2o)
#   bare_epoll  one on epoll alone (test/bench/bare)
#   awake_api, awake_h2o  the first two again, asked by a generator that never sleeps: see below
#   nginx_api   two payring-api behind the nginx that the gateway is delivered with
#   nginx_bare  two bare-h2o behind the same
#
# What makes it a comparison: all are built by the same rules of the Makefile; the generator posts
# payments of new ids over the same number of connections, always as many at once as there are; each
# side is started fresh and asked for half a second before it is measured. One process is held
# against one, two against two.
#
# What competes for the processors. Without nginx the server has a processor of its own, and the
# generator has the other; through nginx everything shares both. Behind them, in the kernel's idle
# class (SCHED_IDLE: what is left over), a worker and two stand-in processors that answer at once
# settle payments: on the API's sides those that it accepts, on the bare sides those of a backlog that a
# bystanding API took in before. So both sides have the same neighbours, and wait for them equally
# little. It also means that a saturated API accepts here more than is settled, and its rings (sized for
# that) hold the rest; what accepting and settling at once can do is measured by whole.sh.
#
# Writing an answer also wakes the generator if it sleeps, a tenth of what a request costs or more; and it
# sleeps the more, the slower the server is. So the ratio of api to bare_h2o is more than that of what
# they do themselves. Nobody has to wake a generator that never sleeps; but it leaves nothing to the
# neighbours, and the words that API and worker share stay in the API's cache. The bars are on the
# ratio with everything in it.
#
# CPU is what the scheduler counted for the servers' (and nginx's) processes, user and system; the
# worker's and the stand-ins' is not in it. It is the main figure. Requests a second are bounded by the
# server or by what drives it: busy is the part of a processor that each had, generator_busy the
# generator's.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

seconds=${SECONDS_EACH:-2} connections=${CONNECTIONS:-64}
more_than_possible=600000
sides='api bare_h2o bare_epoll awake_api awake_h2o nginx_api nginx_bare'
on_server=() on_other=() idle=(chrt -i 0)
if [ "$(nproc)" -gt 1 ]; then
    on_server=(taskset -c 0) on_other=(taskset -c 1)
fi
# What is accepted in a turn and not settled has to fit.
export PAYRING_RING_SLOTS=262144

# bystanders_start [PREFIX...]: a gateway that has got what keeps it settling for longer than a turn.
bystanders_start() {
    gateway_start 1 1 "$@"
    load backlog --target "unix:$dir/api0.sock" --rate $more_than_possible --seconds "$seconds" --patience-s 0
}

bystanders_drop() {
    [ "$(counter unsettled)" -gt 0 ] || give_up 'the bystanders had settled everything too early'
    gateway_drop
}

bare_start() { # N
    local n
    for ((n = 0; n < $1; n++)); do
        start "bare$n" "${server_prefix[@]}" "$build/bare-h2o" --unix "$dir/bare$n.sock"
    done
    for ((n = 0; n < $1; n++)); do ready "bare$n" says "bare$n" ready; done
}

# measure SIDE SERVERS NGINX TARGET...: prints the side's figures.
measure() {
    local servers=$2 nginx=$3 before after nginx_before nginx_after targets
    shift 3
    targets=("${@/#/--target=}")
    load warm "${targets[@]}" --connections "$connections" --rate $more_than_possible --seconds 0.5 --patience-s 0 "${awake[@]}"
    # shellcheck disable=SC2086
    before=$(cpu_ns $servers) nginx_before=$(cpu_ns $nginx)
    load run "${targets[@]}" --connections "$connections" --rate $more_than_possible \
        --seconds "$seconds" --patience-s 0 "${awake[@]}"
    # shellcheck disable=SC2086
    after=$(cpu_ns $servers) nginx_after=$(cpu_ns $nginx)
    # shellcheck disable=SC2046
    object $(json run "'server_cpu_us='.sprintf('%.4f', ($after - $before) / 1e3 / \$_->{answered})" \
        "'$nginx' eq '' ? () : 'nginx_cpu_us='.sprintf('%.4f', ($nginx_after - $nginx_before) / 1e3 / \$_->{answered})" \
        "'cpu_us='.sprintf('%.4f', ($after - $before + $nginx_after - $nginx_before) / 1e3 / \$_->{answered})" \
        "'busy='.sprintf('%.3f', ($after - $before) / 1e9 / $seconds)" \
        "'generator_busy='.\$_->{cpu_share}" \
        "'per_s='.\$_->{achieved_per_s}" \
        "'not_202='.(\$_->{answered} - (\$_->{statuses}{202} // 0) + \$_->{lost} + \$_->{timeouts})")
}

play_side() { # SIDE
    local server_prefix=() behind=("${idle[@]}") awake=() port
    LOAD_ON=
    case $1 in
    nginx_*) port=$(free_ports 1) ;;
    *)
        LOAD_ON=${on_other[*]}
        server_prefix=("${on_server[@]}") behind=("${on_other[@]}" "${idle[@]}")
        ;;
    esac
    [[ $1 != awake_* ]] || awake=(--awake)
    case $1 in
    api | awake_api)
        gateway_start 1 1 "${behind[@]}"
        measure "$1" api0 '' "unix:$dir/api0.sock"
        gateway_drop
        ;;
    bare_h2o | awake_h2o)
        bystanders_start "${behind[@]}"
        bare_start 1
        measure "$1" bare0 '' "unix:$dir/bare0.sock"
        stop bare0
        bystanders_drop
        ;;
    bare_epoll)
        bystanders_start "${behind[@]}"
        start bare0 "${server_prefix[@]}" "$build/bare" --unix "$dir/bare0.sock" --answer-bytes "$answer_bytes"
        ready bare0 says bare0 ready
        measure "$1" bare0 '' "unix:$dir/bare0.sock"
        stop bare0
        bystanders_drop
        ;;
    nginx_api)
        gateway_start 2 1 "${behind[@]}"
        nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
        measure "$1" 'api0 api1' nginx "127.0.0.1:$port"
        stop nginx
        gateway_drop
        ;;
    nginx_bare)
        bystanders_start "${behind[@]}"
        bare_start 2
        nginx_start nginx "$port" "$dir/bare0.sock" "$dir/bare1.sock"
        measure "$1" 'bare0 bare1' nginx "127.0.0.1:$port"
        stop nginx bare0 bare1
        bystanders_drop
        ;;
    esac
}

# The bytes of an answer to a payment, head and all, must be the same everywhere.
answer_size() { # SOCKET
    curl -si --unix-socket "$1" http://payring/payments \
        -d "{\"correlationId\":\"$(cat /proc/sys/kernel/random/uuid)\",\"amount\":19.90}" | wc -c
}

look_at_answers() {
    local server_prefix=()
    gateway_start 1 1
    answer_bytes=$(answer_size "$dir/api0.sock")
    gateway_drop
    bare_start 1
    [ "$(answer_size "$dir/bare0.sock")" = "$answer_bytes" ] || give_up 'answers of bare-h2o and of the API differ in length'
    stop bare0
}

round() { # NUMBER
    local side order comma=
    order=$sides
    [ $(($1 % 2)) -eq 1 ] || order=$(tac -s ' ' <<<"$sides" | xargs)
    printf '{'
    for side in $order; do
        printf '%s"%s":' "$comma" "$side"
        play_side "$side"
        comma=,
    done
    printf '}\n'
}

look_at_answers
play_rounds round
say_figures accept-path --setting "seconds_each=$seconds" --setting "connections=$connections" \
    --setting "answer_bytes=$answer_bytes" \
    --ratio cpu_to_h2o=api.cpu_us/bare_h2o.cpu_us --ratio per_s_to_h2o=api.per_s/bare_h2o.per_s \
    --ratio cpu_to_epoll=api.cpu_us/bare_epoll.cpu_us --ratio per_s_to_epoll=api.per_s/bare_epoll.per_s \
    --ratio awake_cpu_to_h2o=awake_api.cpu_us/awake_h2o.cpu_us --ratio awake_per_s_to_h2o=awake_api.per_s/awake_h2o.per_s \
    --ratio nginx_cpu=nginx_api.cpu_us/nginx_bare.cpu_us --ratio nginx_per_s=nginx_api.per_s/nginx_bare.per_s \
    --bar 'cpu_to_h2o<=1.15' --bar 'per_s_to_h2o>=0.90' \
    --bar 'every api.not_202<=0' --bar 'every nginx_api.not_202<=0'
