#!/bin/sh
description='An operator decides about a pinned payment; the lane that owns it carries it out if the
processor says the same, and whoever dies meanwhile, it is done or not, never half.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

# resolve STATUS WORD ID DECISION [options...]: it ends so and says the word.
resolve() {
    local expected="$1" word="$2" is=0
    shift 2
    "$build/payringctl" resolve "$@" --by "ann o'hara" >"$play_dir/said" 2>&1 || is=$?
    echo "exit status $is: $(cat "$play_dir/said")"
    [ "$is" = "$expected" ] && grep -qiF -- "$word" "$play_dir/said"
}
is_pinned() {
    "$build/payringctl" payments --pinned --format tsv | grep -q "^$1	"
}
flags_are() {
    same "$("$build/payringctl" payments --id "$1" --format tsv | cut -f 10)" "$2"
}
# The lane takes the default for well: what is new goes there first. A payment is a probe.
is_well() {
    counter_is lane.0.default.failing 0 || {
        post_payment api0 "$(new_id)" 1
        false
    }
}
# pin_with FAULT: accept a payment that every attempt at the default leaves unknown.
pin_with() {
    ok 'the default is used'    eventually 15 is_well
    id=$(new_id)
    processor default misbehaves "$1" "correlationId=$id"
    ok 'accepted'               post_payment api0 "$id" 19.90
    ok 'pinned'                 eventually 10 is_pinned "$id"
}
freed() { # the processor does as it is told again
    processor default behaves
    processor default recovers
}
# From here on it refuses everything definitely, so what is not pinned goes to the other one.
refuses() {
    processor default fails
}
logged() { # TEXT: in a worker's log
    cat "$play_dir"/worker*.log | grep -qF -- "$1"
}
owner() { # the worker that owns the lane
    local name pid
    pid=$(counter lane.0.pid)
    for name in worker0 worker1; do
        [ "$(cat "$play_dir/$name.pid")" != "$pid" ] || echo $name
    done
}
in_flight() {
    counter_at_least lane.0.default.in_flight 1
}
not_in_flight() {
    counter_is lane.0.default.in_flight 0
}
# A new attempt, which has all of the processor's delay before it.
sent_again() {
    eventually 10 not_in_flight && eventually 10 in_flight
}
# resolve_start ID DECISION, resolve_ends STATUS WORD: in the background.
resolve_start() {
    "$build/payringctl" resolve "$@" --by ann >"$play_dir/said" 2>&1 &
    echo $! >"$play_dir/resolve.pid"
}
resolve_ends() {
    local is=0
    wait "$(cat "$play_dir/resolve.pid")" || is=$?
    rm "$play_dir/resolve.pid"
    echo "exit status $is: $(cat "$play_dir/said")"
    [ "$is" = "$1" ] && grep -qiF -- "$2" "$play_dir/said"
}

# One lane: the other worker stands by.
cluster_start --apis 1 --workers 2 PAYRING_LANES=1 PAYRING_DEADLINE_MS=6000 \
    PAYRING_LOOKUP_TIMEOUT_MS=1000

# --- the processor does not say ------------------------------------------------------------------

# First: a stand-in that is killed forgets its book.
pin_with error-before
kill_process default STOP
ok 'its book does not answer'   resolve 1 'still unknown' "$id" settled
ok 'neither for the others'     resolve 1 'still unknown' "$id" requeue
ok 'still pinned'               is_pinned "$id"
kill_process default CONT
kill_process default KILL
ok 'nobody listens there'       resolve 1 'still unknown' "$id" reject
ok 'still pinned'               is_pinned "$id"
restart_process default
ok 'settles with it'            eventually 20 payment_is api0 "$id" settled default
ok 'the books agree'            books_agree_within 10

# --- what is refused ----------------------------------------------------------------------------

ok 'nobody knows the id'        resolve 1 'has no payment' "$(new_id)" requeue
id=$(new_id)
ok 'accepted'                   post_payment api0 "$id" 19.90
ok 'settled'                    eventually 10 payment_is api0 "$id" settled
ok 'not pinned'                 resolve 1 'it is settled' "$id" settled
ok 'who decides'                not "$build/payringctl" resolve "$id" requeue
ok 'a decision that is none'    resolve 2 'it is payringctl resolve' "$id" pay
ok 'a line end in the reason'   resolve 2 --reason "$id" requeue --reason 'a
b'
is 'the refusals are counted'   "$(counter lane.resolve_refused)" 5
is 'nothing was resolved'       "$(counter lane.resolved)" 0

# --- in no book, and the processor says so --------------------------------------------------------

pin_with error-before
ok 'cannot be settled'          resolve 1 'does not hold' "$id" settled
ok 'still pinned'               is_pinned "$id"
refuses
ok 'requeued'                   resolve 0 'it is queued now' "$id" requeue --reason 'never executed there'
ok 'settles with the other'     eventually 20 payment_is api0 "$id" settled fallback
ok 'marked'                     flags_are "$id" resolved
ok 'logged, with who and why'   logged "decision=requeue state=queued by=\"ann o'hara\" reason=\"never executed there\""
freed
ok 'the books agree'            books_agree_within 10

