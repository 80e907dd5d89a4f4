#!/bin/sh
description='Whatever a peer does, a summary that misses its region is a 503 that names it, in time,
the own sums are still told, and the API lives on.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

# shellcheck disable=SC2046
set -- $(free_ports 2)
bad_port=$1 nobody_port=$2
export PAYRING_PEER_SECRET=between-two-regions-only PAYRING_LOG_LEVEL=debug
bad="http://127.0.0.1:$bad_port"
configure api0 "PAYRING_PEERS=$bad"
configure api1 "PAYRING_PEERS=$bad,http://127.0.0.1:$nobody_port"
configure api2 "PAYRING_PEERS=http://localhost:$nobody_port"
configure api3 "PAYRING_PEERS=http://no-such-host.invalid:80"
configure api4 "PAYRING_PEERS=unix:$play_dir/api5.peer,unix:$play_dir/api6.peer"
configure api5 "PAYRING_PEER_LISTEN=unix:$play_dir/api5.peer"
configure api7 "PAYRING_PEERS=$bad" PAYRING_PEER_TIMEOUT_MS=2500
configure api6 "PAYRING_PEER_LISTEN=unix:$play_dir/api6.peer" PAYRING_PEER_SECRET=between-two-regions-onlx

echo good >"$play_dir/kind"
test/lib/bad-peer "$bad_port" "$play_dir/kind" >"$play_dir/bad-peer.log" 2>&1 &
echo $! >"$play_dir/bad-peer.pid"
eventually 10 grep -q listening "$play_dir/bad-peer.log" || give_up 'bad-peer does not listen'

cluster_start --apis 8 --workers 1
pid=$(cat "$play_dir/api0.pid")

# in_time COMMAND...: true, and the 200 ms that peers are given were not passed by more than a slow
# machine takes to start curl.
in_time() {
    local began took
    began=$(now_ms)
    "$@" || return
    took=$(($(now_ms) - began))
    [ "$took" -lt 450 ] || {
        echo "took $took ms"
        false
    }
}

# is_missed KIND TEXT...: a peer of this kind is named, with this said of it.
is_missed() {
    local kind="$1" text="$2"
    echo "$kind" >"$play_dir/kind"
    ok "$kind: 503 in time"           in_time answers 503 api0 /payments-summary
    ok "$kind: says whom and why"     body_says "$bad" "$text"
    ok "$kind: the own sums are told" summary_has api0 default 0 0.00 '?scope=local'
}

ok 'a good answer counts'             summary_has api0 default 1 19.90
is_missed silent                      'no answer within 200 ms'
is_missed late                        'no answer within 200 ms'
is_missed trickle                     'no answer within 200 ms'
is_missed 'half and waits'            'no answer within 200 ms'
is_missed closes                      'closed the connection'
is_missed 'half a head'               'closed the connection'
is_missed 'half a body'               'closed the connection'
is_missed garbage                     nonsense
is_missed 'another protocol'          nonsense
is_missed 'endless head'              'too much'
is_missed 'endless line'              'too much'
is_missed 'endless body'              'too much'
is_missed 'long body'                 'too much'
is_missed 'more than told'            'too much'
is_missed 'length of x'               nonsense
is_missed 'length of -1'              nonsense
is_missed 'two lengths'               nonsense
is_missed 'no length'                 nonsense
is_missed gzip                        nonsense
is_missed chunked                     nonsense
is_missed 'status 500'                'status 500'
is_missed 'status 404'                'status 404'
is_missed 'status 403'                'another secret'
is_missed 'status 204'                nonsense
is_missed 'only continues'            nonsense
is_missed 'version 2'                 'speaks version 2'
is_missed 'version 2 only'            'speaks version 2'
for kind in 'no version' json empty 'small sum' 'large sum' 'large count' 'huge sum' negative \
    'a decimal point' 'a leading zero' 'short region' 'lines too many' 'a line too few'; do
    is_missed "$kind"                 nonsense
done
echo good >"$play_dir/kind"
ok 'a good answer counts again'       summary_has api0 default 1 19.90
is 'all by the same process'          "$(cat "$play_dir/api0.pid")/$(is_running api0 && echo lives)" "$pid/lives"

ok 'one of two peers is not there'    in_time answers 503 api1 /payments-summary
ok 'it is named'                      body_says "peer http://127.0.0.1:$nobody_port cannot be reached"
echo silent >"$play_dir/kind"
ok 'the other is slow as well'        in_time answers 503 api1 /payments-summary
ok 'nobody behind a name'             in_time answers 503 api2 /payments-summary
ok 'the name is told'                 body_says "peer http://localhost:$nobody_port cannot be reached"
ok 'a name that nobody has'           in_time answers 503 api3 /payments-summary
ok 'is told'                          body_says 'http://no-such-host.invalid:80'
ok 'the own sums are told'            summary_has api3 default 0 0.00 '?scope=local'
ok 'a real peer, another secret'      in_time answers 503 api4 /payments-summary
ok 'is told'                          body_says "peer unix:$play_dir/api6.peer has another secret"
ok 'it noticed too'                   grep -q 'event=peer_refused why=secret' "$play_dir/api6.log"
ok 'and counted'                      counter_at_least api.peers_refused 1
ok 'missing ones are counted'         counter_at_least api.peers_missing 40
ok 'and logged'                       grep -q "level=warn event=peers_missing .*$bad" "$play_dir/api0.log"
ok 'but no secret is'                 not grep -l between-two-regions "$play_dir"/*.log

# Clients that do not wait for the end, while peers do not answer: nothing may call back for them.
give_up_early() {
    local n=0
    while [ "$n" -lt 30 ]; do
        curl -s -o /dev/null --max-time "0.0$((n % 9 + 1))" --unix-socket "$play_dir/api0.sock" \
            http://payring/payments-summary &
        echo $!
        n=$((n + 1))
    done >"$play_dir/early"
    # shellcheck disable=SC2046
    wait $(cat "$play_dir/early")
    true
}
for kind in silent late trickle 'endless body'; do
    echo "$kind" >"$play_dir/kind"
    ok "$kind: clients go away"       give_up_early
    ok "$kind: the API stays"         in_time answers 503 api0 /payments-summary
done
# More than may wait at once: told so, and none of the others is forgotten.
echo silent >"$play_dir/kind"
crowd() {
    local n=0
    while [ "$n" -lt 80 ]; do
        curl -s --max-time 8 --unix-socket "$play_dir/api7.sock" http://payring/payments-summary \
            >"$play_dir/crowd.$n" &
        echo $!
        n=$((n + 1))
    done >"$play_dir/crowd.pids"
    # shellcheck disable=SC2046
    wait $(cat "$play_dir/crowd.pids")
    same "$(grep -l 'too many summaries are waiting' "$play_dir"/crowd.[0-9]* | wc -l)" 16 &&
        same "$(grep -l "$bad" "$play_dir"/crowd.[0-9]* | wc -l)" 64
}
ok 'a crowd is answered'              crowd
ok 'payments are taken meanwhile'     post_payment api0 "$(new_id)" 1.00
echo good >"$play_dir/kind"
ok 'and nothing is left over'         eventually 5 summary_has api0 default 2 20.90
is 'still the same process'           "$(is_running api0 && cat "$play_dir/api0.pid")" "$pid"
ok 'it stops when told'               kill_process api0 TERM
done_testing
