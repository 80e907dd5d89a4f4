#!/bin/sh
description='However a request is framed, written or cut into pieces, it is one payment or none; what
is left over on a connection belongs to the client that sent it, and is never taken for more.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1

# talk [--in-pieces] TEXT: send it (\r, \n and BODY stand for themselves and $body), half-close, and
# print the status of each answer, what follows the last of them, and "closed" if there was none.
talk() {
    perl -MIO::Socket::UNIX -e '
        $SIG{PIPE} = "IGNORE";
        $SIG{ALRM} = sub { print "no end of it"; exit };
        alarm 10;
        my ($path, $body, @rest) = @ARGV;
        my $text = pop @rest;
        $text =~ s/\\r/\r/g, $text =~ s/\\n/\n/g, $text =~ s/BODY/$body/g;
        my $s = IO::Socket::UNIX->new(Peer => $path) or die;
        for (@rest ? split(//, $text) : $text) {
            syswrite $s, $_ or last;
            select undef, undef, undef, 0.001 if @rest;
        }
        shutdown $s, 1;
        my $all = join "", <$s>;
        print "closed " if $all eq "";
        while ($all =~ s/^HTTP\/1\.1 (\d+) .*?\r\n\r\n//s) {
            my ($status, $head) = ($1, $&);
            print "$status ";
            my $is_head = $text =~ s/^HEAD//;
            substr $all, 0, $1, "" if !$is_head && $status != 100 && $head =~ /^content-length: (\d+)/im;
        }
        print $all' "$play_dir/api0.sock" "${body:-}" "$@"
}
posted=0
payment() { # of 71 bytes; sets $id and $body
    id=$(new_id)
    body="{\"correlationId\":\"$id\",\"amount\":19.90}"
}
accepts() { # WHAT ANSWERS [--in-pieces] TEXT
    local what="$1" expected="$2"
    shift 2
    payment
    is "$what" "$(talk "$@")" "$expected"
    printf '%s\t19.90\t202\n' "$id" >>"$play_dir/posted"
    posted=$((posted + 1))
}
refuses() { # WHAT ANSWERS TEXT
    payment
    is "$2: $1" "$(talk "$3")" "$2"
}
head='POST /payments HTTP/1.1\r\nHost: x\r\n'
length='Content-Length: 71\r\n\r\nBODY'

accepts 'plain'                             '202 ' "$head$length"
accepts 'byte for byte'                     '202 ' --in-pieces "$head$length"
accepts 'told to go on'                     '100 202 ' "${head}Expect: 100-continue\r\n$length"
accepts 'HTTP/1.0, without a host'          '202 ' "POST /payments HTTP/1.0\r\n$length"
accepts 'no host'                           '202 ' "POST /payments HTTP/1.1\r\n$length"
accepts 'empty lines in front'              '202 ' "\r\n$head$length"
accepts 'a query that nobody wants'         '202 ' "POST /payments?a=b HTTP/1.1\r\n$length"
accepts 'lines that end in LF alone'        '202 ' "POST /payments HTTP/1.1\nHost: x\nContent-Length: 71\n\nBODY"
accepts 'chunks, their extensions, a trailer' '202 ' \
    "${head}Transfer-Encoding: chunked\r\n\r\n47;a=b\r\nBODY\r\n0\r\nA: b\r\n\r\n"
accepts 'chunks, and another length'        '202 ' \
    "${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n47\r\nBODY\r\n0\r\n\r\n"
accepts 'chunks byte for byte'              '202 ' --in-pieces \
    "${head}Transfer-Encoding: chunked\r\n\r\n47\r\nBODY\r\n0\r\n\r\n"
accepts 'what is not JSON between two that are' '400 202 ' \
    "${head}Content-Length: 1\r\n\r\nx$head$length"
accepts 'garbage behind it'                 '202 400 ' "$head${length}hello\r\n\r\n"
accepts 'an offer to speak HTTP/2'          '202 ' \
    "${head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n$length"
hundred=$(n=0 && while [ $n -lt 98 ]; do n=$((n + 1)) && printf 'X-%d: y\\r\\n' $n; done)
accepts 'a hundred headers'                 '202 ' "$head$hundred$length"
accepts 'a header of 64 KiB'                '202 ' "${head}X: $(printf '%065536d' 0)\r\n$length"

refuses 'a hundred and one headers'         '400 ' "${head}${hundred}A: b\r\n$length"
refuses 'another method, in small letters'  '405 ' "post /payments HTTP/1.1\r\n$length"
refuses 'no method'                         '400 ' "/payments HTTP/1.1\r\n$length"
refuses 'HTTP/0.9'                          '400 ' "POST /payments\r\n$length"
refuses 'the whole URL'                     '404 ' "POST http://x/payments HTTP/1.1\r\n$length"
refuses 'two slashes'                       '404 ' "POST //payments HTTP/1.1\r\n$length"
refuses 'a slash at the end'                '405 404 ' \
    "POST /payments/$NO_ID HTTP/1.1\r\n${length}POST /payments/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
refuses 'an escaped slash'                  '404 ' "POST /payments%2F HTTP/1.1\r\n$length"
refuses 'a fragment'                        '404 ' "POST /payments#a HTTP/1.1\r\n$length"
refuses 'less than it says'                 'closed ' "${head}Content-Length: 72\r\n\r\nBODY"
refuses 'fewer chunks than it says'         'closed ' "${head}Transfer-Encoding: chunked\r\n\r\n47\r\nBODY\r\n"
refuses 'a negative length'                 '400 ' "${head}Content-Length: -71\r\n\r\nBODY"
refuses 'a length beyond all numbers'       '400 ' "${head}Content-Length: 99999999999999999999999\r\n\r\nBODY"
refuses 'a chunk beyond all numbers'        '400 ' \
    "${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff47\r\nBODY\r\n0\r\n\r\n"
refuses 'a header without a colon'          '400 ' "${head}hello\r\n$length"
# Closed after the answer: a request that stands in a body is not one.
refuses 'a request inside of a body that is too long' '413 ' \
    "${head}Content-Length: 5000\r\n\r\n$head$length"

is 'HEAD, and GET behind it'    "$(talk 'HEAD /payments-summary HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n')" '200 200 '
is 'OPTIONS of everything'      "$(talk 'OPTIONS * HTTP/1.1\r\n\r\n')" '404 '
ok 'settled'                    eventually 10 counter_is lane.settled_default "$posted"
ok 'the API still is there'     post_payment api0 "$(new_id)" 1.00
ok 'the books agree'            books_agree_within 10
ok 'the windows agree'          windows_agree
done_testing
