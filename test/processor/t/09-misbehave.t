#!/bin/sh
# Misbehaviour on command, each kind in turn, and what stands in the books then.
. test/processor/t/lib.sh
processor_start

once() { misbehave "{\"kind\":\"$1\",\"count\":1${2:+,$2}}"; new_id; }

# Send one payment by hand; what came back is in $tmp/raw.
post_raw() {
    data=$(payment $id 1.00 $moment)
    printf 'POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' ${#data} "$data" |
        perl $here/raw.pl $port 5 >"$tmp/raw"
}
raw_end() { tail -n 1 "$tmp/raw"; }
raw_size() { head -c -$(raw_end | wc -c) "$tmp/raw" | wc -c; }

once reset-before
post_raw
is 'reset-before: reset' "$(raw_end)" '-- reset'
is 'reset-before: not a byte of an answer' "$(raw_size)" 1
is 'reset-before: not executed' "$(in_books $id)" 0
is 'reset-before: but seen' "$(seen $id)" 1
is 'reset-before: only as often as commanded' "$(post $id)" 200

once reset-after
post_raw
is 'reset-after: reset' "$(raw_end)" '-- reset'
is 'reset-after: not a byte of an answer' "$(raw_size)" 1
is 'reset-after: executed' "$(in_books $id)" 1
is 'reset-after: only as often as commanded' "$(post $id)" 422

once reset-then-insert '"ms":500'
began=$(now_ms)
post_raw
is 'reset-then-insert: reset' "$(raw_end)" '-- reset'
between 'reset-then-insert: at once' $(($(now_ms) - began)) 0 450
is 'reset-then-insert: not inserted yet' "$(in_books $id)" 0
await_stat running 0
is 'reset-then-insert: inserted later' "$(in_books $id)" 1
between 'reset-then-insert: after the time given' \
    $(($(books | grep "^$id" | cut -f4) / 1000 - began)) 500 1500
once reset-then-insert '"ms":300'
post_raw
is 'reset-then-insert: sent again meanwhile it is inserted' "$(post $id)" 200
await_stat running 0
is 'reset-then-insert: and the late one changes nothing' "$(in_books $id)" 1

once late '"ms":500'
began=$(now_ms)
curl -s -m 20 -o /dev/null -w '%{http_code}' -d "$(payment $id 1 $moment)" "$base/payments" >"$tmp/late" &
later=$!
await_stat running 1
is 'late: inserted while the answer is held back' "$(in_books $id)" 1
wait $later
is 'late: answered 200' "$(cat "$tmp/late")" 200
between 'late: after the time given' $(($(now_ms) - began)) 500 1500

once garbage-body
is 'garbage-body: answered 200' "$(post $id)" 200
perl -MJSON::PP -e 'local $/; eval { decode_json(<STDIN>) } and exit 1' <"$tmp/body"
is 'garbage-body: with what is no JSON' $? 0
is 'garbage-body: executed' "$(in_books $id)" 1

once garbage-http
post_raw
is 'garbage-http: what comes is no HTTP' "$(grep -ac '^HTTP/' "$tmp/raw")" 0
between 'garbage-http: but something comes' "$(raw_size)" 5 200
is 'garbage-http: then it is closed' "$(raw_end)" '-- closed'
is 'garbage-http: executed' "$(in_books $id)" 1

once short
is 'short: answered 200' "$(post $id)" 200
is 'short: less than announced' "$(curl_exit)" 18
is 'short: something, though' "$(body | cut -c1-11)" '{"message":'
is 'short: executed' "$(in_books $id)" 1

once error-after
is 'error-after: answered 500' "$(post $id)" 500
between 'error-after: with a body' "$(body_size)" 1 1000
is 'error-after: executed' "$(in_books $id)" 1
once error-after '"status":503'
is 'error-after: with the status given' "$(post $id)" 503
is 'error-after: executed then too' "$(in_books $id)" 1

once error-before
is 'error-before: answered 500' "$(post $id)" 500
between 'error-before: with a body' "$(body_size)" 1 1000
is 'error-before: not executed' "$(in_books $id)" 0
once error-before '"status":502'
is 'error-before: with the status given' "$(post $id)" 502

once refuse-429
is 'refuse-429: answered 429' "$(post $id)" 429
is 'refuse-429: not executed' "$(in_books $id)" 0
once refuse-400
is 'refuse-400: answered 400' "$(post $id)" 400
is 'refuse-400: not executed' "$(in_books $id)" 0

# Which payments a rule is for.
misbehave '{"kind":"none"}'
misbehave '{"kind":"refuse-429","count":2}'
new_id; one=$(post $id); new_id; two=$(post $id); new_id; three=$(post $id)
is 'count: so many and no more' "$one $two $three" '429 429 200'
misbehave '{"kind":"refuse-429"}'
new_id; one=$(post $id); new_id; two=$(post $id); new_id; three=$(post $id)
is 'no count: for ever' "$one $two $three" '429 429 429'
misbehave '{"kind":"refuse-429","count":0}'
new_id
is 'until it is ended' "$(post $id)" 200
new_id
misbehave "{\"kind\":\"refuse-400\",\"correlationId\":\"$id\"}"
is 'correlationId: that one' "$(post $id)" 400
new_id
is 'correlationId: no other' "$(post $id)" 200

share() { # seed: which of 40 payments are hit, in $hit
    misbehave '{"kind":"none"}'
    misbehave "{\"kind\":\"refuse-429\",\"percent\":30,\"seed\":$1}"
    hit=
    i=0
    while [ $((i += 1)) -le 40 ]; do
        new_id
        [ "$(post $id)" = 200 ] || hit="$hit $i"
    done
}
share 7
first=$hit
between 'percent: about that share' "$(echo $first | wc -w)" 4 22
share 7
is 'percent: the same for the same seed' "$hit" "$first"
share 8
[ "$hit" != "$first" ]
is 'percent: others for another seed' $? 0
admin GET misbehave >/dev/null
is 'the rules and their hits can be seen' \
    "$(body | grep -c '"kind":"refuse-429","count":null,"percent":30,"seed":8.*"hits":[1-9]')" 1
is 'an unknown kind is a 400' "$(admin PUT misbehave '{"kind":"explode"}')" 400
is 'a status that is no 5xx is a 400' "$(admin PUT misbehave '{"kind":"error-after","status":200}')" 400
misbehave '{"kind":"none"}'

# Two kinds at once: each its share, the first one first.
new_id
misbehave "{\"kind\":\"refuse-400\",\"count\":1}"
misbehave "{\"kind\":\"refuse-429\",\"count\":1}"
one=$(post $id) two=$(post $id) three=$(post $id)
is 'several kinds may stand' "$one $two $three" '400 429 200'

# Capacity: two at once, 200 ms each.
misbehave '{"kind":"capacity","concurrent":2,"service_ms":200}'
began=$(now_ms)
perl $here/flood.pl $port 6 eeee >"$tmp/answers"
took=$(($(now_ms) - began))
is 'capacity: all are executed' "$(cat "$tmp/answers")" '200 6'
between 'capacity: in three rounds' $took 600 1500
books | grep '^eeee' | cut -f4 | perl -e 'my @t = <STDIN>;
    print $t[2] - $t[1] > 150000 && $t[4] - $t[3] > 150000 ? 1 : 0' >"$tmp/rounds"
is 'capacity: two at a time' "$(cat "$tmp/rounds")" 1
misbehave '{"kind":"capacity","concurrent":1,"service_ms":5000}'
perl $here/flood.pl $port 3 ffff >"$tmp/answers" &
flood=$!
await_stat waiting_for_capacity 2
misbehave '{"kind":"none"}'
await_stat running 1
is 'capacity: without a limit the waiting go on' "$(in_books ffff)" 2
kill $flood 2>/dev/null
wait $flood 2>/dev/null

# Idle connections.
idle() { # how a connection ends within 1 s of being left alone after an answer
    printf 'GET /payments/%s HTTP/1.1\r\nHost: x\r\n\r\n' $id | perl $here/raw.pl $port ${1:-1} >"$tmp/raw"
    raw_end
}
new_id
is 'idle connections are left open' "$(idle)" '-- silent'
misbehave '{"kind":"close-idle","after_ms":300}'
began=$(now_ms)
is 'close-idle: closed after an answer' "$(idle 3)" '-- closed'
between 'close-idle: after the time given' $(($(now_ms) - began)) 300 1500
is 'close-idle: though keep-alive was promised' "$(grep -ci '^connection: keep-alive' "$tmp/raw")" 1
misbehave '{"kind":"close-idle","after_ms":0}'
is 'close-idle: at once' "$(idle 3)" '-- closed'
is 'close-idle: with the answer complete' "$(grep -c '^HTTP/1.1 404' "$tmp/raw")" 1
new_id
is 'close-idle: payments are executed all the same' "$(post $id)" 200
misbehave '{"kind":"none"}'
is 'close-idle: over' "$(idle)" '-- silent'
done_testing
