#!/bin/sh
description='An API listens where it is told to, and a purge happens only where it is allowed.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1 PAYRING_PURGE=off
id=$(new_id)
ok 'accepted'                      post_payment api0 "$id" 19.90
ok 'settled'                       eventually 5 summary_has api0 default 1 19.90
ok 'no purge'                      answers 403 api0 /purge-payments -X POST
ok 'nothing was cleared'           summary_has api0 default 1 19.90

is 'the socket is for its group'   "$(stat -c %a "$play_dir/api0.sock")" 660
ok 'stops'                         kill_process api0 TERM
ok 'its socket is gone'            not test -e "$play_dir/api0.sock"
# Where the balancer would be: the words for it speak TCP.
env PAYRING_API_SOCKET=none PAYRING_API_TCP="127.0.0.1:$balancer_port" "$build/payring-api" \
    >"$play_dir/tcp.log" 2>&1 &
echo $! >"$play_dir/tcp.pid"
ok 'answers on TCP'                eventually 10 answers 200 balancer /healthz
ok 'knows the payment'             payment_is balancer "$id" settled default
ok 'accepts'                       post_payment balancer "$(new_id)" 0.10
ok 'settled'                       eventually 5 summary_has balancer default 2 20.00
ok 'no socket'                     not test -e "$play_dir/api0.sock"

# Both at once, with what a dead one has left in the way.
kill_process tcp KILL
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => shift, Listen => 1) or die' "$play_dir/api0.sock"
configure api0 PAYRING_API_TCP="127.0.0.1:$balancer_port"
ok 'a dead socket is in the way'   test -S "$play_dir/api0.sock"
restart_process api0
ok 'answers on TCP too'            eventually 5 answers 200 balancer /healthz
ok 'and on the socket'             post_payment api0 "$(new_id)" 0.10
ok 'they are one'                  eventually 5 summary_has balancer default 3 20.10
ok 'the books agree'               books_agree_within 5
done_testing
