#!/bin/sh
description='Killed at every named point of common/crash_points.def, an API, a worker or payringctl
leaves nothing that its successor does not put right: the books agree by id, amount and requestedAt.'
# VISITS deaths at each point (3), planned from SEED (at random; it is printed), under RATE payments a
# second (600). The programs are those of build/crash, the same source with the points in it.
PAYRING_BUILD=build/crash
. test/lib/cluster.sh

visits=${VISITS:-3}
seed=${SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
visits_per_books=12 # deaths between two comparisons
echo "# seed $seed, $visits visits to each point"

# --- dying ------------------------------------------------------------------------------------

# arm ACTOR POINT:N: dead now, it is started to die there.
arm() {
    configure "$1" "PAYRING_CRASH_POINT=$2" "PAYRING_CRASH_POINT_LOG=$play_dir/reached.$2"
    rm -f "$play_dir/reached.$2"
    start_process "$1"
}

# disarm ACTOR: dead now, it is started to live.
disarm() {
    configure "$1"
    restart_process "$1"
}

is_dead() {
    local line
    { read -r line <"/proc/$(cat "$play_dir/$1.pid")/stat"; } 2>/dev/null || return 0
    case ${line##*) } in [ZX]*) ;; *) false ;; esac
}

# died_there ACTOR POINT:N: it is dead, of that point and of nothing else.
died_there() {
    local code
    is_dead "$1" || {
        echo "$1 did not reach $2"
        return 1
    }
    wait "$(cat "$play_dir/$1.pid")" 2>/dev/null
    code=$?
    [ "$code" = 137 ] && [ -s "$play_dir/reached.$2" ] || {
        echo "$1 ended with $code and not at $2: $(tail -n 3 "$play_dir/$1.log")"
        return 1
    }
    echo "${2%:*}" >>"$play_dir/visited"
}

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

# purge VICTIM: through that API, or through the other one if a worker is to die of it.
purge() {
    local api=api0
    case $1 in worker*) api=api1 ;; esac
    call "$api" /purge-payments -X POST --max-time 2
    [ "$status" = 200 ]
}

# --- load -------------------------------------------------------------------------------------

# Slices of a second, each with ids of its own: what is sent twice is sent twice within one, and so
# within the horizon.
load_begin() {
    local n=0
    slices=$((slices + 1000))
    rm -f "$play_dir/enough"
    set -- --target "unix:$play_dir/api0.sock" --target "unix:$play_dir/api1.sock"
    while [ ! -e "$play_dir/enough" ]; do
        n=$((n + 1))
        "$build/poster" "$@" --seconds 1 --rate "$rate" --seed $((seed * 1000000 + slices + n)) \
            --duplicates 12 --retry --timeout-ms 3000 --amounts 19.90,0.01,300000.00,1234567.89,5 \
            >>"$play_dir/posted.load" 2>>"$play_dir/poster.log"
    done &
    echo $! >"$play_dir/loader.pid"
}

load_end() {
    : >"$play_dir/enough"
    wait "$(cat "$play_dir/loader.pid")"
    rm "$play_dir/loader.pid"
}

misbehave() {
    local name
    for name in default fallback; do
        for kind in reset-before reset-after error-after; do
            processor "$name" misbehaves "$kind" percent=1 "seed=$seed"
        done
        processor "$name" misbehaves refuse-429 percent=2 "seed=$seed"
        processor "$name" misbehaves late percent=1 ms=60 "seed=$seed"
        processor "$name" misbehaves reset-then-insert percent=1 ms=150 "seed=$seed"
    done
}

# What is still on its way must not be inserted into a book that was emptied.
processors_are_idle() {
    ! processor_is_busy default && ! processor_is_busy fallback
}

everything_agrees() { # [compare-books options...]
    books_agree_within 20 "$@" && "$build/payringctl" check && few_windows_agree
}

few_windows_agree() {
    audit_start --seconds 0.4 --lag-ms 1
    audit_wait
}

# Empty books on both sides, so that comparing them stays cheap.
clean_slate() {
    eventually 10 processors_are_idle && eventually 10 purge worker0 || return
    processor default purge
    processor fallback purge
    rm -f "$play_dir"/posted*
    : >"$play_dir/posted"
    started_us=$(now_us)
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

# The posts of a run in which everything was purged several times: what was sent up to the last one
# need not stand in a book.
forget_purged_posts() {
    awk -F '\t' -v OFS='\t' -v us="$1" '{ if ($5 <= us) $3 = "lost"; print }' \
        "$play_dir/posted.load" >"$play_dir/kept" && mv "$play_dir/kept" "$play_dir/posted.load"
}

batch() { # file of visits, run
    local purged_us=''
    clean_slate || return
    accepted=$(counter api.accepted)
    load_begin
    # Tables full of records, for those who visit them.
    eventually 10 load_has_posted $((accepted + 200)) || return
    visit_all <"$1" || return
    if [ "$2" = purge ]; then
        eventually 10 purge worker0 || return
        purged_us=$(now_us)
        # Something that has to be there afterwards.
        accepted=$(counter api.accepted)
        eventually 10 load_has_posted $((accepted + 300)) || return
    fi
    load_end
    [ -z "$purged_us" ] || forget_purged_posts "$purged_us"
    [ -z "$purged_us" ] || started_us=$purged_us
    everything_agrees ${purged_us:+--purged-until "$purged_us"}
}

# ctl_dies VERB POINT:N: payringctl is killed there.
ctl_dies() {
    rm -f "$play_dir/reached.$2"
    PAYRING_CRASH_POINT="$2" PAYRING_CRASH_POINT_LOG="$play_dir/reached.$2" \
        "$build/payringctl" "$1" >>"$play_dir/payringctl.log" 2>&1 &
    echo $! >"$play_dir/payringctl.pid"
    eventually 5 is_dead payringctl
    died_there payringctl "$2"
    code=$?
    rm "$play_dir/payringctl.pid"
    return $code
}

nothing_is_left() {
    ls "/dev/shm/$PAYRING_REGION"* 2>/dev/null && return 1
    return 0
}

# There is no region, or a whole one: nobody ever sees half of one.
none_or_whole() {
    [ ! -e "/dev/shm/$PAYRING_REGION" ] || "$build/payringctl" check
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
        ctl_dies create "$3" && none_or_whole || return
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
        ctl_dies remove "$4" || return
        [ ! -e "/dev/shm/$PAYRING_REGION" ] || "$build/payringctl" remove || return
    else
        "$build/payringctl" remove || return
    fi
    nothing_is_left
}

# --- the play ---------------------------------------------------------------------------------

rate=${RATE:-600} slices=0
processor_options='--health-window 50'
ok 'every point has an occasion that is known here' \
    eval 'test/crash/plan-visits "$seed" "$visits" >"$play_dir/plan"'
not_known() {
    (cd "$play_dir" && mkdir -p common && echo 'CRASH_POINT_ROW(x, API, NEVER, "")' >common/crash_points.def &&
        not "$root/test/crash/plan-visits" 1 1)
}
root=$PWD
ok 'one that nobody brings about is found' not_known
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
for point in $(sed -n 's/^CRASH_POINT_ROW(\([a-z_]*\),.*/\1/p' common/crash_points.def); do
    count=$(grep -cx "$point" "$play_dir/visited")
    [ "$count" -ge "$visits" ] || echo "$point: $count visits"
done >"$play_dir/unvisited"
is 'no point was left out' "$(cat "$play_dir/unvisited")" ''
done_testing
