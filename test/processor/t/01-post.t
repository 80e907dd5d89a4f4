#!/bin/sh
# POST /payments: what is booked, what is refused, and how amounts are rounded.
. test/processor/t/lib.sh
processor_start

new_id
is 'a new payment is answered 200' "$(post $id 19.90)" 200
is 'with a message' "$(body | cut -c1-11)" '{"message":'
is 'it is in the books' "$(in_books $id)" 1
is 'the same id again is answered 422' "$(post $id 19.90)" 422
is 'with another amount too' "$(post $id 5.00)" 422
is 'in upper case too' "$(post "$(echo $id | tr a-f A-F)" 19.90)" 422
is 'the books keep the first' "$(books | cut -f1,2)" "$id	1990"

refused() { # name, body
    before=$(stat payments)
    is "400: $1" "$(call POST /payments "$2")" 400
    is "not executed: $1" "$(stat payments)" "$before"
}
new_id
refused 'no JSON' 'amount=1'
refused 'an empty object' '{}'
refused 'no correlationId' '{"amount":1,"requestedAt":"2025-07-15T12:34:56Z"}'
refused 'no amount' "{\"correlationId\":\"$id\",\"requestedAt\":\"2025-07-15T12:34:56Z\"}"
refused 'no requestedAt' "{\"correlationId\":\"$id\",\"amount\":1}"
refused 'an id that is no UUID' "$(payment abc 1 $moment)"
refused 'an id with a wrong character' "$(payment 0000000g-0000-4000-8000-000000000000 1 $moment)"
refused 'an amount that is a string' "$(payment $id '"1.00"' $moment)"
refused 'an amount that is NaN' "$(payment $id NaN $moment)"
refused 'an amount with a leading zero' "$(payment $id 01 $moment)"
refused 'an amount beyond all limits' "$(payment $id 1e40 $moment)"
refused 'a day that does not exist' "$(payment $id 1 2025-02-29T00:00:00Z)"
refused 'an hour that does not exist' "$(payment $id 1 2025-02-28T24:00:00Z)"
refused 'something behind the time' "$(payment $id 1 ${moment}x)"
refused 'a fraction without digits' "$(payment $id 1 2025-02-28T00:00:00.Z)"
refused 'something behind the object' "$(payment $id 1 $moment)}"
refused 'a trailing comma' "{\"correlationId\":\"$id\",\"amount\":1,\"requestedAt\":\"$moment\",}"

rounds() { # amount, cents
    new_id
    post $id "$1" >/dev/null
    is "$1 is $2 cents" "$(books | grep "^$id" | cut -f2)" "$2"
}
rounds 0.005 0
rounds 0.015 2
rounds 0.025 2
rounds 19.905 1990
rounds 19.915 1992
rounds 19.9050000000000000000001 1991
rounds 19.9149999999999999999999 1991
rounds 19.904999 1990
rounds 1e2 10000
rounds 1.5E+1 1500
rounds 12345e-3 1234
rounds 12355e-3 1236
rounds 0.05e-1 0
rounds 5e-4 0
rounds 9.995 1000
rounds 0.1 10
rounds 77.8299999999999982946974341757595539093017578125 7783
rounds 10000000000000.00 1000000000000000

at() { # requestedAt, microseconds
    new_id
    post $id 1 "$1" >/dev/null
    is "$1 is read exactly and kept as sent" "$(books | grep "^$id" | cut -f3,5)" "$2	$1"
}
at 2025-07-15T12:34:56.789Z 1752582896789000
at 2025-07-15T12:34:56.789 1752582896789000
at 2025-07-15T12:34:56 1752582896000000
at 2025-07-15T12:34:56.7 1752582896700000
at 2025-07-15T12:34:56.789012Z 1752582896789012
at 2025-07-15T12:34:56.7890129Z 1752582896789012
at 2025-07-15T12:34:56.000001 1752582896000001
at 2025-07-15T15:34:56.789+03:00 1752582896789000
at 2025-07-15T09:04:56.789-03:30 1752582896789000
at 2024-02-29T00:00:00.000Z 1709164800000000
at 1969-12-31T23:59:59.999Z -1000

is 'a wrong method is answered 405' "$(call DELETE /payments)" 405
is 'an unknown path is answered 404' "$(call POST /payment)" 404
done_testing
