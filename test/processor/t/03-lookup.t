#!/bin/sh
# GET /payments/{id}: what was stored, in the real processor's spelling.
. test/processor/t/lib.sh
processor_start

shows() { # amount, requestedAt sent, amount shown, requestedAt shown
    new_id
    post $id "$1" "$2" >/dev/null
    is "a look-up of $1 at $2 is answered 200" "$(lookup $id)" 200
    is "and shows $3 at $4" "$(body)" \
        "{\"correlationId\":\"$id\",\"amount\":$3,\"requestedAt\":\"$4\"}"
}
shows 19.90 2025-07-15T12:34:56.789Z 19.90 2025-07-15T12:34:56.789
shows 19.9 2025-07-15T12:34:56.780Z 19.9 2025-07-15T12:34:56.78
shows 20 2025-07-15T12:34:56.000Z 20 2025-07-15T12:34:56
shows 19.905 2025-07-15T12:34:56.123456Z 19.90 2025-07-15T12:34:56.123456
shows 1e2 2025-07-15T14:34:56.1+02:00 100 2025-07-15T12:34:56.1

is 'upper case finds it too' "$(lookup "$(echo $id | tr a-f A-F)")" 200
is 'and is shown in lower case' "$(body | cut -c19-54)" $id
new_id
is 'an unknown id is a 404' "$(lookup $id)" 404
is 'so is what is no id' "$(lookup abc)" 404

new_id
post $id 1.00 >/dev/null
set_delay 5000
set_failure true
began=$(now_ms)
is 'it needs no token and is not subject to the failure flag' "$(lookup $id)" 200
between 'nor to the delay' $(($(now_ms) - began)) 0 1000
i=0
while [ $((i += 1)) -le 5 ]; do lookup $id; echo; done >"$tmp/statuses"
is 'nor to the limit of service-health' "$(sort -u "$tmp/statuses")" 200
set_failure false
set_delay 0
admin POST purge-payments >/dev/null
is 'after a purge it is a 404' "$(lookup $id)" 404
is 'and the id can be inserted again' "$(post $id 2.00)" 200
lookup $id >/dev/null
is 'with its new amount' "$(body | cut -c57-69)" '"amount":2.00'
done_testing
