#!/bin/sh
description='Every way to write an amount and an id is settled as the cents it means, rounded
half to even, and the same id in other letters is the same payment.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1
sum=0
count=0

settles() { # amount cents
    local id
    id=$(new_id)
    ok "accepted: $1"             post_payment api0 "$id" "$1"
    ok "$1 is $2 cents upstream"  eventually 5 processor_holds default "$id" "$2"
    sum=$((sum + $2))
    count=$((count + 1))
}

settles 19.90 1990
settles 1 100
settles 1e2 10000
settles 1E+2 10000
settles 125e-2 125
settles 0.01 1
settles 0.006 1
settles 0.015 2
settles 0.025 2
settles 19.905 1990
settles 19.915 1992
settles 0.0150000000000000000000000001 2
settles 0.0050000000000000000000000001 1
settles 1.005 100
settles 1.015 102
settles 2.675 268
settles 0.1E1 100
settles 0.00000000000000000001e20 100
settles 100000000000000000000e-20 100
settles 100000.00 10000000
settles 99999999.99 9999999999
ok 'the summary adds cents'       eventually 5 summary_has api1 default "$count" \
    "$(printf '%d.%02d' $((sum / 100)) $((sum % 100)))"

largest=$(new_id)
ok 'the largest amount'           post_payment api1 "$largest" 100000000000.00
ok 'settled to the cent'          eventually 5 processor_holds default "$largest" 10000000000000

lower=4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3
upper=4A7901B8-7D26-4D9D-AA19-4DC1C7CF60B3
ok 'an id in capitals'            post_payment api0 "$upper" 5.00
ok 'settled'                      eventually 5 payment_is api0 "$lower" settled
ok 'in small letters: the same'   post_payment api1 "$lower" 5.00
ok 'members in any order, others ignored' answers "$(
    call api0 /payments -d "{\"x\":[1,{\"amount\":7}],\"amount\":5.00,\"correlationId\":\"$upper\"}"
    echo "$status"
)" api0 /payments -d "{\"amount\":5.00,\"note\":null,\"correlationId\":\"$lower\"}"
ok 'charged once'                 processor_holds default "$lower" 500
escaped=$(new_id)
escaped=4${escaped#?}
ok 'a name and an id in escapes'  answers 202 api0 /payments \
    -d " { \"\\u0061mount\" : 7.00 , \"correlationId\" : \"\\u0034${escaped#?}\" } "
printf '%s\t7.00\t202\n' "$escaped" >>"$play_dir/posted"
ok 'are those that they mean'     eventually 5 processor_holds default "$escaped" 700
ok 'the books agree'              books_agree_within 5
ok 'the windows agree'            windows_agree
done_testing
