#!/bin/sh
# The order of things: the delay of the arrival is waited, then the failure flag
# counts, then the payment is inserted, then it is answered at once.
. test/processor/t/lib.sh
processor_start

set_delay 400
new_id
began=$(now_ms)
post $id >/dev/null
between 'a payment waits the delay' $(($(now_ms) - began)) 400 1200
inserted_ms=$(($(books | grep "^$id" | cut -f4) / 1000))
between 'and is inserted only then' $((inserted_ms - began)) 400 1200

# Start a payment in the background; its status will be in $tmp/late.
post_later() {
    curl -s -m 20 -o "$tmp/late-body" -w '%{http_code}' -d "$(payment $id 1 $moment)" \
        "$base/payments" >"$tmp/late" &
    later=$!
    await_stat running 1
}

set_delay 1000
new_id
post_later
is 'while it waits it is not in the books' "$(in_books $id)" 0
is 'while it waits a look-up says 404' "$(lookup $id)" 404
set_delay 20000
began=$(now_ms)
wait $later
between 'the delay is the one of its arrival' $(($(now_ms) - began)) 0 5000
is 'it is answered 200' "$(cat "$tmp/late")" 200

set_delay 1000
new_id
post_later
set_failure true
wait $later
is 'a failure that begins during the delay counts' "$(cat "$tmp/late")" 500
is 'with an empty body' "$(wc -c <"$tmp/late-body")" 0
is 'and inserts nothing' "$(in_books $id)" 0

new_id
post_later
set_failure false
wait $later
is 'a failure that ends during the delay does not' "$(cat "$tmp/late")" 200
is 'and the payment is in the books' "$(in_books $id)" 1

set_failure true
began=$(now_ms)
is 'a simulated failure is answered 500' "$(post $id)" 500
between 'after the delay' $(($(now_ms) - began)) 1000 2500
is 'with an empty body for an id in the books as well' "$(body_size)" 0
is 'with Content-Length: 0' "$(tr -d '\r' <"$tmp/headers" | grep -i '^content-length:')" \
    'Content-Length: 0'
set_failure false

set_delay 600
new_id
began=$(now_ms)
curl -s -m 0.2 -d "$(payment $id 1 $moment)" "$base/payments" >/dev/null
is 'a client that gives up gets no answer' $? 28
is 'its payment is not inserted yet' "$(in_books $id)" 0
await_stat payments $(($(stat payments) + 1))
is 'closing the connection cancels nothing' "$(in_books $id)" 1
inserted_ms=$(($(books | grep "^$id" | cut -f4) / 1000))
between 'it was inserted when the delay was over' $((inserted_ms - began)) 600 1400
await_stat running 0
is 'and its place is free again' "$(stat running)" 0

set_delay 300
printf 'POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n{' |
    perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1",
        PeerPort => shift) or die; print $s <STDIN>; close $s' $port
is 'half a request harms nobody' "$(stat running)" 0
done_testing
