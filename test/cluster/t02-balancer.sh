#!/bin/sh
description='Behind the balancer clients do not notice that one of the APIs is gone,
and it is used again as soon as it is back.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1 --balancer
id=$(new_id)
ok 'accepted'                       post_payment balancer "$id" 19.90
ok 'settled'                        eventually 5 payment_is balancer "$id" settled default

load_start --target "127.0.0.1:$balancer_port" --seconds 5 --rate 400 --retry
ok 'the load runs'                  eventually 5 load_has_posted 200
kill_process api0 KILL
for n in 1 2 3 4 5 6; do
    ok "accepted without api0, $n"  post_payment balancer "$(new_id)" 1.00
done
restart_process api0
kill_process api1 KILL
ok 'accepted by api0 alone'         post_payment balancer "$(new_id)" 1.00
restart_process api1
ok 'all posts were answered'        load_wait
ok 'the books agree'                books_agree_within 15
ok 'the windows agree'              windows_agree
done_testing
