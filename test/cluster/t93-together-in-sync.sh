#!/bin/sh
description='In sync, payments that are served together are answered each when it is on disk itself: those of
a lane that stands still wait, and nobody else does.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 1 --workers 2 PAYRING_TAKEOVER_MS=60000 PAYRING_DURABILITY=sync \
    PAYRING_STATE_DIR="$play_dir/state" PAYRING_DURABLE_TIMEOUT_MS=1500
known=$(new_id)
ok 'one payment is there already'   post_payment api0 "$known" 19.90
ok 'and settled'                    eventually 5 payment_is api0 "$known" settled

ok 'one of two lanes stands still'  kill_process worker1 STOP
test/lib/ask-at-once "$play_dir/api0.sock" "$(cat "$play_dir/api0.pid")" "$play_dir/posted" "$known" >"$play_dir/answers"
answered() { # STATUS: ids
    sed -n "s/^new $1 //p" "$play_dir/answers" | sort
}
in_the_book() { # those of $play_dir/new
    book default | cut -f 1 | sort | comm -12 - "$play_dir/new"
}
sed -n 's/^new [0-9]* //p' "$play_dir/answers" | sort >"$play_dir/new"
is 'twenty new ones'                "$(wc -l <"$play_dir/new")" 20
ok 'some were answered'             [ -n "$(answered 202)" ]
ok 'some had to wait, in vain'      [ -n "$(answered 503)" ]
ok 'answered: those on disk, no other' eventually 5 same "$(answered 202)" "$(in_the_book)"
kill_process worker1 CONT
ok 'the books agree'                books_agree_within 15
done_testing
