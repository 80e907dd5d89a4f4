#!/bin/sh
description='A processor that swallows some payments without a word holds up those alone: the others
are settled, and each swallowed one is sent again when its time is over.'
. test/lib/cluster.sh

unsettled_at_most() {
    local value
    value=$(counter unsettled)
    [ "$value" -le "$1" ] || {
        echo "unsettled is $value, more than $1"
        false
    }
}

some_are_swallowed() {
    [ "$(odd_met default silent)" -ge 10 ]
}

cluster_start --apis 2 --workers 2 --processors-later PAYRING_POLICY=default-only \
    PAYRING_POST_TIMEOUT_MS=30000
odd_start default 231 fine,fine,fine,fine,fine,fine,fine,fine,fine,silent
odd_start fallback 233 fine
# Past the first time-outs, which say nothing of a processor that has answered others since.
load_start --seconds 36 --rate 40 --seed 232
ok 'payments are swallowed'     eventually 20 some_are_swallowed
ok 'the load is answered'       load_wait
odd_kinds default fine
ok 'others wait for none of them' eventually 2 unsettled_at_most "$(odd_met default silent)"
ok 'the books agree'            books_agree_within 45
ok 'and stay so'                stays 2 books_agree
done_testing
