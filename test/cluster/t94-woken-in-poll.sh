#!/bin/sh
description='A lane that sleeps while a request is out is woken for what an API has accepted: while a processor
is slow to one payment, the next one is settled at once, and not when the lane looks by itself.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

PAYRING_LANES=1 cluster_start --apis 2 --workers 1

late=0
settle_while_one_is_out() {
    for api in api0 api1 api0 api1 api0; do
        eventually 10 counter_is unsettled 0 || return
        processor default delay 2000
        post_payment "$api" "$(new_id)" 19.90 && eventually 5 processor_is_busy default || return
        processor default delay 0
        id=$(new_id)
        begin_ms=$(now_ms)
        post_payment "$api" "$id" 19.90 && eventually 5 processor_holds default "$id" 1990 || return
        [ $(($(now_ms) - begin_ms)) -lt 500 ] || late=$((late + 1))
        processor_is_busy default || [ $late -gt 0 ] || return # the first was still out
    done
}
ok 'five, each while one is out' settle_while_one_is_out
# Whom nobody wakes looks a second after it went to sleep.
ok "each is settled at once ($late are late)" [ "$late" -le 1 ]
ok 'the books agree'            books_agree_within 5
done_testing
