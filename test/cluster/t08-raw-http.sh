#!/bin/sh
description='Clients that speak HTTP in unusual ways, badly, or not to the end are answered or
dropped, and nobody else notices.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1 PAYRING_REQUEST_TIMEOUT_MS=2000 PAYRING_MAX_CONNECTIONS=64

# say TEXT: send it (printf escapes), half-close, print what came back.
say() {
    perl -MIO::Socket::UNIX -e '
        $SIG{ALRM} = sub { exit 1 }; alarm 8;
        my $s = IO::Socket::UNIX->new(Peer => shift) or die; print $s shift; $s->flush;
        shutdown $s, 1; print while <$s>' "$play_dir/api0.sock" "$(printf "$@")"
}

first=$(new_id)
second=$(new_id)
request() { # id
    local body="{\"correlationId\":\"$1\",\"amount\":19.90}"
    printf 'POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body"
}
statuses() {
    grep -o '^HTTP/1.1 [0-9]*' | cut -d ' ' -f 2 | cut -c 1 | tr '\n' ' '
}
is 'two in one write are both answered'  "$(say %s%s "$(request "$first")" "$(request "$second")" | statuses)" '2 2 '
printf '%s\t19.90\t202\n%s\t19.90\t202\n' "$first" "$second" >>"$play_dir/posted"
ok 'both are settled'                    eventually 5 summary_has api0 default 2 39.80

chunked=$(new_id)
ok 'a body in chunks'                    answers "$(
    post_payment api0 "$first" 19.90 >/dev/null
    echo "$status"
)" api0 /payments -H 'Transfer-Encoding: chunked' -d "{\"correlationId\":\"$chunked\",\"amount\":1.00}"
printf '%s\t1.00\t202\n' "$chunked" >>"$play_dir/posted"
is 'garbage'                             "$(say 'hello\r\n\r\n' | statuses)" '4 '
is 'half a request is not accepted'      "$(say 'POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{' | statuses)" ''
is 'a length that is no number'          "$(say 'POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n{' | statuses)" '4 '
ok 'expecting to be told to go on'       answers 202 api0 /payments -H 'Expect: 100-continue' \
    -d "{\"correlationId\":\"$first\",\"amount\":19.90}"

# More connections than it takes, all of them silent.
perl -MIO::Socket::UNIX -e '
    my @s = map { IO::Socket::UNIX->new(Peer => $ARGV[0]) } 1 .. 80; open my $f, ">", $ARGV[1]; close $f;
    sysread $_, my $byte, 1 for @s' "$play_dir/api0.sock" "$play_dir/crowd" &
echo $! >"$play_dir/crowd.pid"
ok 'a silent crowd is there'             eventually 5 test -e "$play_dir/crowd"
ok 'it is sent away in time'             eventually 10 post_payment api0 "$(new_id)" 2.00
ok 'the API is idle'                     cpu_is_idle api0
ok 'the books agree'                     books_agree_within 5
done_testing
