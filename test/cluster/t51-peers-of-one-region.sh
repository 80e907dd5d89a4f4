#!/bin/sh
description='A region counts once, however many peers answer for it: our own, asked through a
neighbour or through ourselves, and another with two gateways.'
. test/lib/cluster.sh

export PAYRING_PEER_SECRET=between-two-regions-only
east="$PAYRING_REGION-east"
peers() { # names separated by spaces, as a list for PAYRING_PEERS
    for name in $1; do printf 'unix:%s,' "$play_dir/$name.peer"; done | sed 's/,$//'
}
configure api0 "PAYRING_PEER_LISTEN=unix:$play_dir/api0.peer" "PAYRING_PEERS=$(peers 'api1 api0')"
configure api1 "PAYRING_PEER_LISTEN=unix:$play_dir/api1.peer" "PAYRING_PEERS=$(peers 'api0 api8 api9')"
configure api8 "PAYRING_PEER_LISTEN=unix:$play_dir/api8.peer" "PAYRING_PEERS=$(peers 'api0 api1 api9')" \
    "PAYRING_REGION=$east"
configure api9 "PAYRING_PEER_LISTEN=unix:$play_dir/api9.peer" "PAYRING_PEERS=$(peers 'api8')" \
    "PAYRING_REGION=$east"
configure worker8 "PAYRING_REGION=$east" PAYRING_HEALTH_INTERVAL_MS=3600000

cluster_start --apis 2 --workers 1
another_region "$east"
restart_process worker8
restart_process api8
restart_process api9
ok 'west, by one'                 post_payment api0 "$(new_id)" 1.00
ok 'west, by the other'           post_payment api1 "$(new_id)" 2.00
ok 'east, by one'                 post_payment api8 "$(new_id)" 4.00
ok 'east, by the other'           post_payment api9 "$(new_id)" 8.00
ok 'west and itself'              eventually 5 summary_has api0 default 2 3.00
ok 'west, west, east, east'       eventually 5 summary_has api1 default 4 15.00
ok 'east, west, west, east'       summary_has api8 default 4 15.00
ok 'east and its neighbour'       summary_has api9 default 2 12.00

load_start --target "unix:$play_dir/api0.sock" --target "unix:$play_dir/api1.sock" \
    --target "unix:$play_dir/api8.sock" --target "unix:$play_dir/api9.sock" \
    --seconds 6 --rate 400 --seed 511
api_count=0 # only those who know of both regions are asked
audit_start --seconds 6 --gateway "unix:$play_dir/api1.sock" --gateway "unix:$play_dir/api8.sock"
ok 'the load is answered'         load_wait
ok 'every window agreed'          audit_wait

# Of one region, too, whoever was asked for must answer: it may be the only one of another.
kill_process api9 KILL
ok 'a missing neighbour is told'  answers 503 api8 /payments-summary
ok 'by name'                      body_says "unix:$play_dir/api9.peer"
ok 'alone it is complete'         answers 200 api8 '/payments-summary?scope=local'
done_testing
