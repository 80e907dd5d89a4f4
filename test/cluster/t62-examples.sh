#!/bin/sh
description='What docs/OPERATING.md and README.md show as said by the programs is what they say.'
. test/lib/cluster.sh

PATH="$(pwd -P)/$build:$PATH"
# Times, ids and sizes are those of the day.
of_any_day() {
    sed -e 's/[0-9-]*T[0-9:.]*Z/TIME/g' -e "s/$PAYRING_REGION/payring/g" -e 's/[0-9][0-9]* bytes/N bytes/'
}
# shown PAGE COMMAND: what the page shows behind it, up to the next command; where it first stands.
shown() {
    awk -v command="\$ $2" 'on && (/^```/ || /^\$ /) { exit } on { print } $0 == command { on = 1 }' "$1"
}
example() { # PAGE COMMAND
    shown "$1" "$2" | of_any_day >"$play_dir/shown"
    sh -c "$2" 2>&1 | of_any_day >"$play_dir/said"
    ok "$1 shows: $2" test -s "$play_dir/shown"
    is 'and so it is' "$(cat "$play_dir/said")" "$(cat "$play_dir/shown")"
}

example docs/OPERATING.md 'PAYRING_DEADLINE_MS=soon payring-worker -n'
cluster_start --apis 1 --workers 2
is 'a region is created' "$(of_any_day <"$play_dir/create.log")" \
    "$(shown docs/OPERATING.md 'payringctl create' | of_any_day)"
ok 'a lane is taken'     eventually 5 grep -qF "$(sed -n 's/.*\(program=payring-worker .*event=lane_taken.*\)/\1/p' docs/OPERATING.md)" \
    "$play_dir/worker0.log" "$play_dir/worker1.log"
id=$(new_id)
ok 'accepted'            post_payment api0 "$id" 19.90
ok 'settled'             eventually 5 payment_is api0 "$id" settled default
example docs/OPERATING.md 'payringctl check'
example docs/OPERATING.md 'payringctl remove'

# The README's calls, without a port: the same ones, of this gateway.
call api0 "/payments/$id"
is 'README: a look-up'   "$(sed "s/$id/ID/" "$play_dir/answer" | of_any_day)" \
    "$(sed -n '/^{"correlationId"/{s/"correlationId":"[^"]*"/"correlationId":"ID"/p;}' README.md | of_any_day)"
call api0 '/payments-summary?from=2020-01-01T00:00:00.000Z'
is 'README: a summary'   "$(cat "$play_dir/answer")" "$(grep '^{"default"' README.md)"
ok 'the books agree'     books_agree_within 5
done_testing
