#!/bin/sh
description='payringctl drain stops intake under load and ends when all that was accepted has ended;
nothing is accepted after that, nothing is lost, and the region can be removed.'
. test/lib/cluster.sh

drain() { # STATUS WORD [options...]
    local expected="$1" word="$2" is=0
    shift 2
    "$build/payringctl" drain "$@" >"$play_dir/said" 2>&1 || is=$?
    echo "exit status $is: $(cat "$play_dir/said")"
    [ "$is" = "$expected" ] && grep -qF -- "$word" "$play_dir/said"
}
# never_moves NAME VALUE
never_moves() {
    stays 2 counter_is "$@"
}

cluster_start --apis 2 --workers 2 PAYRING_API_SLOTS=3 PAYRING_POLICY=default-only
ok 'drained when idle'          drain 0 'is drained' --timeout 10
ok 'new payments are refused'   post_payment api0 "$(new_id)" 1 503
ok '... in words'               body_says 'intake is stopped'
call api0 /payments -D "$play_dir/head" -H 'Content-Type: application/json' \
    -d "{\"correlationId\":\"$(new_id)\",\"amount\":1}"
ok '... to be tried again'      grep -qi '^retry-after: 1' "$play_dir/head"
ok 'healthz says so'            answers 503 api1 /healthz
ok '... in words'               body_says '"status":"draining"'
ok 'summaries go on'            answers 200 api0 /payments-summary
is 'they are counted'           "$(counter api.intake_stopped)" 2
is 'it is shown'                "$(counter intake.stopped)" 1
ok 'for people too'             sh -c '"$build/payringctl" show | grep -q "INTAKE IS STOPPED"'
ok 'again is as good'           drain 0 'is drained'
api_count=3
start_process api2
draining() { answers 503 api2 /healthz && body_says draining; }
ok 'a new API knows it too'     eventually 10 draining
ok '... and refuses'            post_payment api2 "$(new_id)" 1 503
ok 'opened again'               drain 0 'is open' --resume
ok 'accepted'                   post_payment api2 "$(new_id)" 1
ok 'and settled'                eventually 10 summary_has api0 default 1 1.00

# --- under load, again and again ----------------------------------------------------------------------

load_start --seconds 14 --rate 400 --seed 741 --duplicates 10
for round in 1 2 3; do
    before=$(counter api.accepted)
    ok 'the load runs'          eventually 5 load_has_posted $((before + 200))
    ok 'drained'                drain 0 'is drained' --timeout 30
    accepted=$(counter api.accepted)
    is 'nothing is in rings'    "$(counter ring.depth)" 0
    is 'nothing is unsettled'   "$(counter unsettled)" 0
    ok 'nothing is accepted'    never_moves api.accepted "$accepted"
    ok 'opened again'           drain 0 'is open' --resume
done
ok 'drained'                    drain 0 'is drained' --timeout 30
accepted=$(counter api.accepted)
ok 'the load is answered'       load_wait
is 'nothing was accepted'       "$(counter api.accepted)" "$accepted"
ok 'the books agree'            books_agree_within 1
ok 'opened again'               drain 0 'is open' --resume

# --- what keeps it from ending --------------------------------------------------------------------------

known=$(new_id)
processor default misbehaves error-before "correlationId=$known"
ok 'accepted'                   post_payment api0 "$known" 1
ok 'pinned'                     eventually 10 counter_at_least lane.unknown 1
ok 'not drained'                drain 3 '1 unsettled' --timeout 2
ok 'a copy is answered'         post_payment api0 "$known" 1
ok 'intake stays stopped'       post_payment api0 "$(new_id)" 1 503
"$build/payringctl" drain --timeout 20 >"$play_dir/draining" 2>&1 &
echo $! >"$play_dir/drain.pid"
ok 'a drain waits'              eventually 5 grep -q 'waiting for' "$play_dir/draining"
ok '... while a person decides' eventually 10 "$build/payringctl" resolve "$known" reject --by ann
ok '... which is what it took'  wait "$(cat "$play_dir/drain.pid")"
rm "$play_dir/drain.pid"
processor default behaves
ok 'the books agree'            books_agree_within 5 --rejected "$known"

ok 'opened again'               drain 0 'is open' --resume
kill_process api1 STOP
ok 'an API that has not seen it' drain 3 '1 APIs that have not seen it' --timeout 2
kill_process api1 CONT
ok 'sees it when it goes on'    drain 0 'is drained' --timeout 10
ok 'opened again'               drain 0 'is open' --resume
kill_process worker0 TERM
kill_process worker1 TERM
ok 'accepted'                   post_payment api0 "$(new_id)" 1
ok 'no worker'                  drain 3 '2 lanes without an owner' --timeout 2
restart_process worker0
restart_process worker1
"$build/payringctl" drain --timeout 20 >"$play_dir/draining" 2>&1
is 'drained'                    $? 0
ok 'the books agree'            books_agree_within 1 --rejected "$known"

# --- and then it can go ------------------------------------------------------------------------------------

for name in api0 api1 api2 worker0 worker1; do kill_process "$name" TERM; done
ok 'removed without force'      "$build/payringctl" remove
ok 'a drain of nothing'         drain 3 'there is no region'
done_testing
