#!/bin/sh
description='Whatever is not a payment is refused with a status that says why, names the
field, and leaves no trace in any book.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1 PAYRING_BODY_LIMIT=1024
id=$(new_id)
uuid='"correlationId":"'$id'"'

# refuses STATUS WHAT BODY [WORD...]: the answer is JSON and says each WORD.
refuses() {
    local expected="$1" what="$2" body="$3"
    shift 3
    ok "$expected: $what" answers "$expected" api0 /payments -d "$body"
    [ $# -eq 0 ] || ok "$what: the answer says so" body_says "$@"
}

refuses 400 'no JSON'                 'hello' error
refuses 400 'nothing'                 '' error
refuses 400 'half an object'          "{$uuid,\"amount\":1" error
refuses 400 'trailing garbage'        "{$uuid,\"amount\":1}x" error
refuses 400 'two objects'             "{$uuid,\"amount\":1}{$uuid,\"amount\":1}" error
refuses 400 'a byte order mark'       "$(printf '\357\273\277')$(echo "{$uuid,\"amount\":1}")" error
refuses 400 'no UTF-8'                "{$uuid,\"amount\":1,\"x\":\"$(printf '\300\257')\"}" UTF-8
refuses 400 'nested too deeply'       "{$uuid,\"amount\":1,\"x\":$(printf '%016d' 0 | tr 0 '[')1$(printf '%016d' 0 | tr 0 ']')}" nested
refuses 400 'trailing comma'          "{$uuid,\"amount\":1,}" error
refuses 400 'comment'                 "{$uuid,/* */\"amount\":1}" error
refuses 400 'single quotes'           "{'correlationId':'$id','amount':1}" error
refuses 400 'array'                   "[$uuid]" error
refuses 400 'number alone'            '19.90' error
refuses 400 'no id'                   '{"amount":1}' correlationId
refuses 400 'id twice'                "{$uuid,$uuid,\"amount\":1}" 'same name'
refuses 400 'id is a number'          '{"correlationId":1,"amount":1}' correlationId
refuses 400 'id is null'              '{"correlationId":null,"amount":1}' correlationId
refuses 400 'id too short'            '{"correlationId":"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b","amount":1}' correlationId
refuses 400 'id too long'             '{"correlationId":"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b33","amount":1}' correlationId
refuses 400 'id with a bad digit'     '{"correlationId":"4a7901b8-7d26-4d9d-aa19-4dc1c7cf60bg","amount":1}' correlationId
refuses 400 'id without dashes'       '{"correlationId":"4a7901b87d264d9daa194dc1c7cf60b3","amount":1}' correlationId
refuses 400 'id as a URN'             '{"correlationId":"urn:uuid:4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3","amount":1}' correlationId
refuses 400 'id in braces'            '{"correlationId":"{4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3}","amount":1}' correlationId
refuses 400 'id with a space'         '{"correlationId":" 4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3","amount":1}' correlationId
refuses 400 'no amount'               "{$uuid}" amount
refuses 400 'amount twice'            "{$uuid,\"amount\":1,\"amount\":2}" 'same name'
refuses 400 'a twin in other letters' "{$uuid,\"amount\":1,\"\\u0061mount\":2}" 'same name'
refuses 400 'amount is text'          "{$uuid,\"amount\":\"19.90\"}" amount
refuses 400 'amount is null'          "{$uuid,\"amount\":null}" amount
refuses 400 'amount is true'          "{$uuid,\"amount\":true}" amount
for amount in 0 0.00 -0 -0.0 0e5 -19.90 0.004 0.005 0.00500000000000000000000 1e-3 1e-400 \
    1e-99999999999999999999 1e14 100000000000.01 1e400 1e99999999999999999999 99999999999999999999; do
    refuses 400 "amount $amount"      "{$uuid,\"amount\":$amount}" amount
done
for amount in NaN Infinity -Infinity 019.90 00.1 -01 --1 +1 .5 1. 1.e2 1e 1e+ 0x10 1_000 '1 000' '1,5'; do
    refuses 400 "amount $amount"      "{$uuid,\"amount\":$amount}" error
done
refuses 413 'a body over the limit'   "{$uuid,\"amount\":1,\"x\":\"$(printf '%01024d' 0)\"}"
ok '413: the same in chunks' answers 413 api0 /payments -H 'Transfer-Encoding: chunked' \
    -d "{$uuid,\"amount\":1,\"x\":\"$(printf '%01024d' 0)\"}"

for path in / /payment /payments/ /payments/x /payments/../payments /%70ayments /payments.json \
    /Payments /payments-summary/ /admin/payments; do
    ok "404 or 400: POST $path" not answers 2xx api0 "$path" -d "{$uuid,\"amount\":1}"
done
ok '404: an unknown path'             answers 404 api0 /nothing-here
ok '404: not the exact path'          answers 404 api0 /payments/../payments -d "{$uuid,\"amount\":1}"
ok '404: nor an encoded one'          answers 404 api0 /%70ayments -d "{$uuid,\"amount\":1}"
ok '405: GET /payments'               answers 405 api0 /payments
ok '405: PUT /payments'               answers 405 api0 /payments -X PUT -d "{$uuid,\"amount\":1}"
ok '405: DELETE a payment'            answers 405 api0 "/payments/$id" -X DELETE
ok '405: POST the summary'            answers 405 api0 /payments-summary -d ''
ok '405: GET purge'                   answers 405 api0 /purge-payments

allow_of() {
    curl -s -o /dev/null -D - --max-time 5 --unix-socket "$play_dir/api0.sock" "http://payring$1" |
        tr -d '\r' | sed -n 's/^[Aa]llow: //p'
}
is 'Allow of /payments'               "$(allow_of /payments)" POST
is 'Allow of /purge-payments'         "$(allow_of /purge-payments)" POST
ok '404: an unknown payment'          answers 404 api0 "/payments/$id"
ok '... which may be one no longer kept' body_says 'no longer kept'
ok '400: a payment that is no id'     answers 400 api0 /payments/hello

# None of this was a payment, and the API is as well as before.
is 'the default processor saw nothing'  "$(book default)" ''
is 'the fallback processor saw nothing' "$(book fallback)" ''
ok 'still accepts'                    post_payment api0 "$id" 19.90
ok 'settled'                          eventually 5 payment_is api0 "$id" settled
ok 'the books agree'                  books_agree_within 5
done_testing
