#!/bin/sh
# GET /admin/payments-summary: counts, sums, fees and the window.
. test/processor/t/lib.sh
processor_start --fee 0.15

summary() { # [query]
    admin GET "payments-summary$1" >/dev/null
    body
}
total() { summary "$1" | sed 's/.*"totalRequests":\([0-9]*\),.*/\1/'; }

is 'empty books' "$(summary)" \
    '{"totalAmount":0.00,"totalRequests":0,"totalFee":0.0000,"feePerTransaction":0.15}'
for second in 01 02 03; do
    new_id
    post $id 19.90 2025-01-01T00:00:$second.500Z >/dev/null
done
is 'all of it' "$(summary)" \
    '{"totalAmount":59.70,"totalRequests":3,"totalFee":8.9550,"feePerTransaction":0.15}'
is 'from and to are inclusive' \
    "$(total '?from=2025-01-01T00:00:01.500Z&to=2025-01-01T00:00:03.500Z')" 3
is 'a microsecond behind from is outside' \
    "$(total '?from=2025-01-01T00:00:01.500001Z&to=2025-01-01T00:00:03.500Z')" 2
is 'a microsecond before to is outside' \
    "$(total '?from=2025-01-01T00:00:01.500Z&to=2025-01-01T00:00:03.499999Z')" 2
is 'from equal to to is a window' \
    "$(total '?from=2025-01-01T00:00:02.500Z&to=2025-01-01T00:00:02.500Z')" 1
is 'from behind to is empty' \
    "$(total '?from=2025-01-01T00:00:03.500Z&to=2025-01-01T00:00:01.500Z')" 0
is 'without to there is no filter at all' "$(total '?from=2025-01-01T00:00:03Z')" 3
is 'without from there is no filter at all' "$(total '?to=2025-01-01T00:00:01Z')" 3
is 'percent-encoded and without Z' \
    "$(total '?from=2025-01-01T00%3A00%3A02.500&to=2025-01-01T00%3A00%3A03.5')" 2
is 'with an offset' \
    "$(total '?from=2025-01-01T02:00:02.500%2B02:00&to=2025-01-01T02:00:02.500%2B02:00')" 1
is 'in the other order' "$(total '?to=2025-01-01T00:00:02.500Z&from=2025-01-01T00:00:01.500Z')" 2
is 'what is no time is a 400' "$(admin GET 'payments-summary?from=yesterday&to=today')" 400
token=wrong
is 'a wrong token is a 401' "$(admin GET payments-summary)" 401
is 'no token is a 401' "$(call GET /admin/payments-summary)" 401
token=123
i=0
while [ $((i += 1)) -le 40 ]; do new_id; post $id 0.10 >/dev/null; done
is 'sums are exact' "$(summary)" \
    '{"totalAmount":63.70,"totalRequests":43,"totalFee":9.5550,"feePerTransaction":0.15}'
done_testing