pin_with error-before
rejected=$id
ok 'rejected'                   resolve 0 'it is rejected now' "$id" reject --reason 'the client has cancelled'
ok 'ended'                      payment_is api0 "$id" rejected
ok 'and refused from now on'    post_payment api0 "$id" 19.90 409
ok 'not pinned any more'        resolve 1 'it is rejected' "$id" requeue
freed
ok 'the books agree'            books_agree_within 10 --rejected "$rejected"

# --- executed, and only we do not know --------------------------------------------------------------

# The answers are lost for ever, the one to the resend (a 422) too: nothing but the book tells.
pin_with garbage-http
ok 'charged'                    eventually 10 processor_holds default "$id"
ok 'not to be sent again'       resolve 1 'it was charged' "$id" requeue
ok 'nor to be rejected'         resolve 1 'it was charged' "$id" reject
ok 'still pinned'               is_pinned "$id"
ok 'settled'                    resolve 0 'it is settled now' "$id" settled
ok 'with the default'           payment_is api0 "$id" settled default
ok 'marked'                     flags_are "$id" unknown,resolved
freed
ok 'the books agree'            books_agree_within 10 --rejected "$rejected"

# Somebody else's payment stands there, with another amount.
conflict=$(new_id)
ok 'inserted by another'        insert_elsewhere default "$conflict" 7.00 2024-01-01T00:00:00.000Z
ok 'the default is used'        eventually 15 is_well
processor default misbehaves error-before "correlationId=$conflict"
ok 'accepted'                   post_payment api0 "$conflict" 19.90
ok 'pinned'                     eventually 10 is_pinned "$conflict"
ok 'a conflict'                 resolve 0 'it is conflict now' "$conflict" settled
freed
agree() {
    books_agree_within 20 --rejected "$rejected" --foreign "$conflict"
}
ok 'the books agree'            agree

# --- an attempt is in flight ------------------------------------------------------------------------

pin_with error-before
processor default delay 2500
ok 'sent again'                 sent_again
ok 'waits for it, in vain'      resolve 3 'waited 1 s for the answer to an attempt' "$id" reject --timeout 1
ok 'withdrawn for good'         stays 3 is_pinned "$id"
ok 'sent again'                 sent_again
ok 'spoiled by its outcome'     resolve 1 'it may still act' "$id" requeue
ok 'still pinned'               is_pinned "$id"
processor default behaves
ok 'sent again'                 sent_again
resolve_start "$id" requeue
ok 'the lane waits'             eventually 5 counter_is lane.0.deciding 1
ok 'the attempt ends it first'  resolve_ends 1 'it is settled'
processor default delay 0
ok 'the books agree'            agree

# --- owners that are gone, stand still, or die in the middle ------------------------------------------

pin_with error-before
stopped=$(owner)
kill_process "$stopped" STOP
ok 'a stopped owner'            resolve 3 'is it stopped' "$id" reject --timeout 1
kill_process "$stopped" CONT
ok 'withdrawn for good'         stays 2 is_pinned "$id"
kill_process worker0 TERM
kill_process worker1 TERM
ok 'no owner'                   resolve 3 'no worker owns' "$id" reject
restart_process worker0
restart_process worker1
processor default delay 2500
ok 'sent again'                 sent_again
resolve_start "$id" requeue
ok 'the lane waits'             eventually 5 counter_is lane.0.deciding 1
killed=$(owner)
ok 'its owner is killed'        kill_process "$killed" KILL
ok 'dropped by the next one'    resolve_ends 3 'not done'
ok 'still pinned'               is_pinned "$id"
restart_process "$killed"
processor default delay 0
kill_process default STOP
resolve_start "$id" requeue
# Asks the book, or waits for an attempt that was just sent: neither is answered.
ok 'the lane sees to it'        eventually 10 counter_at_least lane.0.deciding 1
killed=$(owner)
ok 'its owner is killed'        kill_process "$killed" KILL
ok 'dropped by the next one'    resolve_ends 3 'not done'
kill_process default CONT
restart_process "$killed"
ok 'still pinned'               is_pinned "$id"
refuses
ok 'done in the end'            eventually 10 resolve 0 'it is queued now' "$id" requeue
ok 'settles with the other'     eventually 20 payment_is api0 "$id" settled fallback
freed
ok 'the books agree'            agree

# At any instant: whatever it says, the payment is charged once.
for round in 1 2 3 4 5 6; do
    pin_with error-before
    resolve_start "$id" requeue --timeout 10
    killed=$(owner)
    ok 'its owner is killed'    kill_process "$killed" KILL
    wait "$(cat "$play_dir/resolve.pid")"
    rm "$play_dir/resolve.pid"
    restart_process "$killed"
    freed
    ok "settled ($(cut -c 1-40 "$play_dir/said"))" eventually 20 payment_is api0 "$id" settled
done
ok 'the books agree'            agree
ok 'and stay so'                stays 2 books_agree --rejected "$rejected" --foreign "$conflict"
ok 'check finds it in order'    "$build/payringctl" check
done_testing
