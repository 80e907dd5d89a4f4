#!/bin/sh
description='APIs, workers and the balancer are killed and stopped at random moments under load, while
the processors delay, fail, reset and insert late: nothing is lost, nothing is charged or counted twice.'
# N kills (30), and a stop for every five of them; SEED decides what happens when. RATE payments a
# second (150) come through the balancer. Ends with one line of JSON.
. test/lib/cluster.sh

kills=${N:-30}
seed=${SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
rate=${RATE:-150}
echo "# seed $seed, $kills kills"

# --- what the plan says ----------------------------------------------------------------------------

# pids_of ACTOR: nginx has a process of its own for the work, which its master's death leaves behind.
pids_of() {
    local pid
    pid=$(cat "$play_dir/$1.pid")
    echo "$pid"
    [ "$1" != balancer ] || cat "/proc/$pid/task/$pid/children" 2>/dev/null
}

is_gone() {
    case $(process_state "$1") in '' | Z) ;; *) false ;; esac
}

signal_all() { # SIGNAL PID...
    local signal="$1"
    shift
    kill -s "$signal" "$@" 2>/dev/null
}

kill_actor() {
    local pid pids
    pids=$(pids_of "$1")
    # shellcheck disable=SC2086
    signal_all KILL $pids
    for pid in $pids; do
        eventually 5 is_gone "$pid" || return
        wait "$pid" 2>/dev/null
    done
    echo "$1" >>"$play_dir/killed"
}

# Whoever should be there and is not has died by itself, which nobody is to do.
look_for_the_dead() {
    local actor pid
    for actor in $standing; do
        pid=$(cat "$play_dir/$actor.pid")
        is_gone "$pid" || continue
        wait "$pid"
        echo "$actor ended by itself with status $?" >>"$play_dir/died"
        start_process "$actor"
    done
}

without() { # ACTOR WORD...: the words but that one
    local word out='' not="$1"
    shift
    for word; do [ "$word" = "$not" ] || out="$out $word"; done
    echo "$out"
}

act() { # verb actor argument
    case $1 in
    kill)
        # shellcheck disable=SC2086
        standing=$(without "$2" $standing)
        kill_actor "$2"
        ;;
    start)
        start_process "$2"
        standing="$standing $2"
        ;;
    stop | cont)
        # shellcheck disable=SC2046
        signal_all "$([ "$1" = stop ] && echo STOP || echo CONT)" $(pids_of "$2")
        [ "$1" = cont ] || echo "$2" >>"$play_dir/stopped"
        ;;
    fails | recovers) processor "$2" "$1" ;;
    delay) processor "$2" delay "$3" ;;
    esac
}

play_the_plan() {
    local begin at verb actor argument wait_ms
    begin=$(now_ms)
    standing='api0 api1 worker0 worker1 balancer'
    while read -r at verb actor argument; do
        wait_ms=$((begin + at - $(now_ms)))
        [ "$wait_ms" -le 0 ] || sleep "$((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))"
        look_for_the_dead
        act "$verb" "$actor" "$argument" || return
    done <"$play_dir/plan"
}

lines_in() {
    cat "$@" 2>/dev/null | wc -l
}

differences() { # pattern
    grep -cE "$1" "$play_dir/differences"
}

# --- the play --------------------------------------------------------------------------------------

begin_s=$(date +%s)
test/crash/plan-crashes "$seed" "$kills" >"$play_dir/plan" || exit
seconds=$(($(awk '$2 == "end" { print $1 }' "$play_dir/plan") / 1000 + 1))
# No horizon to be crossed and no ledger to be filled, however long it takes.
cluster_start --apis 2 --workers 2 --balancer PAYRING_LEDGER_ROWS=$((4096 * (8 + seconds * rate / 2048))) \
    PAYRING_HORIZON_PAYMENTS=1048576
for name in default fallback; do
    for kind in reset-before reset-after error-after; do
        processor "$name" misbehaves "$kind" percent=1 "seed=$seed"
    done
    processor "$name" misbehaves late percent=1 ms=400 "seed=$seed"
    processor "$name" misbehaves reset-then-insert percent=1 ms=800 "seed=$seed"
done
load_start --target "127.0.0.1:$balancer_port" --connections 16 --seconds "$seconds" --rate "$rate" \
    --seed "$seed" --duplicates 10 --retry --timeout-ms 2000 --amounts 19.90,0.01,7,1234567.89
test/crash/watch-windows --gateway "unix:$play_dir/api0.sock" --gateway "unix:$play_dir/api1.sock" \
    --default "127.0.0.1:$default_port" --fallback "127.0.0.1:$fallback_port" \
    --ctl "$build/payringctl" --until "$play_dir/enough" --since "$started_us" --seed "$seed" \
    >"$play_dir/windows" 2>"$play_dir/watch.log" &
echo $! >"$play_dir/watch.pid"

ok 'the plan was played'              play_the_plan
for name in api0 api1 worker0 worker1 balancer; do
    ok "$name is ready"               eventually 20 is_ready "$name"
done
ok 'the load is answered'             load_wait
: >"$play_dir/enough"
ok 'the windows were watched'         wait "$(cat "$play_dir/watch.pid")"
processor default behaves
processor fallback behaves
ok 'the books agree'                  books_agree_within 60
ok 'the windows agree'                windows_agree
ok 'the region is in order'           "$build/payringctl" check
is 'nobody died by himself'           "$(cat "$play_dir/died" 2>/dev/null)" ''
ok 'the windows of the run agree, but for what had no reply yet' \
    eval 'test/crash/judge-windows --default "$play_dir/book.default" --fallback "$play_dir/book.fallback" \
        --rows "$play_dir/rows" "$play_dir/windows" >"$play_dir/verdict"; status=$?; cat "$play_dir/verdict"; [ "$status" = 0 ]'
read -r windows equal unavoidable mismatches unanswered <<VERDICT
$(tail -n 1 "$play_dir/verdict")
VERDICT
ok 'some were equal'                  [ "${equal:-0}" -gt 0 ]
is 'as many kills as were wanted'     "$(lines_in "$play_dir/killed")" "$kills"

accepted=$(awk -F '\t' '$3 ~ /^2/ { print $1 }' "$play_dir"/posted* | sort -u | wc -l)
lost=$(differences 'accepted, and in no book')
twice=$(differences 'times in the books')
total=$(grep -vc '^compare-books:' "$play_dir/differences")
echo "1..$tests_run"
play_finished=yes
printf '{"kills":%d,"stops":%d,"accepted":%d,"lost":%d,"charged_twice":%d,"final_mismatches":%d,' \
    "$(lines_in "$play_dir/killed")" "$(lines_in "$play_dir/stopped")" "$accepted" "$lost" "$twice" \
    $((total - lost - twice))
printf '"windows":%d,"window_mismatches":%d,"windows_unavoidable":%d,"windows_unanswered":%d,' \
    "${windows:-0}" "${mismatches:-0}" "${unavoidable:-0}" "${unanswered:-0}"
printf '"seed":%d,"seconds":%d}\n' "$seed" $(($(date +%s) - begin_s))
[ "$tests_failed" -eq 0 ]
exit
