#!/bin/sh
description='What is for peers is for them alone: not through the balancer, not on a listener of
clients, not without the secret, and the secret is nowhere to be read.'
. test/lib/cluster.sh

peer_port=$(free_ports 1)
secret=known-to-two-regions-only
printf '%s\n' "$secret" >"$play_dir/secret"
configure api0 "PAYRING_PEER_LISTEN=127.0.0.1:$peer_port" "PAYRING_PEER_SECRET_FILE=$play_dir/secret" \
    PAYRING_LOG_LEVEL=debug
cluster_start --apis 1 --workers 1 --balancer
path='/internal/summary?from_us=0&to_us=9000000000000000000'

# asks STATUS [curl options...]: the listener of peers.
asks() {
    local expected="$1"
    shift
    rm -f "$play_dir/answer"
    same "$(curl -s -o "$play_dir/answer" -w '%{http_code}' --max-time 5 --path-as-is "$@")" "$expected"
}
with="payring-peer-secret: $secret"
version='payring-peer-version: 1'
url="http://127.0.0.1:$peer_port"
for actor in api0 balancer; do
    ok "$actor: no such path"          answers 404 $actor "$path" -H "$with" -H "$version"
    ok "$actor: nothing near it"       answers 404 $actor /internal -H "$with" -H "$version"
    ok "$actor: whatever the Host is"  answers 404 $actor "$path" -H "$with" -H "$version" -H 'Host: peers'
    ok "$actor: nor by a detour"       answers 404 $actor "/payments/../internal/summary" -H "$with" -H "$version"
    ok "$actor: nor encoded"           answers 404 $actor "/%69nternal/summary" -H "$with" -H "$version"
