#!/bin/sh
description='A lane that sleeps is woken for what an API has accepted: with nothing else to do a payment
is settled at once, and not when the lane looks by itself, a second after it went to sleep.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

PAYRING_LANES=2 PAYRING_WORKER_LANES=2 cluster_start --apis 2 --workers 1

# The book is asked, not the API: it wakes a lane for payments only, but it might one day in every turn.
late=0
settle_one_by_one() {
    for api in api0 api1 api0 api1 api0 api1 api0 api1 api0 api1; do
        id=$(new_id)
        eventually 5 counter_is unsettled 0 || return # the lane goes to sleep
        begin_ms=$(now_ms)
        post_payment "$api" "$id" 19.90 && eventually 5 processor_holds default "$id" 1990 || return
        [ $(($(now_ms) - begin_ms)) -lt 500 ] || late=$((late + 1))
    done
}
ok 'ten, one after the other'   settle_one_by_one
# Whom nobody wakes looks up to a second after it went to sleep: all but one or two were late.
ok "each is settled at once ($late are late)" [ "$late" -le 3 ]
ok 'the lanes had slept'        [ "$(counter lane.sleeps)" -ge 10 ]
ok 'the books agree'            books_agree_within 5
done_testing
