#!/bin/sh
description='Two gateways with a region each: either tells the sums of both, to the payment, under
load too; of its own alone when asked for those; and a purge clears its own region.'
. test/lib/cluster.sh

peer_port=$(free_ports 1)
export PAYRING_PEER_SECRET=between-two-regions-only
east="$PAYRING_REGION-east"
configure api0 "PAYRING_PEERS=unix:$play_dir/east.peer" "PAYRING_PEER_LISTEN=127.0.0.1:$peer_port"
configure api8 "PAYRING_PEERS=http://127.0.0.1:$peer_port" "PAYRING_PEER_LISTEN=unix:$play_dir/east.peer" \
    "PAYRING_REGION=$east"
# One caller of service-health is allowed for both.
configure worker8 "PAYRING_REGION=$east" PAYRING_HEALTH_INTERVAL_MS=3600000

cluster_start --apis 1 --workers 1
ok 'alone it is incomplete'        answers 503 api0 /payments-summary
ok 'and says without whom'         body_says "unix:$play_dir/east.peer"
another_region "$east"
restart_process worker8
restart_process api8
ok 'together they are complete'    summary_has api0 default 0 0.00
ok 'the other one too'             summary_has api8 default 0 0.00

ok 'here'                          post_payment api0 "$(new_id)" 19.90
ok 'there'                         post_payment api8 "$(new_id)" 0.11
ok 'the sum of both, here'         eventually 5 summary_has api0 default 2 20.01
ok 'the sum of both, there'        summary_has api8 default 2 20.01
ok 'nothing by the fallback'       summary_has api8 fallback 0 0.00
ok 'here alone'                    summary_has api0 default 1 19.90 '?scope=local'
ok 'there alone'                   summary_has api8 default 1 0.11 '?scope=local'
ok 'all, when asked for all'       summary_has api0 default 2 20.01 '?scope=all'
ok 'a window without moments'      summary_has api0 default 0 0.00 \
    '?from=2030-01-01T00:00:00Z&to=2020-01-01T00:00:00Z'
ok 'a window without payments'     summary_has api0 default 0 0.00 '?to=2020-01-01T00:00:00Z'
ok 'no such scope'                 answers 400 api0 '/payments-summary?scope=lokal'
ok 'and it says so'                body_says '"field":"scope"'
ok 'a long scope'                  answers 400 api0 '/payments-summary?scope=aaaaaaaaaaaaaaaaaaaaaaaaa'
ok 'two scopes'                    answers 400 api0 '/payments-summary?scope=all&scope=all'
ok 'questions were answered'       counter_at_least api.peers_answered 3

load_start --target "unix:$play_dir/api0.sock" --target "unix:$play_dir/api8.sock" \
    --seconds 12 --rate 400 --seed 501 --amounts 19.90,0.01,7,1234567.89
audit_start --seconds 12 --gateway "unix:$play_dir/api8.sock"
ok 'the load flows'                eventually 10 load_has_posted 400
processor default fails
ok 'the fallback takes over'       eventually 10 load_has_posted 1000
processor default recovers
ok 'the load is answered'          load_wait
ok 'every window agreed'           audit_wait
settled_in_both() {
    same "$(PAYRING_REGION=$east counter lane.unsettled) $(counter lane.unsettled)" '0 0'
}
ok 'all of it is settled'          eventually 20 settled_in_both
ok 'every payment is in the sums'  audit_start --seconds 1 --lag-ms 1 --gateway "unix:$play_dir/api8.sock"
ok 'whatever the window'           audit_wait

here=$(summary_of api0 default '?scope=local')
there=$(summary_of api8 default '?scope=local')
ok 'both have a part of it'        not same "${here% *}" 0
ok 'this one too'                  not same "${there% *}" 0
ok 'a purge here'                  answers 200 api0 /purge-payments -X POST
# shellcheck disable=SC2086
ok 'leaves what is there'          summary_has api0 default $there
ok 'for both to see'               summary_has api8 default ${there% *} "${there#* }"

kill_process api8 STOP
ok 'one stands still'              answers 503 api0 /payments-summary
ok 'its name is told'              body_says 'no answer within 200 ms' "unix:$play_dir/east.peer"
ok 'the own sums are there'        summary_has api0 default 0 0.00 '?scope=local'
kill_process api8 CONT
ok 'it goes on'                    eventually 5 answers 200 api0 /payments-summary
ok 'it stops when told'            kill_process api8 TERM
ok 'its socket is gone'            not test -e "$play_dir/east.peer"
ok 'it is missed at once'          answers 503 api0 /payments-summary
ok 'by name'                       body_says "peer unix:$play_dir/east.peer cannot be reached"
restart_process api8
# shellcheck disable=SC2086
ok 'back again'                    summary_has api0 default $there
done_testing
