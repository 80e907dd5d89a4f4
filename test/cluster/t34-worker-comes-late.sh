#!/bin/sh
description='Payments accepted while no worker runs wait in the rings; when the rings are full the
API says so before it accepts, and everything it did accept is settled.'
. test/lib/cluster.sh

# Twice what its rings hold, to this API: of both, one may take nearly all.
fill() { # API SEED
    "$build/poster" --target "unix:$play_dir/$1.sock" --count 300 --seed "$2" >>"$play_dir/posted.many" \
        2>>"$play_dir/poster.log"
}

cluster_start --apis 2 --workers 1 PAYRING_RING_SLOTS=64 PAYRING_PAYMENT_SLOTS=1024
kill_process worker0 TERM
id=$(new_id)
ok 'accepted without a worker'      post_payment api0 "$id" 1.00
ok 'not a 404 while in a ring'      not answers 404 api0 "/payments/$id"
ok 'more than fits'                 eval 'fill api0 121 && fill api1 122'
ok 'some were turned away'          grep -q '	503	' "$play_dir/posted.many"
ok 'turned away: 503'               answers 503 api0 /payments -d "{\"correlationId\":\"$(new_id)\",\"amount\":1}"
is 'with Retry-After'               "$(curl -s -o /dev/null -D - --max-time 5 \
    --unix-socket "$play_dir/api0.sock" -d "{\"correlationId\":\"$(new_id)\",\"amount\":1}" \
    http://payring/payments | tr -d '\r' | sed -n 's/^[Rr]etry-[Aa]fter: //p')" 1
restart_process worker0
ok 'settled'                        eventually 10 payment_is api1 "$id" settled
ok 'the books agree'                books_agree_within 20
ok 'accepts again'                  eventually 5 post_payment api0 "$(new_id)" 1.00
ok 'the books agree'                books_agree_within 10
ok 'the windows agree'              windows_agree
done_testing
