#!/bin/sh
description='docs/openapi.json says what the API answers: nothing that is answered is missing there,
and all that stands there is answered.'
. test/lib/cluster.sh

transcript=$play_dir/transcript
# Small rings are soon full; policy deadline turns to the fallback in time to be seen.
cluster_start --apis 1 --workers 1 PAYRING_API_SLOTS=2 PAYRING_RING_SLOTS=64 \
    PAYRING_PAYMENT_SLOTS=1024 PAYRING_BODY_LIMIT=1024 PAYRING_DEADLINE_MS=1000

# says STATUS METHOD TARGET [record-http options...]: of api0, or of $of.
of=api0
says() {
    local expected="$1"
    shift
    status=$(test/lib/record-http --socket "$play_dir/$of.sock" --transcript "$transcript" \
        --answer "$play_dir/answer" "$@")
    same "$status" "$expected"
}
asks() { # STATUS METHOD TARGET [options...]: one test
    ok "$1: $2 $(echo "$3" | cut -c 1-70)" says "$@"
}
sends() { # STATUS BODY
    ok "$1: POST /payments $(echo "$2" | cut -c 1-70)" says "$1" POST /payments --body "$2"
}
payment() { # id amount
    printf '{"correlationId":"%s","amount":%s}' "$1" "$2"
}
shows() { # ID TEXT...: what GET /payments/{id} holds
    local id="$1"
    shift
    says 200 GET "/payments/$id" && body_says "$@"
}

# --- what is good, bad, and not there -----------------------------------------------------------

asks 200 GET /healthz
asks 200 HEAD /healthz
asks 200 GET /payments-summary
id=$(new_id)
asks 404 GET "/payments/$id"
asks 404 HEAD "/payments/$id"
sends 202 "$(payment "$id" 19.90)"
ok 'settled'          eventually 5 shows "$id" '"settled"' '"default"' '"pinned":false'
sends 202 "$(payment "$id" 1990e-2)"
sends 409 "$(payment "$id" 20)"
asks 200 GET "/payments/$(echo "$id" | tr a-f A-F)"
asks 200 HEAD "/payments/$id"
for amount in 0.0051 0.01 1e3 100000000000.005; do
    sends 202 "$(payment "$(new_id)" $amount)"
done
for amount in 0 -19.90 0.005 1e-3 100000000000.01 1e400 99999999999999999999 '"1"' null true; do
    sends 400 "$(payment "$id" "$amount")"
done
for bad in hello '' null '[]' '{"amount":1}' "{\"correlationId\":\"$id\"}" "$(payment "${id%?}" 1)" \
    "$(payment "${id}0" 1)" "$(payment "${id%?}g" 1)" '{"correlationId":1,"amount":1}' \
    "$(payment "$id" '1,"amount":2')"; do
    sends 400 "$bad"
done
sends 202 "$(payment "$(new_id)" '1,"note":{"ignored":[null]}')"
sends 413 "$(payment "$id" "1,\"x\":\"$(printf '%01024d' 0)\"")"
asks 400 GET /payments/hello
asks 400 HEAD "/payments/${id%?}%41"

for bound in 2025-07-15T12:34:56.000Z 2025-07-15t12:34:56.123456789z 2025-07-15T12:34:56+01:30 \
    2025-07-15T12%3A34%3A56%2B01:30 0001-01-01T00:00:00Z 9999-12-31T23:59:59.999Z; do
    asks 200 GET "/payments-summary?from=$bound&other=1"
    asks 200 GET "/payments-summary?other&to=$bound"
    asks 200 HEAD "/payments-summary?to=$bound&from=$bound"
done
for bound in '' now 2025-07-15 2025-07-15T12:34:56 2025-02-29T00:00:00Z 2025-13-01T00:00:00Z \
    2025-07-15T24:00:00Z 2025-07-15T12:34:60Z 2025-07-15T12:34:56.0000000000Z 0000-01-01T00:00:00Z \
    2025-07-15T12:34:56+24:00 2025-07-15%2012:34:56Z; do
    asks 400 GET "/payments-summary?from=$bound"
    asks 400 GET "/payments-summary?to=$bound"
done
asks 400 GET '/payments-summary?to=2025-07-15T12:34:56Z&to=2025-07-15T12:34:56Z'
asks 400 HEAD '/payments-summary?other=%zz'
for scope in all local; do
    asks 200 GET "/payments-summary?scope=$scope"
    asks 200 HEAD "/payments-summary?scope=$scope"