done
ok 'with the secret: sums'             asks 200 "$url$path" -H "$with" -H "$version"
ok 'of this region'                    body_says 'payring-peer 1' "region $(curl -s \
    --unix-socket "$play_dir/api0.sock" http://payring/healthz | sed 's/.*"regionId":"\([^"]*\).*/\1/')" \
    'generation 0' 'default 0 0' 'fallback 0 0'
ok 'without: nothing'                  asks 403 "$url$path" -H "$version"
ok 'not a word of sums'                not body_says default
ok 'a wrong one'                       asks 403 "$url$path" -H "$version" -H 'payring-peer-secret: known-to-two-regions-onlx'
ok 'its beginning'                     asks 403 "$url$path" -H "$version" -H 'payring-peer-secret: known-to-two-regions-onl'
ok 'more than it'                      asks 403 "$url$path" -H "$version" -H "${with}x"
ok 'an empty one'                      asks 403 "$url$path" -H "$version" -H 'payring-peer-secret;'
ok 'a very long one'                   asks 403 "$url$path" -H "$version" -H "payring-peer-secret: $(head -c 3000 /dev/zero | tr '\0' x)"
ok 'without it, no path exists'        asks 403 "$url/nowhere"
ok 'with it, no other path'            asks 404 "$url/nowhere" -H "$with" -H "$version"
ok 'nor those of clients'              asks 404 "$url/payments-summary" -H "$with" -H "$version"
ok 'and no payment'                    asks 404 "$url/payments" -H "$with" -d "{\"correlationId\":\"$(new_id)\",\"amount\":1}"
ok 'nor a purge'                       asks 404 "$url/purge-payments" -H "$with" -X POST
ok 'another method'                    asks 405 "$url$path" -H "$with" -H "$version" -X POST
ok 'another version'                   asks 400 "$url$path" -H "$with" -H 'payring-peer-version: 2'
ok 'is told ours'                      body_says 'payring-peer 1'
ok 'no version'                        asks 400 "$url$path" -H "$with"
for query in '' '?from_us=1' '?from_us=1&to_us=' '?from_us=1&to_us=x' '?from_us=1&to_us=2x' \
    '?from_us=1&to_us=99999999999999999999' '?from_us=1&from_us=1&to_us=2' '?from_us=1&to_us=%zz'; do
    ok "400: \"$query\""               asks 400 "$url/internal/summary$query" -H "$with" -H "$version"
done

ok 'accepted'                          post_payment api0 "$(new_id)" 19.90
ok 'settled'                           eventually 5 summary_has api0 default 1 19.90
ok 'peers are told, in cents'          asks 200 "$url$path" -H "$with" -H "$version"
ok 'so many'                           body_says 'default 1 1990'
ok 'the bounds are kept'               asks 200 "$url/internal/summary?from_us=0&to_us=1" -H "$with" -H "$version"
ok 'so none'                           body_says 'default 0 0'
ok 'the lowest and the highest bound'  asks 200 \
    "$url/internal/summary?from_us=-9223372036854775808&to_us=9223372036854775807" -H "$with" -H "$version"
ok 'everything'                        body_says 'default 1 1990'

# A crowd of strangers at this door shuts it, and no other.
perl -MIO::Socket::INET -e '
    my @crowd = map { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$ARGV[0]") or die "$_: $!" } 1 .. 200;
    $| = 1; print "here\n"; select undef, undef, undef, 60' "$peer_port" >"$play_dir/crowd" 2>&1 &
echo $! >"$play_dir/crowd.pid"
ok 'strangers crowd in'                eventually 10 grep -q here "$play_dir/crowd"
ok 'peers have to wait'                asks 000 --max-time 0.5 "$url$path" -H "$with" -H "$version"
ok 'clients are served'                answers 200 api0 /payments-summary
ok 'and payments taken'                post_payment api0 "$(new_id)" 0.10
kill_process crowd KILL
ok 'peers are served again'            eventually 5 asks 200 "$url$path" -H "$with" -H "$version"

# What is refused at the start, and that it says why without saying what.
refuses() { # text, settings...
    local text="$1"
    shift
    ! env "$@" "$build/payring-api" -n >"$play_dir/answer" 2>&1 && body_says "$text" &&
        not grep -q "$secret" "$play_dir/answer"
}
printf '%s\n%s\n' "$secret" "$secret" >"$play_dir/two-lines"
: >"$play_dir/empty"
ok 'peers without a secret'            refuses 'need a secret' "PAYRING_PEERS=$url"
ok 'a listener without a secret'       refuses 'need a secret' PAYRING_PEER_LISTEN=127.0.0.1:1
ok 'a secret that is short'            refuses 'PAYRING_PEER_SECRET must be' PAYRING_PEER_SECRET=fifteen-letters
ok 'one with spaces'                   refuses 'PAYRING_PEER_SECRET must be' "PAYRING_PEER_SECRET=$secret $secret"
ok 'two of them'                       refuses 'are both given' "PAYRING_PEER_SECRET=$secret" "PAYRING_PEER_SECRET_FILE=$play_dir/secret"
ok 'a file that is not there'          refuses 'PAYRING_PEER_SECRET_FILE: ' "PAYRING_PEER_SECRET_FILE=$play_dir/none"
ok 'a file of two lines'               refuses 'must hold' "PAYRING_PEER_SECRET_FILE=$play_dir/two-lines"
ok 'an empty file'                     refuses 'must hold' "PAYRING_PEER_SECRET_FILE=$play_dir/empty"
no_flag() {
    ! "$build/payring-api" -n "--peer-secret=$secret" >"$play_dir/answer" 2>&1 && body_says 'no flag' &&
        not grep -q "$secret" "$play_dir/answer"
}
ok 'it is no flag'                     no_flag
PAYRING_PEER_SECRET=$secret "$build/payring-api" --help >"$play_dir/help" 2>&1
ok 'help tells of the setting'         grep -q '^  PAYRING_PEER_SECRET  ' "$play_dir/help"
ok 'but not of the secret'             not grep -q "$secret" "$play_dir/help"
ok 'nor do the logs'                   not grep -q "$secret" "$play_dir"/*.log
pid=$(cat "$play_dir/api0.pid")
ok 'nor the command line'              not grep -q "$secret" "/proc/$pid/cmdline"
done_testing
