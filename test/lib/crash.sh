# Dying at named points, for the plays in test/crash: who dies where, the load meanwhile, and the
# comparison afterwards. A play may put $settings_of_all, which everybody is started with that was
# armed once. Sourced before anything else, it sources the stage (test/lib/cluster.sh).
#
# VISITS deaths at each point (3), planned from SEED (at random; it is printed). The programs are
# those of build/crash, the same source with the points in it. A play says rate, and visit_all, which
# reads a plan (test/crash/plan-visits).
PAYRING_BUILD=build/crash
. test/lib/cluster.sh

visits=${VISITS:-3}
seed=${SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
slices=0
echo "# seed $seed, $visits visits to each point"

# plan STAGE: which of its points is visited when, in $play_dir/plan.
plan() {
    stage=$1
    ok 'every point has an occasion that is known here' \
        eval 'test/crash/plan-visits "$stage" "$seed" "$visits" >"$play_dir/plan"'
    ok 'one that nobody brings about is found' not_known "$1"
}

not_known() {
    local root=$PWD
    (cd "$play_dir" && mkdir -p common && echo 'CRASH_POINT_ROW(x, API, NEVER, "")' >common/crash_points.def &&
        not "$root/test/crash/plan-visits" "$1" 1 1)
}

# --- dying ------------------------------------------------------------------------------------

# arm ACTOR POINT:N: dead now, it is started to die there.
arm() {
    # shellcheck disable=SC2086  # one word for each
    configure "$1" ${settings_of_all:-} "PAYRING_CRASH_POINT=$2" \
        "PAYRING_CRASH_POINT_LOG=$play_dir/reached.$2"
    rm -f "$play_dir/reached.$2"
    start_process "$1"
}

# disarm ACTOR: dead now, it is started to live.
disarm() {
    # shellcheck disable=SC2086
    configure "$1" ${settings_of_all:-}
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

# ctl_dies POINT:N VERB...: payringctl is killed there.
ctl_dies() {
    local point="$1" code
    shift
    rm -f "$play_dir/reached.$point"
    PAYRING_CRASH_POINT="$point" PAYRING_CRASH_POINT_LOG="$play_dir/reached.$point" \
        "$build/payringctl" "$@" >>"$play_dir/payringctl.log" 2>&1 &
    echo $! >"$play_dir/payringctl.pid"
    eventually 5 is_dead payringctl
    died_there payringctl "$point"
    code=$?
    rm "$play_dir/payringctl.pid"
    return $code
}


# There is no region, or a whole one: nobody ever sees half of one.
none_or_whole() {
    [ ! -e "/dev/shm/$PAYRING_REGION" ] || "$build/payringctl" check
}