done
for scope in '' LOCAL everything "local&scope=local"; do
    asks 400 GET "/payments-summary?scope=$scope"
done

for path in / /payments/ "/payments/$id/" /payments.json /%70ayments /Payments /healthz/ /docs; do
    asks 404 GET "$path"
    asks 404 POST "$path" --body "$(payment "$id" 1)"
done
asks 404 HEAD /nothing
asks 404 OPTIONS '*'
for path in /payments /purge-payments; do
    for method in GET HEAD PUT DELETE OPTIONS PATCH TRACE BREW; do asks 405 "$method" "$path"; done
done
for path in "/payments/$id" /payments-summary /healthz; do
    for method in POST PUT DELETE OPTIONS PATCH TRACE BREW; do asks 405 "$method" "$path"; done
done

asks 413 GET /healthz --header 'Content-Length: 4096'
asks 413 POST /nothing --header 'Content-Length: 4096'
asks 417 POST /payments --header 'Expect: the-unexpected' --body "$(payment "$id" 1)"
sends_raw() { # NAME TEXT
    ok "400: $1" says 400 --raw "$2"
}
sends_raw 'no request'             'hello\r\n\r\n'
sends_raw 'a header with a space'  'GET /healthz HTTP/1.1\r\nA B: c\r\n\r\n'
sends_raw 'a length of no number'  'POST /payments HTTP/1.1\r\nContent-Length: 1x\r\n\r\n{'
sends_raw 'a broken chunk'         'POST /payments HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{'
sends_raw 'an unknown encoding'    'POST /payments HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{'
sends_raw 'HTTP/2'                 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

# --- every state of a payment -------------------------------------------------------------------

# Some time after the last acceptance, so that it has not been counted here already.
recent=$(new_id)
ok 'inserted by another'  insert_elsewhere default "$recent" 7.00 "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)"
sends 202 "$(payment "$recent" 7)"
ok 'a duplicate'          eventually 10 shows "$recent" '"duplicate"'
other_amount=$(new_id)
ok 'inserted by another'  insert_elsewhere default "$other_amount" 5.00 2024-01-01T00:00:00.000Z
sends 202 "$(payment "$other_amount" 6)"
ok 'a conflict'           eventually 10 shows "$other_amount" '"conflict"'
sends 409 "$(payment "$other_amount" 6)"
is 'for good'             "$(sed 's/.*"field"://' "$play_dir/answer")" '"correlationId"}'

processor default misbehaves refuse-400
processor fallback misbehaves refuse-400
id=$(new_id)
sends 202 "$(payment "$id" 1)"
ok 'rejected'             eventually 15 shows "$id" '"rejected"'
processor default behaves
processor fallback behaves

# Of both processors: which of them is asked depends on how the last payments went.
both() {
    processor default "$@"
    processor fallback "$@"
}
both delay 1500
id=$(new_id)
sends 202 "$(payment "$id" 1)"
ok 'sent'                 eventually 5 shows "$id" '"sent"' '"pinned":false'
both delay 0
ok 'settled'              eventually 10 shows "$id" '"settled"'
id=$(new_id)
both misbehaves error-before "correlationId=$id"
sends 202 "$(payment "$id" 1)"
ok 'pinned'               eventually 5 shows "$id" '"sent"' '"pinned":true'
both behaves
ok 'settled'              eventually 10 shows "$id" '"settled"'

both fails
id=$(new_id)
sends 202 "$(payment "$id" 1)"
ok 'queued'               eventually 10 shows "$id" '"queued"' '"none"' '"requestedAt":null'
processor fallback recovers
ok 'settled with the fallback' eventually 20 shows "$id" '"settled"' '"fallback"'
processor default recovers

# --- not now ------------------------------------------------------------------------------------

asks 200 POST /purge-payments
asks 200 POST /purge-payments --body ignored
kill_process worker0 TERM
asks 200 GET /healthz
id=$(new_id)
sends 202 "$(payment "$id" 19.90)"
ok 'accepted'             shows "$id" '"accepted"'
asks 503 POST /purge-payments
ok 'more than fits'       post_many --count 400 --seed 601
ring_is_full() {
    says 503 POST /payments --body "$(payment "$(new_id)" 1)"
}
ok 'the ring is full'     eventually 5 ring_is_full
restart_process worker0
ok 'accepts again'        eventually 10 says 202 POST /payments --body "$(payment "$(new_id)" 1)"

