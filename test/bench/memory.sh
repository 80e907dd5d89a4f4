#!/bin/bash
# What memory the whole cluster takes: nginx, two APIs and the workers, idle, after a million and
# after ten million settled payments, and under the public test; and what a settled payment adds.
#
#   ROUNDS=1 ROWS_FIRST=1000000 ROWS_MOST=10000000 TEST_SECONDS=60 test/bench/memory.sh
#   PARTS="rows challenge"   only these
#
# Resident memory is the sum of the processes' PSS: what several share counts once. The kernel has
# given the region all its memory when it was made, so what nobody has touched yet takes room too:
# `whole_mb` is the sum with the whole region in place of what was touched of it. Of one machine and
# build this is the same every time, so one round is played.
#
# rows: the presets, but a ledger of 12 million rows. The payments come through the rings
# (build/feed) and are settled one by one with a processor that answers at once (build/bare); in the
# end an API has to count them all. `row_bytes` is what the touched region has grown between the first
# and the last, for each payment between them: the row and its part of the time index, since tables,
# rings and filter have been touched by then. `row_bytes_of_size` is what a region for more rows is
# larger by, for each of them.
#
# challenge: the settings of compose/docker-compose.yml; the highest of a look a second.
: "${ROUNDS:=1}"
. "$(dirname "$0")/lib/stage.sh"

parts=${PARTS:-rows challenge}
first=${ROWS_FIRST:-1000000} most=${ROWS_MOST:-10000000} test_seconds=${TEST_SECONDS:-60}
answer='{"message":"payment processed successfully","failing":false,"minResponseTime":0}'
presets=$(env | sed -n 's/^\(PAYRING_[A-Z_]*\)=.*/\1/p' | grep -vx PAYRING_REGION)
# shellcheck disable=SC2086
[ -z "$presets" ] || unset $presets

region_bytes() {
    echo $(($(stat -c '%b * %B' "/dev/shm/$PAYRING_REGION")))
}

# memory NAME...: of these and their children, and of the region.
memory() {
    local pid files=''
    for pid in $(pids_of "$@"); do files="$files /proc/$pid/smaps_rollup"; done
    # shellcheck disable=SC2086
    cat $files | awk -v region="$(region_bytes)" '
        { kb[$1] += $2 }
        END {
            printf "{\"pss_mb\":%.2f,\"private_mb\":%.2f,\"region_touched_mb\":%.2f,\"whole_mb\":%.2f}",
                kb["Pss:"] / 1e3 * 1.024, (kb["Pss:"] - kb["Pss_Shmem:"]) / 1e3 * 1.024,
                kb["Pss_Shmem:"] / 1e3 * 1.024, (kb["Pss:"] - kb["Pss_Shmem:"]) / 1e3 * 1.024 + region / 1e6
        }'
}

field() { # NAME JSON
    echo "$2" | sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"
}

cluster_start() { # WORKER...
    local name
    port=$(free_ports 1)
    everybody="nginx api0 api1 $*"
    rm -f "$dir"/worker*.log
    region_create
    for name; do worker_start "$name"; done
    for name in api0 api1; do api_start $name; done
    for name in api0 api1; do api_ready $name; done
    lanes_ready 2
    nginx_start nginx "$port" "$dir/api0.sock" "$dir/api1.sock"
}

