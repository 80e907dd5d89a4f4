#!/bin/bash
# What grows with what: twice the load must cost twice the CPU at most, and twice the rows nothing but
# their own memory.
#
#   ROUNDS=5 SLICES=4 SLICE_S=1 RATE=2000 ROWS=400000 test/bench/growth.sh
#
# One cluster: nginx, two payring-api, two workers, two stand-in processors that answer at once; and
# beside it another nginx before two bare-h2o, which know nothing of rows.
#
#   load   CPU of nginx, APIs and workers for a second of RATE payments, of twice and of four times as
#          many, in turns. cpu_of_double and cpu_of_double_again are what each doubling multiplies it by.
#   rows   CPU of a payment at RATE, with ROWS payments settled and with twice as many, each time in
#          turns with the bare servers: to_bare is the gateway's divided by theirs, so that what the
#          machine does differently between the two does not count. cpu_of_double_rows is the second
#          to_bare over the first, private_of_double_rows the same of the processes' private memory.
#
# The stand-ins are not in it. The payments of the rows come through the rings (build/feed), in the slot
# of an API that is away meanwhile.
# shellcheck source=lib/stage.sh
. "$(dirname "$0")/lib/stage.sh"

slices=${SLICES:-4} slice_s=${SLICE_S:-1} rate=${RATE:-2000} rows=${ROWS:-400000}
cluster='nginx_api api0 api1 worker0 worker1' bare='nginx_bare bare0 bare1'
export PAYRING_LEDGER_ROWS=2097152 PAYRING_HORIZON_S=0

stage() {
    gateway_start 2 2
    bare_start 2
    balancers_start api bare
}

# slice KEY SIDE RATE NAME...: behind $dir/KEY.slices, the CPU in ns that NAMES took, of how many payments.
slice() {
    local key=$1 side=$2 at=$3 before
    shift 3
    before=$(cpu_ns "$@")
    load run --target "127.0.0.1:${port_of[$side]}" --connections 64 --rate "$at" --seconds "$slice_s"
    [ "$side" = bare ] || eventually 20 all_is_settled || give_up "not all was settled at $at/s"
    [ "$(json run '$_->{scheduled} == ($_->{statuses}{202} // 0) ? 1 : 0')" = 1 ] || give_up "not all was accepted at $at/s"
    echo "$(($(cpu_ns "$@") - before)) $(json run '$_->{scheduled}')" >>"$dir/$key.slices"
}

# us KEY: of a second of it; with a second argument, of a payment.
us() {
    awk -v seconds="$(echo "$slices $slice_s" | awk '{ print $1 * $2 }')" -v each="${2:-}" \
        '{ ns += $1; n += $2 } END { printf "%.3f", ns / 1e3 / (each != "" ? n : seconds) }' "$dir/$1.slices"
}

in_turns() { # COMMAND...: of a text each
    local n turn command
    for ((n = 0; n < slices; n++)); do
        for ((turn = 0; turn < $#; turn++)); do
            command=$(((turn + n) % $# + 1))
            # shellcheck disable=SC2086
            slice ${!command}
        done
    done
}

private_mb() {
    local pid
    # shellcheck disable=SC2086
    for pid in $(pids_of $cluster); do cat "/proc/$pid/smaps_rollup"; done | awk '/^(Pss_Anon|Pss_File):/ { kb += $2 } END { printf "%.2f", kb * 1.024 / 1e3 }'
}

fill() { # UP-TO
    local settled
    settled=$(($(counter lane.settled_default) + $(counter lane.settled_fallback)))
    stop api1
    "$build/feed" --count $(($1 - settled)) >"$dir/feed" || give_up "feed: $(cat "$dir/feed")"
    api_start api1
    api_ready api1
}

# with_rows KEY ROWS: as JSON in $result (a subshell would lose the ids of what it starts).
with_rows() {
    fill "$2"
    in_turns "$1.api api $rate $cluster" "$1.bare bare $rate $bare"
    result=$(object "cpu_us=$(us "$1.api" payment)" "bare_cpu_us=$(us "$1.bare" payment)" \
        "to_bare=$(echo "$(us "$1.api") $(us "$1.bare")" | awk '{ printf "%.4f", $1 / $2 }')" "private_mb=$(private_mb)")
}

round() {
    local load once twice
    stage
    in_turns "r1 api $rate $cluster" "r2 api $((2 * rate)) $cluster" "r4 api $((4 * rate)) $cluster"
    load=$(object "once_us=$(us r1)" "double_us=$(us r2)" "four_times_us=$(us r4)")
    with_rows once "$rows" && once=$result
    with_rows twice $((2 * rows)) && twice=$result
    rm "$dir"/*.slices
    stop nginx_api nginx_bare bare0 bare1
    gateway_drop
    echo "{\"load\":$load,\"rows\":{\"once\":$once,\"double\":$twice}}"
}

play_rounds round
say_figures growth --setting "slices=$slices" --setting "slice_s=$slice_s" --setting "rate=$rate" --setting "rows=$rows" \
    --ratio cpu_of_double=load.double_us/load.once_us --ratio cpu_of_double_again=load.four_times_us/load.double_us \
    --ratio cpu_of_double_rows=rows.double.to_bare/rows.once.to_bare \
    --ratio private_of_double_rows=rows.double.private_mb/rows.once.private_mb \
    --bar 'cpu_of_double<=2' --bar 'cpu_of_double_again<=2' --bar 'cpu_of_double_rows<=1.1' --bar 'private_of_double_rows<=1.05'