# Whether everything ends in time is t74's affair.
"$build/payringctl" drain --timeout 1 >"$play_dir/drain.log" 2>&1
sends 503 "$(payment "$(new_id)" 1)"
asks 503 GET /healthz
asks 503 HEAD /healthz
ok 'opened again'         "$build/payringctl" drain --resume
sends 202 "$(payment "$(new_id)" 1)"

configure api1 PAYRING_PURGE=off "PAYRING_PEERS=unix:$play_dir/nobody" \
    PAYRING_PEER_SECRET=known-to-all-peers
restart_process api1
of=api1
asks 503 GET /payments-summary
asks 503 HEAD /payments-summary
asks 200 GET '/payments-summary?scope=local'
asks 403 POST /purge-payments
asks 200 GET /healthz
of=api0

rm -f "/dev/shm/$PAYRING_REGION"
ok 'the region is gone'   eventually 5 says 503 GET /healthz
asks 503 HEAD /healthz
asks 503 POST /payments --body "$(payment "$(new_id)" 1)"
asks 503 POST /purge-payments
for path in "/payments/$id" /payments-summary; do
    asks 503 GET "$path"
    asks 503 HEAD "$path"
done
asks 404 GET /nothing
asks 405 GET /payments

# --- with a journal -------------------------------------------------------------------------------

mkdir "$play_dir/state" "$play_dir/elsewhere"
kill_at_once worker0 api0 api1
rm -f "/dev/shm/$PAYRING_REGION".*
ok 'a region with a journal'  env PAYRING_DURABILITY=sync "PAYRING_STATE_DIR=$play_dir/state" \
    PAYRING_LEDGER_SEGMENT_ROWS=4096 "$build/payringctl" create
configure api0 "PAYRING_STATE_DIR=$play_dir/state" PAYRING_DURABLE_TIMEOUT_MS=100
restart_process api0
says_of_journal() {
    says "$2" GET /healthz && body_says "\"journal\":\"$1\""
}
ok 'nobody has opened it'     says_of_journal 'not open' 200
asks 503 POST /payments --body "$(payment "$(new_id)" 1)"
ok 'it is not known to be durable' body_says 'not known to be durable yet'
configure worker0 "PAYRING_STATE_DIR=$play_dir/state" PAYRING_WORKER_LANES=2
restart_process worker0
ok 'it works'                 eventually 10 says_of_journal working 200
kill_process worker0 KILL
configure worker0 "PAYRING_STATE_DIR=$play_dir/elsewhere" PAYRING_WORKER_LANES=2
restart_process worker0
ok 'it is not there'          eventually 10 says_of_journal failed 503
asks 503 POST /payments --body "$(payment "$(new_id)" 1)"

# --- the reference --------------------------------------------------------------------------------

ok 'the reference is what the API says' test/lib/check-openapi docs/openapi.json "$transcript"
is 'it is of this version'              "$(perl -MJSON::PP -0777 -ne 'print decode_json($_)->{info}{version}' \
    docs/openapi.json)" "$(sed -n 's/.*PAYRING_VERSION "\(.*\)"/\1/p' common/version.h)"

# doctored PERL: the document ($d) changed, as JSON.
doctored() {
    PERL="$1" perl -MJSON::PP -0777 -ne 'my $json = JSON::PP->new->allow_bignum; my $d = $json->decode($_);
        eval "$ENV{PERL}; 1" or die $@; print $json->encode($d)' docs/openapi.json >"$play_dir/doctored.json"
}
# finds TEXT PERL: with the document doctored so, the check fails and says TEXT.
finds() {
    doctored "$2" || return
    if test/lib/check-openapi "$play_dir/doctored.json" "$transcript" >"$play_dir/said" 2>&1; then
        echo 'found nothing'
        return 1
    fi
    grep -qF -- "$1" "$play_dir/said" || {
        head -n 5 "$play_dir/said"
        return 1
    }
}
c='$d->{components}'
post='$d->{paths}{q(/payments)}{post}'
doctored ''
ok 'a copy of it is as good'            test/lib/check-openapi "$play_dir/doctored.json" "$transcript"
ok 'finds an undocumented status'       finds '409 with application/json is not documented' \
    "delete ${post}{responses}{409}; delete ${c}{responses}{PaymentInConflict}"
