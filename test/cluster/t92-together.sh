#!/bin/sh
description='Requests that come all at once, so that an API finds them in one turn of its loop and serves
payments together: each has the answer that is its own, also beside bad ones, copies and questions, and
who has hung up meanwhile harms nobody.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1
known=$(new_id)
ok 'one payment is there already'   post_payment api0 "$known" 19.90
ok 'and settled'                    eventually 5 payment_is api0 "$known" settled

test/lib/ask-at-once "$play_dir/api0.sock" "$(cat "$play_dir/api0.pid")" "$play_dir/posted" "$known" >"$play_dir/answers"
is 'each has its own answer' "$(sed 's/ [0-9a-f-]\{36\}$//' "$play_dir/answers" | sort | uniq -c | sed 's/^ *//')" '5 asks 200
5 bad 400
5 copy 202
10 leaves lost
20 new 202
5 other 409
5 seeks 200
5 two 202 409'
# 1, 20 new ones, 5 of two, 10 of those that have left: they had asked.
is 'taken in'   "$(counter api.accepted)" 36
is 'known'      "$(counter api.known)" 5
is 'refused'    "$(counter api.conflicts) $(counter api.bad_requests)" '10 5'
ok 'the books agree'                books_agree_within 10
ok 'and random windows'             windows_agree
done_testing
