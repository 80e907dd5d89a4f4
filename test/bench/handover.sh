#!/bin/bash
# The hand-over from an API to a lane's owner: records a second through the ring, beside
# ConcurrencyKit's ck_ring_spsc; how long a payment takes from being published to its owner's wake-up
# and to the first byte of its request at the processor, idle and under load; and what the whole
# cluster takes of a processor while it has nothing to do.
#
#   ROUNDS=5 IDLE_SECONDS=20 test/bench/handover.sh
#   PARTS="ring latency idle"   only these
#
# The heads of test/bench/ring/ring_main.c and test/bench/handover/handover_main.c tell how. The bar
# is held against the faster of the two ways to use ck_ring. The idle cluster is nginx, two APIs and
# two workers with a lane each, with their settings' presets; both processors are there and answer
# its health calls; their own CPU does not count.
#
# A wake-up is measured three times: `idle` with nothing pinned, as containers and units run, where the kernel may
# put whom an API wakes on the API's own processor, after some ms of rest; `brief` the same after some tenths; and
# `apart`, where it has another one, which is halted meanwhile, as in `make run` on two.
. "$(dirname "$0")/lib/stage.sh"

parts=${PARTS:-ring latency idle}
idle_seconds=${IDLE_SECONDS:-20}
presets=$(env | sed -n 's/^\(PAYRING_[A-Z_]*\)=.*/\1/p' | grep -vx PAYRING_REGION)
# shellcheck disable=SC2086
[ -z "$presets" ] || unset $presets

# Both on processors of their own: it pins itself.
ring() {
    local batch line=''
    for batch in 1 64; do
        line="$line,\"batch$batch\":$("$build/bench-ring" --batch $batch)" || return
    done
    echo "{${line#,}}" |
        perl -MJSON::PP -ne '$r = decode_json($_);
            for (values %$r) { delete $_->{batch}; $_->{ck} = (sort { $b <=> $a } $_->{ck_slot}, $_->{ck_entry})[0] }
            print encode_json($r)'
}

# one_latency NAME 'PREFIX OF THE WORKER' PREFIX AND OPTIONS OF build/bench-handover...: its line of JSON is in
# $dir/NAME.
one_latency() {
    local name=$1 worker=$2 port status
    shift 2
    port=$(free_ports 1)
    export PAYRING_API_SLOTS=1 PAYRING_LANES=1 PAYRING_LEDGER_ROWS=1048576
    region_create
    start handover "$@" --listen "$port"
    ready handover says handover ready
    export PAYRING_DEFAULT_URL=http://127.0.0.1:$port PAYRING_FALLBACK_URL=http://127.0.0.1:$port
    # shellcheck disable=SC2086
    worker_start worker0 $worker
    wait "${pid_of[handover]}"
    status=$?
    unset "pid_of[handover]"
    [ $status -eq 0 ] || give_up "bench-handover: $(tail -n 3 "$dir/handover.log")"
    drop worker0
    region_remove
    unset PAYRING_API_SLOTS PAYRING_LANES PAYRING_LEDGER_ROWS PAYRING_DEFAULT_URL PAYRING_FALLBACK_URL
    grep '^{' "$dir/handover.log" >"$dir/$name"
}

latency() {
    one_latency idle "env WAKE_STAMP=$dir/stamp LD_PRELOAD=$build/wake-stamp.so" \
        "$build/bench-handover" --stamp "$dir/stamp" --idle 1000 --brief 3000 || return
    one_latency apart "${on_other[*]}" "${on_one[@]}" "$build/bench-handover" --apart 1000 --rate 1000 --rate 5000 || return
    sed 's/}$/,/' "$dir/idle" | tr -d '\n'
    sed 's/^{//' "$dir/apart"
}

both_were_asked() {
    [ "$(counter health.default.report_age)" -ge 0 ] && [ "$(counter health.fallback.report_age)" -ge 0 ]
}

idle() {
    local port name before began ns ms everybody='nginx api0 api1 worker0 worker1' line=''
    port=$(free_ports 1)
    rm -f "$dir"/worker*.log
    region_create
    processors_start
    for name in worker0 worker1; do worker_start $name; done
    for name in api0 api1; do api_start $name; done
    for name in api0 api1; do api_ready $name; done
    lanes_ready 2
    nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
    # The last that starting leaves to be done.
    eventually 20 both_were_asked || give_up 'the processors were not asked for their health'
    for name in $everybody all; do
        # shellcheck disable=SC2086
        [ $name = all ] && eval "before_$name=\$(cpu_ns $everybody)" || eval "before_$name=\$(cpu_ns $name)"
    done
    began=$(now_ms)
    sleep "$idle_seconds"
    ms=$(($(now_ms) - began))
    for name in $everybody all; do
        before=before_$name
        # shellcheck disable=SC2086
        [ $name = all ] && ns=$(cpu_ns $everybody) || ns=$(cpu_ns $name)
        line="$line,\"$name\":$(echo "$((ns - ${!before})) $ms" | awk '{ printf "%.4f", $1 / $2 / 1e4 }')"
    done
    stop nginx
    drop api0 api1 worker0 worker1 default fallback
    region_remove
    echo "{${line#,}}"
}

round() {
    # shellcheck disable=SC2086
    play_parts $parts
}

play_rounds round
arguments=()
for part in $parts; do
    case $part in
    ring)
        for batch in 1 64; do
            arguments+=(--ratio "ring.batch$batch.to_ck=ring.batch$batch.payring/ring.batch$batch.ck")
        done
        arguments+=(--bar 'ring.batch64.to_ck>=1.2')
        ;;
    latency)
        arguments+=(--ratio latency.wake_to_floor=latency.idle.wake_us.p50/latency.idle.floor_us.p50
            --ratio latency.wake_to_floor_brief=latency.brief.wake_us.p50/latency.brief.floor_us.p50
            --ratio latency.wake_to_floor_apart=latency.apart.wake_us.p50/latency.apart.floor_us.p50
            --bar 'latency.idle.wake_us.p50<=10')
        ;;
    idle) arguments+=(--bar 'idle.all<=0.5') ;;
    esac
done
say_figures handover "${arguments[@]}" --setting "idle_seconds=$idle_seconds" --setting 'idle_is=percent of a processor'
