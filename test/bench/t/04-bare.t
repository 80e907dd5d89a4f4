#!/bin/sh
description='The bare servers and the bare loop do the little that they are there for.'
. test/bench/t/lib.sh

start_and_wait h2o ready build/bare-h2o --unix "$play_dir/h2o.sock"
h2o=$started
# post SOCKET: the answer, head and all, is in $play_dir/answer.
post() {
    curl -si --max-time 5 --unix-socket "$1" http://payring/payments -d '{"amount":1}' | tr -d '\r' >"$play_dir/answer"
}
post "$play_dir/h2o.sock"
is 'bare-h2o answers what the API answers' "$(sed 's/^Date: .*/Date: -/' "$play_dir/answer")" \
    'HTTP/1.1 202 Accepted
Date: -
Connection: keep-alive
Content-Length: 0'
build/load --target "unix:$play_dir/h2o.sock" --rate 2000 --seconds 0.5 --connections 20 >"$play_dir/loaded"
ok 'every request of a load is answered' holds loaded '$_->{statuses}{202} == 1000 && !$_->{failures}'
# Asleep the generator takes some tens of microseconds a request; awake, all that it is given.
for way in --awake ''; do
    # shellcheck disable=SC2086
    build/load --target "unix:$play_dir/h2o.sock" --rate 100 --seconds 0.5 $way >"$play_dir/load$way"
done
ok 'told so, the generator never sleeps' holds load--awake '$_->{cpu_us_per_request} > 1000 && $_->{statuses}{202} == 50'
ok 'and else it does'                    holds load '$_->{cpu_us_per_request} < 500'
ok 'clients that break off are survived' sh -c 'build/load --target "unix:$1" --rate 500000 --seconds 0.2 \
    --patience-s 0 >/dev/null; kill -0 "$2"' sh "$play_dir/h2o.sock" "$h2o"
build/bare-h2o --listen 1 >/dev/null 2>&1
is 'bare-h2o refuses other options' $? 2

start_and_wait padded ready build/bare --unix "$play_dir/padded.sock" --answer-bytes 105
is 'bare: a look-up finds nothing' "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$play_dir/padded.sock" http://bare/payments/1)" 404
curl -si --max-time 5 --unix-socket "$play_dir/padded.sock" http://payring/payments -d x >"$play_dir/answer"
is 'an answer as long as told' "$(wc -c <"$play_dir/answer")" 105
start_and_wait long ready build/bare --unix "$play_dir/long.sock" --answer-bytes 105 --body abc
curl -si --max-time 5 --unix-socket "$play_dir/long.sock" http://payring/payments -d x >"$play_dir/answer"
is 'its body included'         "$(wc -c <"$play_dir/answer") $(tail -n 1 "$play_dir/answer")" '105 abc'
for bytes in 10 39 40 5000; do
    build/bare --unix "$play_dir/never.sock" --answer-bytes $bytes >/dev/null 2>&1
    is "an answer of $bytes bytes is refused" $? 2
done

start_and_wait processor ready build/processor --listen 127.0.0.1:0
url=http://$(sed -n 's/.*tcp=//p' "$play_dir/processor")
build/bare-settle --url "$url/payments" --lanes 2 --rate 1001 --seconds 1 >"$play_dir/settled"
is 'bare-settle at a rate' $? 0
ok 'posts as many as are due, and no more' holds settled '$_->{settled} == 1000 && $_->{due} == 1000 && !$_->{failed}'
ok 'in their time'                         holds settled '$_->{seconds} > 0.99 && $_->{seconds} < 1.9'
is 'each of them once' "$(curl -s -H 'X-Rinha-Token: 123' "$url/admin/stats" | sed 's/.*"payments":\([0-9]*\).*/\1/')" 1000
done_testing
