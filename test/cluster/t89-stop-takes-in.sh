#!/bin/sh
description='Durability async: a worker that is told to stop goes on taking in for as long as it waits for
answers, so that nothing that was acknowledged lies in a ring when everybody is gone.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 1 --workers 1 PAYRING_DURABILITY=async PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=500 PAYRING_STOP_TIMEOUT_MS=8000 PAYRING_LANES=1

create_anew() {
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
    "$build/payringctl" create >"$play_dir/create.log" 2>&1
}

is_stopping() {
    grep -q event=stopping "$play_dir/worker0.log"
}

worker=$(cat "$play_dir/worker0.pid")
processor default delay 4000
ok 'a payment'                          post_payment api0 "$(new_id)" 19.90
ok 'is out'                             eventually 5 counter_is lane.posts 1
kill -s TERM "$worker"
ok 'the worker is told to stop'         eventually 2 is_stopping
for payment in 1 2 3; do
    ok "another payment, $payment"      post_payment api0 "$(new_id)" 19.90
done
ok 'they are taken in'                  eventually 2 counter_is ring.depth 0
is 'and none of them goes out'          "$(counter lane.posts)" 1
ok 'the worker ends'                    eventually 10 has_ended "$worker"
is 'with its answer'                    "$(counter lane.settled_default)" 1

kill_at_once api0
ok 'the region is made anew'            create_anew
ok 'with what was taken in'             grep -q '3 payments that have not ended' "$play_dir/create.log"
processor default delay 0
restart_process worker0
restart_process api0
ok 'all of it settles'                  eventually 10 counter_is lane.settled_default 3
ok 'the books agree'                    books_agree_within 10
done_testing
