#!/bin/sh
description='Killed at every named point of common/crash_points.def, an API, a worker or payringctl
leaves nothing that its successor does not put right: the books agree by id, amount and requestedAt.'
# See test/lib/crash.sh; RATE payments a second (600). What there is of a journal and of an operator
# dies in t03.
. test/lib/crash.sh

visits_per_books=12 # deaths between two comparisons
# visit ACTOR OCCASION POINT:N: the actor lives, dies there and stays dead.
visit() {
    local actor="$1" occasion="$2" point="$3" deadline
    is_dead "$actor" || kill_process "$actor" KILL
    case $occasion in
    AFTER_ROW) visit "$actor" LOAD row_written:1 || return ;;
    AFTER_COUNT) visit "$actor" LOAD row_published:1 || return ;;
    FAILING) processor default fails ;;
    esac
    arm "$actor" "$point"
    deadline=$(($(now_ms) + 20000))
    until is_dead "$actor" || [ "$(now_ms)" -gt "$deadline" ]; do
        case $occasion in
        REFUSING) processor default misbehaves refuse-400 count=1 ;;
        PURGE | PURGING) purge "$actor" ;;
        esac
        sleep 0.03
    done
    case $occasion in
    FAILING) processor default recovers ;;
    REFUSING) processor default misbehaves refuse-400 count=0 ;;
    esac
    died_there "$actor" "$point"
}

# --- the three kinds of runs --------------------------------------------------------------------

# Each line of standard input is a visit of the worker and one of an API, side by side.
visit_all() {
    local run occasion point api_occasion api_point
    while read -r run occasion point api_occasion api_point; do
        if [ "$api_point" != - ]; then
            # Somebody has to sleep, and to be woken; the API then stays dead while the worker dies.
            ! is_dead worker0 || disarm worker0
            visit api0 "$api_occasion" "$api_point" || return
        fi
        [ "$point" = - ] || visit worker0 "$occasion" "$point" || return
        is_dead api0 && disarm api0
        is_dead worker0 && [ "$run" = purge ] && disarm worker0
    done
    is_dead worker0 && disarm worker0
    return 0
}

nothing_is_left() {
    ls "/dev/shm/$PAYRING_REGION"* 2>/dev/null && return 1
    return 0
}

# Old payments that stand in the default's book already, by whatever life of the gateway.
adopted_ids() {
    local n=0
    while [ "$n" -lt 24 ]; do
        n=$((n + 1))
        id=$(new_id)
        insert_elsewhere default "$id" 5.00 "2020-01-01T00:00:0$((n % 10)).000Z" &&
            post_payment "api$((n % 2))" "$id" 5.00 || return
    done
}

# A region from its creation to its removal: payringctl may die of both, a worker in between.
life() { # occasion point create-point remove-point
    local name
    if [ "$3" != - ]; then
        ctl_dies "$3" create && none_or_whole || return
    fi
    "$build/payringctl" create --if-missing || return
    # What is left of a creator that had named it is another name of the region.
    [ ! -e "/dev/shm/$PAYRING_REGION.new" ] ||
        [ "/dev/shm/$PAYRING_REGION.new" -ef "/dev/shm/$PAYRING_REGION" ] || return
    processor default purge && processor fallback purge && rm -f "$play_dir"/posted*
    : >"$play_dir/posted"
    started_us=$(now_us)
    # Four segments of 65 blocks: the end of the third is near.
    [ "$1" != BLOCK ] || "$build/prefill" 0 $((4096 * 195 - 20)) || return
    export PAYRING_LOOKUP_YOUNG_S=0
    [ "$1" != ADOPTED ] || PAYRING_LOOKUP_YOUNG_S=3600
    for name in api0 api1; do restart_process "$name"; done
    if [ "$2" != - ]; then arm worker0 "$2"; else restart_process worker0; fi
    [ "$1" != ADOPTED ] || adopted_ids || return
    load_start --count 400 --rate 800 --seed $((seed * 1000000 + slices)) --duplicates 10 --retry
    slices=$((slices + 1))
    if [ "$2" != - ]; then
        eventually 20 is_dead worker0
        died_there worker0 "$2" && disarm worker0 || return
    fi
    load_wait && everything_agrees || return
    for name in api0 api1 worker0; do kill_process "$name" TERM; done
    if [ "$4" != - ]; then
        ctl_dies "$4" remove || return
        [ ! -e "/dev/shm/$PAYRING_REGION" ] || "$build/payringctl" remove || return
    else
        "$build/payringctl" remove || return
    fi
    nothing_is_left
}

# --- the play ---------------------------------------------------------------------------------

rate=${RATE:-600}
processor_options='--health-window 50'
plan memory
cluster_start --apis 2 --workers 1 PAYRING_RING_SLOTS=256 PAYRING_PAYMENT_SLOTS=64 \
    PAYRING_LEDGER_ROWS=1064960 PAYRING_HORIZON_PAYMENTS=512 PAYRING_HORIZON_S=0 \
    PAYRING_WORKER_LANES=2
misbehave
for run in load purge; do
    rm -f "$play_dir"/batch.*
    grep "^$run " "$play_dir/plan" | split -l "$visits_per_books" -a 4 - "$play_dir/batch."
    for file in "$play_dir"/batch.*; do
        name="$run: $(awk '{ print $3; print $5 }' "$file" | grep : | tr "\n" " ")"
        ok "$name" batch "$file" "$run"
        [ "$tests_failed" -eq 0 ] || give_up "seed $seed"
    done
done

for name in api0 api1 worker0; do kill_process "$name" KILL; done
"$build/payringctl" remove --force-lose-payments >/dev/null
processor default behaves
processor fallback behaves
grep '^life ' "$play_dir/plan" >"$play_dir/lives"
while read -r run occasion point create_point remove_point; do
    # What is left of one life is in the way of the next.
    [ "$tests_failed" -eq 0 ] || give_up "seed $seed"
    ok "life: $create_point $point $remove_point" life "$occasion" "$point" "$create_point" "$remove_point"
done <"$play_dir/lives"

# The table is what counts: whoever adds a line and no CRASH_POINT, or the other way round, fails here.
test/crash/plan-visits memory --points | while read -r occasion point; do
    count=$(grep -cx "$point" "$play_dir/visited")
    [ "$count" -ge "$visits" ] || echo "$point: $count visits"
done >"$play_dir/unvisited"
is 'no point was left out' "$(cat "$play_dir/unvisited")" ''
done_testing
