#!/bin/sh
description='A lane that sleeps is woken for what an API has accepted: with nothing else to do a payment
is settled at once, and not when the lane looks by itself, a second after it went to sleep.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1

settle_one_by_one() {
    for api in api0 api1 api0 api1 api0 api1 api0 api1 api0 api1; do
        id=$(new_id)
        post_payment "$api" "$id" 19.90 && eventually 5 payment_is "$api" "$id" settled default || return
    done
}

begin_ms=$(now_ms)
ok 'ten, one after the other'   settle_one_by_one
took_ms=$(($(now_ms) - begin_ms))
echo "# settled after $took_ms ms"
# Whom nobody wakes looks up to a second later: eight seconds for ten, when it was tried.
ok 'each was settled at once'   [ "$took_ms" -lt 2500 ]
ok 'the lanes had slept'        [ "$(counter lane.sleeps)" -ge 10 ]
ok 'the books agree'            books_agree_within 5
done_testing
