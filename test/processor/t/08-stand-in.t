#!/bin/sh
# What only the stand-in has: the list of its books, who was seen, statistics,
# unix sockets, options.
. test/processor/t/lib.sh
processor_start

new_id
first=$id
before=$(($(now_ms) * 1000))
post $first 19.90 2025-07-15T12:34:56.789Z >/dev/null
after=$(($(now_ms) * 1000 + 1000))
new_id
second=$id
post $second 0.015 2025-07-15T12:34:56.7 >/dev/null
is 'the books list id, cents, time and its text, by insertion' "$(books | cut -f1,2,3,5)" \
    "$first	1990	1752582896789000	2025-07-15T12:34:56.789Z
$second	2	1752582896700000	2025-07-15T12:34:56.7"
between 'and when each was inserted' "$(books | head -1 | cut -f4)" $before $after

post $first >/dev/null
set_failure true
post $first >/dev/null
set_failure false
call POST /payments "{\"correlationId\":\"$first\"}" >/dev/null
is 'each POST of an id is seen, refused ones too' "$(seen $first)" 4
is 'an id that was never sent is seen 0 times' "$(seen 00000000-0000-4000-8000-000000000000)" 0
is 'posts are counted' "$(stat posts)" 5
is 'by status: 200' "$(stat 200)" 2
is 'by status: 422' "$(stat 422)" 1
is 'by status: 500' "$(stat 500)" 1
is 'by status: 400' "$(stat 400)" 1
is 'the statistics can be reset' "$(admin POST stats/reset)" 204
is 'posts then' "$(stat posts)" 0
is 'max_running then' "$(stat max_running)" 0
is 'ids then' "$(seen $first)" 0
is 'the books stay' "$(stat payments)" 2

# Many ids over one connection, sent without waiting for the answers.
perl -e 'for my $n (1 .. 30000) { my $b = sprintf "{\"correlationId\":\"dddd0000-0000-4000-8000-%012x\","
    . "\"amount\":1.01,\"requestedAt\":\"2025-07-15T12:34:56.%03dZ\"}", $n, $n % 1000;
    print "POST /payments HTTP/1.1\r\nHost: x\r\n", ($n == 30000 ? "Connection: close\r\n" : ""),
    "Content-Length: ", length $b, "\r\n\r\n$b" }' >"$tmp/many"
perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1",
    PeerPort => shift) or die; if (!fork) { print $s <STDIN>; $s->flush; exit }
    my $n = 0; while (<$s>) { $n++ if m{HTTP/1\.1 200 } } wait; print $n' $port <"$tmp/many" >"$tmp/count"
is 'thirty thousand payments over one connection' "$(cat "$tmp/count")" 30000
is 'are all in the books' "$(stat payments)" 30002
books >"$tmp/books"
is 'and in the list, once each' "$(cut -f1 "$tmp/books" | sort -u | wc -l)" 30002
is 'with their times' "$(awk -F'\t' '/^dddd/ && $5 == sprintf("2025-07-15T12:34:56.%03dZ", $3 / 1000 % 1000)' \
    "$tmp/books" | wc -l)" 30000
admin GET payments-summary >/dev/null
is 'and in the summary' "$(body)" \
    '{"totalAmount":30319.92,"totalRequests":30002,"totalFee":1515.9960,"feePerTransaction":0.05}'

admin GET misbehave >/dev/null
is 'it behaves at first' "$(body)" \
    '{"rules":[],"capacity":{"concurrent":0,"service_ms":0},"close_idle_after_ms":-1}'

processor_start --unix "$tmp/socket" --name fallback
is 'the ready line tells name, port and socket' "$(cat "$tmp/ready")" \
    "processor fallback ready tcp=127.0.0.1:$port unix=$tmp/socket"
is 'it answers on the unix socket' "$(call GET /payments/$first '' --unix-socket "$tmp/socket")" 404
"$PROCESSOR" --unix "$tmp/socket" >/dev/null 2>&1
is 'a socket that is served is not taken over' $? 2
kill $pid
wait $pid
is 'SIGTERM ends it with success' $? 0
is 'and removes the socket' "$(ls "$tmp/socket" 2>/dev/null)" ''

"$PROCESSOR" --help >"$tmp/help"
is '--help succeeds' $? 0
for word in reset-before reset-after reset-then-insert late garbage-body garbage-http short \
    error-after error-before refuse-429 refuse-400 capacity close-idle none /admin/seen \
    /admin/stats /admin/payments --unix --listen; do
    grep -q -e "$word" "$tmp/help"
    is "--help tells of $word" $? 0
done
"$PROCESSOR" --version >/dev/null
is '--version succeeds' $? 0
for bad in '' '--listen nowhere' '--listen 127.0.0.1:99999' '--listen 127.0.0.1:0 --fee 2' \
    '--listen 127.0.0.1:0 --max-running 0' '--what'; do
    "$PROCESSOR" $bad >/dev/null 2>"$tmp/errors"
    is "bad options are refused: $bad" $? 2
done
done_testing
