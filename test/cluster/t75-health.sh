#!/bin/sh
description='payringctl health says whether a component does what it is there for; keep makes the region
and stays with it; both daemons tell a service manager that they are ready, alive and stopping.'
. test/lib/cluster.sh

# says WORD STATUS COMMAND...: it ends so, with WORD in what it says.
says() {
    local word="$1" expected="$2" said result
    shift 2
    said=$("$@" 2>&1)
    result=$?
    case $said in *"$word"*) same "$result" "$expected" ;; *)
        echo "said: $said"
        false
        ;;
    esac
}
health() {
    "$build/payringctl" health "$@"
}

# --- keep -----------------------------------------------------------------------------------------

ok 'no region, no health'            says "$PAYRING_REGION" 1 health region
ok 'nor lanes'                       says "$PAYRING_REGION" 1 health lanes
export PAYRING_LEDGER_ROWS=262144 PAYRING_HORIZON_PAYMENTS=65536 PAYRING_API_SLOTS=2
keep_start() {
    "$build/payringctl" keep >"$play_dir/keep.log" 2>&1 &
    keeper=$!
}
keep_start
ok 'keep makes the region'           eventually 10 health region
ok 'and stays'                       test -d "/proc/$keeper"
kill -TERM $keeper
wait $keeper
is 'until it is told to stop: status' $? 0
ok 'which leaves the region'         health region
keep_start
ok 'it keeps one that it finds'      eventually 10 grep -q "$PAYRING_REGION" "$play_dir/keep.log"
ok 'it is not in the way of remove'  "$build/payringctl" remove
wait $keeper
ok 'and then it ends, as a failure'  test $? -ne 0
ok 'saying why'                      grep -q 'is gone' "$play_dir/keep.log"
ok 'keep takes no other geometry'    "$build/payringctl" create
ok 'but says so'                     says PAYRING_LANES 1 env PAYRING_LANES=3 "$build/payringctl" keep
"$build/payringctl" remove >"$play_dir/remove.log" 2>&1

# --- health ---------------------------------------------------------------------------------------

test/lib/notify-listener "$play_dir/notify" >"$play_dir/notify.log" &
echo $! >"$play_dir/listener.pid"
eventually 5 grep -q listening "$play_dir/notify.log" || give_up 'nobody listens to notifications'
# As a manager does it: for one process of each kind.
configure worker0 NOTIFY_SOCKET="$play_dir/notify" WATCHDOG_USEC=20000000
cluster_start --apis 1 --workers 1 --balancer PAYRING_WORKER_LANES=2
ok 'the region is well'              says 'is there' 0 health region
ok 'the lanes too'                   eventually 10 says 'all 2 lanes' 0 health lanes
ok 'an API, by its socket'           health "unix:$play_dir/api0.sock"
ok 'the balancer, by its port'       health "http://127.0.0.1:$balancer_port/healthz"
ok 'another path is not'             says 'answers 404' 1 health "http://127.0.0.1:$balancer_port/other"
ok 'nobody is at that socket'        says none.sock 1 health "unix:$play_dir/none.sock"
ok 'a target is needed'              says health 2 health

# --- ready, alive, stopping -------------------------------------------------------------------------

told() { # MESSAGE TIMES: at least so often
    [ "$(grep -c "^$1\$" "$play_dir/notify.log")" -ge "$2" ]
}
ok 'a worker says that it is ready'  eventually 10 told READY=1 1
ok 'and again and again that it is alive' eventually 20 told WATCHDOG=1 3
kill_process worker0 STOP
ok 'lanes stand still'               eventually 15 says 'stands still' 1 health lanes
alive=$(grep -c WATCHDOG "$play_dir/notify.log")
ok 'and nobody says that it is alive' stays 3 eval '! told WATCHDOG=1 $((alive + 1))'
kill_process worker0 CONT
ok 'until it goes on'                eventually 20 told WATCHDOG=1 $((alive + 1))
ok 'lanes are well again'            eventually 15 health lanes
kill_process worker0 TERM
ok 'it says that it stops'           eventually 5 told STOPPING=1 1
ok 'lanes have no owner'             says 'no owner' 1 health lanes
configure worker0 NOTIFY_SOCKET="$play_dir/notify" WATCHDOG_USEC=20000000 WATCHDOG_PID=1
alive=$(grep -c WATCHDOG "$play_dir/notify.log")
restart_process worker0
ok 'a watchdog over another process' eventually 10 told READY=1 2
ok 'is told nothing'                 stays 3 eval '! told WATCHDOG=1 $((alive + 1))'

: >"$play_dir/notify.log"
configure api0 NOTIFY_SOCKET="$play_dir/notify" WATCHDOG_USEC=20000000
kill_process api0 TERM
restart_process api0
ok 'an API says that it is ready'    eventually 10 told READY=1 1
ok 'and that it is alive'            eventually 20 told WATCHDOG=1 2
kill_process api0 STOP
alive=$(grep -c WATCHDOG "$play_dir/notify.log")
ok 'not when it stands still'        stays 3 eval '! told WATCHDOG=1 $((alive + 1))'
ok 'which its health check sees'     says Timeout 1 health "unix:$play_dir/api0.sock"
kill_process api0 CONT
ok 'until it goes on'                eventually 20 told WATCHDOG=1 $((alive + 1))
kill_process api0 TERM
ok 'it says that it stops'           told STOPPING=1 1
ok 'and does not answer'             says api0.sock 1 health "unix:$play_dir/api0.sock"
done_testing