ok 'finds an undocumented type'         finds '413 with text/plain is not documented' \
    "my \$j = ${c}{responses}{TooLarge}{content}; \$j->{q(application/json)} = delete \$j->{q(text/plain)}"
ok 'finds an undocumented body'         finds '400 with application/json is not documented' \
    "delete ${c}{responses}{IdRefused}{content}"
ok 'finds an undocumented header'       finds 'header allow is not documented' \
    "delete ${c}{responses}{MethodNotAllowed}{headers}; delete ${c}{headers}{Allow}"
ok 'finds an undocumented member'       finds 'Payment.pinned is not documented' \
    "delete ${c}{schemas}{Payment}{properties}{pinned}"
ok '... in an array'                    finds 'rowsLeft is not documented' \
    "delete ${c}{schemas}{Health}{properties}{lanes}{items}{properties}{rowsLeft}"
ok 'finds an undocumented state'        finds '"rejected", none of' \
    "pop @{ ${c}{schemas}{Payment}{properties}{state}{enum} }"
ok 'finds an undocumented null'         finds 'requestedAt is null' \
    "${c}{schemas}{Payment}{properties}{requestedAt}{type} = q(string)"
ok 'finds a wrong type'                 finds 'totalRequests is integer, not string' \
    "${c}{schemas}{Totals}{properties}{totalRequests} = { type => q(string) }"
ok 'finds an undocumented path'         finds '200 with application/json is not documented' \
    "delete \$d->{paths}{q(/payments-summary)}; delete @{ ${c}{parameters} }{qw(From To Scope)};
     delete @{ ${c}{responses} }{qw(SummaryFound WindowRefused)}; delete @{ ${c}{schemas} }{qw(Totals Time)}"
ok 'finds an undocumented method'       finds '200 with application/json is not documented' \
    "delete \$d->{paths}{q(/healthz)}{head}"
ok 'finds a method that is not allowed' finds 'never seen: PATCH /healthz 200' \
    "\$d->{paths}{q(/healthz)}{patch} = { %{ \$d->{paths}{q(/healthz)}{get} }, operationId => q(x) }"
ok 'finds a path that is not there'     finds 'never seen: GET /docs 200' \
    "\$d->{paths}{q(/docs)} = { get => { %{ \$d->{paths}{q(/healthz)}{get} }, operationId => q(x) },
     q(x-other-methods) => \$d->{paths}{q(/healthz)}{q(x-other-methods)} }"
ok 'finds a status that is not given'   finds 'never seen: POST /payments 404' \
    "${post}{responses}{404} = ${post}{responses}{400}"
ok 'finds a header that is not sent'    finds 'never seen: POST /payments 202: header Allow' \
    "${post}{responses}{202}{headers}{Allow} = { schema => {} }"
ok '... and one that has to be'         finds 'no header Retry-After' \
    "${c}{responses}{Unhealthy}{headers} = ${c}{responses}{Unavailable}{headers}"
ok 'finds a member that is not sent'    finds 'never seen: Totals.totalFee' \
    "${c}{schemas}{Totals}{properties}{totalFee} = {}"
ok 'finds a state that is not reached'  finds 'state is "refunded"' \
    "push @{ ${c}{schemas}{Payment}{properties}{state}{enum} }, q(refunded)"
ok 'finds a parameter that is not used' finds 'never seen: GET /payments-summary: limit' \
    "push @{ \$d->{paths}{q(/payments-summary)}{get}{parameters} },
     { name => q(limit), in => q(query), schema => {} }"
ok 'finds an input that is documented too widely' finds 'was refused, but its schema allows it' \
    "delete ${c}{schemas}{PaymentRequest}{properties}{amount}{exclusiveMinimum}"
ok '... and one too narrowly'           finds 'was taken, but' \
    "${c}{schemas}{PaymentRequest}{properties}{amount}{maximum} = 100000000000"
ok '... and a time too widely'          finds 'was refused, but its schema allows it' \
    "delete ${c}{schemas}{Time}{pattern}"
ok 'refuses a keyword that it does not check' finds 'maxProperties is not understood' \
    "${c}{schemas}{Error}{maxProperties} = 1"
ok 'refuses a reference to nothing'     finds 'there is no #/components/schemas/Error' \
    "delete ${c}{schemas}{Error}"
ok 'refuses an example that is none'    finds 'example payment' \
    "${post}{requestBody}{content}{q(application/json)}{examples}{payment}{value}{amount} = q(1)"
done_testing
