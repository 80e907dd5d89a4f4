#!/bin/sh
description='A processor that fails at some payments each time, for whatever reason, is not taken for
one that fails: the others are settled, and those wait for it.'
. test/lib/cluster.sh

unsettled_at_most() {
    local value
    value=$(counter unsettled)
    [ "$value" -le "$1" ] || {
        echo "unsettled is $value, more than $1"
        false
    }
}

# Payments of 0.13 that were accepted; copies may be among them.
disliked() {
    cut -f 2,3 "$play_dir/posted.load" | grep -c "^0.13.2"
}

cluster_start --apis 2 --workers 2 --processors-later PAYRING_POLICY=default-only
odd_start default 241 dislikes-13
odd_start fallback 242 fine
load_start --seconds 15 --rate 100 --seed 244 --amounts 19.90,2,3,4,5,6,7,8,9,10,11,12,0.13,14,15,16,17,18,19,20
ok 'the load is answered'         load_wait
ok 'others wait for none of them' eventually 2 unsettled_at_most "$(disliked)"
odd_kinds default fine
ok 'the books agree'              books_agree_within 20
ok 'and stay so'                  stays 2 books_agree
done_testing