cluster_end() {
    stop nginx
    # shellcheck disable=SC2086
    drop ${everybody#nginx}
    region_remove
}

# A counted payment is a settled one.
counts() { # N
    curl -s --max-time 5 --unix-socket "$dir/api0.sock" http://payring/payments-summary |
        grep -q "\"default\":{\"totalRequests\":$1,"
}

settle() { # UP-TO SETTLED
    "$build/feed" --count $(($1 - $2)) >"$dir/feed" || give_up "feed: $(cat "$dir/feed")"
    counts "$1" || give_up "not $1 payments are counted"
}

bytes_of_size() { # what 4,194,304 rows more in each of two lanes add
    local small large
    PAYRING_LEDGER_ROWS=2097152 region_create
    small=$(region_bytes)
    region_remove
    PAYRING_LEDGER_ROWS=6291456 region_create
    large=$(region_bytes)
    region_remove
    echo "$large $small" | awk '{ printf "%.4f", ($1 - $2) / 2 / 4194304 }'
}

rows() {
    local processor idle one all of_size
    of_size=$(bytes_of_size)
    processor=$(free_ports 1)
    start processor "$build/bare" --listen "127.0.0.1:$processor" --status 200 --body "$answer"
    ready processor says processor ready
    export PAYRING_DEFAULT_URL=http://127.0.0.1:$processor PAYRING_FALLBACK_URL=http://127.0.0.1:$processor
    export PAYRING_API_SLOTS=3 PAYRING_LEDGER_ROWS=6291456 PAYRING_HORIZON_S=0
    cluster_start worker0 worker1
    # shellcheck disable=SC2086
    idle=$(memory $everybody)
    settle "$first" 0
    # shellcheck disable=SC2086
    one=$(memory $everybody)
    settle "$most" "$first"
    # shellcheck disable=SC2086
    all=$(memory $everybody)
    cluster_end
    stop processor
    unset PAYRING_API_SLOTS PAYRING_LEDGER_ROWS PAYRING_HORIZON_S
    echo "{\"idle\":$idle,\"after_first\":$one,\"after_most\":$all,\"row_bytes_of_size\":$of_size,\"row_bytes\":$(
        echo "$(field region_touched_mb "$all") $(field region_touched_mb "$one") $((most - first))" |
            awk '{ printf "%.3f", ($1 - $2) * 1e6 / $3 }')}"
}

challenge() {
    local highest='' now score
    export PAYRING_RING_SLOTS=16384 PAYRING_PAYMENT_SLOTS=65536 PAYRING_LEDGER_ROWS=1048576 \
        PAYRING_HORIZON_PAYMENTS=262144 PAYRING_WORKER_LANES=2 PAYRING_POLICY=default-only PAYRING_PURGE=on
    processors_start
    cluster_start worker0
    start rinha "$build/rinha" --gateway "http://127.0.0.1:$port" --default "$PAYRING_DEFAULT_URL" \
        --fallback "$PAYRING_FALLBACK_URL" --seconds "$test_seconds"
    while is_running rinha; do
        # shellcheck disable=SC2086
        now=$(memory $everybody)
        if [ -z "$highest" ] || [ "$(field pss_mb "$now" | tr -d .)" -gt "$(field pss_mb "$highest" | tr -d .)" ]; then
            highest=$now
        fi
        sleep 1
    done
    wait "${pid_of[rinha]}" || give_up "rinha: $(tail -n 3 "$dir/rinha.log")"
    unset "pid_of[rinha]"
    score=$(counter lane.taken)
    [ "${score:-0}" -gt 0 ] || give_up 'the public test posted nothing'
    cluster_end
    stop default fallback
    unset PAYRING_RING_SLOTS PAYRING_PAYMENT_SLOTS PAYRING_LEDGER_ROWS PAYRING_HORIZON_PAYMENTS \
        PAYRING_WORKER_LANES PAYRING_POLICY PAYRING_PURGE
    echo "{\"payments\":$score,\"highest\":$highest}"
}

round() {
    # shellcheck disable=SC2086
    play_parts $parts
}

play_rounds round
bars=()
for part in $parts; do
    case $part in
    rows) bars+=(--bar 'rows.row_bytes<=8.5' --bar 'rows.row_bytes_of_size<=8.5') ;;
    challenge) bars+=(--bar 'challenge.highest.pss_mb<=60') ;;
    esac
done
say_figures memory "${bars[@]}" --setting "rows_first=$first" --setting "rows_most=$most"
