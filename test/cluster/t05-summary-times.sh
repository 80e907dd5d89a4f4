#!/bin/sh
description='The summary takes every RFC 3339 time, inclusive at both ends, one bound alone,
and refuses what it would have to guess.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1
ok 'accepted' post_payment api0 "$(new_id)" 19.90
ok 'settled'  eventually 5 summary_has api0 default 1 19.90
requested_us=$(book default | cut -f 3)
second=$((requested_us / 1000000))
ms=$(printf '%03d' $((requested_us / 1000 % 1000)))
at=$(date -u -d "@$second" +%Y-%m-%dT%H:%M:%S).$ms
before=$(date -u -d "@$((second - 1))" +%Y-%m-%dT%H:%M:%S).$ms
after=$(date -u -d "@$((second + 1))" +%Y-%m-%dT%H:%M:%S).$ms
east=$(date -u -d "@$((second + 5400))" +%Y-%m-%dT%H:%M:%S).$ms
west=$(date -u -d "@$((second - 10800))" +%Y-%m-%dT%H:%M:%S).$ms

counts() { # what query
    ok "in: $1" summary_has api0 default 1 19.90 "$2"
}
leaves_out() { # what query
    ok "out: $1" summary_has api0 default 0 0.00 "$2"
}
refuses() { # what query
    ok "400: $1" answers 400 api0 "/payments-summary$2"
}

counts     'both bounds on the instant'    "?from=${at}Z&to=${at}Z"
counts     'no bounds'                     ''
counts     'empty query'                   '?'
counts     'from alone'                    "?from=${before}Z"
counts     'to alone'                      "?to=${after}Z"
leaves_out 'from alone, later'             "?from=${after}Z"
leaves_out 'to alone, earlier'             "?to=${before}Z"
leaves_out 'from after to'                 "?from=${after}Z&to=${before}Z"
counts     'to before from in the query'   "?to=${after}Z&from=${before}Z"
counts     'nine digits'                   "?from=${at}000000Z&to=${at}000000Z"
leaves_out 'from a nanosecond later'       "?from=${at}000001Z"
counts     'to a nanosecond later'         "?to=${at}000001Z"
counts     'no fraction'                   "?from=${before%.*}Z&to=$(date -u -d "@$((second + 1))" +%Y-%m-%dT%H:%M:%S)Z"
counts     'one digit'                     "?from=${before%.*}.0Z"
counts     'offset east, encoded'          "?from=${east}%2B01:30&to=${east}%2B01:30"
counts     'offset east, a plus as it is'  "?from=${east}+01:30&to=${east}+01:30"
counts     'offset east, small hex digits' "?from=${east}%2b01%3a30&to=${east}%2b01%3a30"
counts     'offset of an unknown place'    "?from=${at}-00:00&to=${at}-00:00"
counts     'names in escapes'              "?%66rom=${at}Z&t%6f=${at}Z"
leaves_out 'names in escapes, later'       "?%66rom=${after}Z"
counts     'the first and the last moment' '?from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59.999999999Z'
counts     '29 February of a leap year'    '?from=2024-02-29T00:00:00Z'
counts     'the far east'                  '?from=2025-01-01T00:00:00%2B14:00'
counts     'offset west'                   "?from=${west}-03:00&to=${west}-03:00"
counts     'percent-encoded colons'        "?from=$(echo "${at}Z" | sed 's/:/%3A/g')"
counts     'small letters t and z'         "?from=$(echo "${at}z" | tr T t)"
refuses    'no zone'                       "?from=$at"
refuses    'a date alone'                  '?from=2025-07-01'
refuses    'month 13'                      '?from=2025-13-01T00:00:00Z'
refuses    '30 February'                   '?from=2025-02-30T00:00:00Z'
refuses    '29 February of no leap year'   '?to=2025-02-29T00:00:00Z'
refuses    'hour 24'                       '?from=2025-07-01T24:00:00Z'
refuses    'a leap second'                 '?from=2016-12-31T23:59:60Z'
refuses    'the year 0'                    '?from=0000-01-01T00:00:00Z'
refuses    'before the year 1 in UTC'      '?from=0001-01-01T00:00:00%2B00:01'
refuses    'no seconds'                    '?from=2025-07-01T00:00Z'
refuses    'a space for the T'             '?from=2025-07-01%2000:00:00Z'
refuses    'an offset without a colon'     '?from=2025-07-01T00:00:00%2B0100'
refuses    'an offset of 24 hours'         '?from=2025-07-01T00:00:00%2B24:00'
refuses    'a comma for the point'         '?from=2025-07-01T00:00:00,5Z'
refuses    'a NUL'                         "?from=${at}Z%00"
refuses    'no value'                      '?from'
refuses    'ten digits'                    '?from=2025-07-01T00:00:00.0000000000Z'
refuses    'a point and no digits'         '?from=2025-07-01T00:00:00.Z'
refuses    'offset of 25 hours'            '?from=2025-07-01T00:00:00%2B25:00'
refuses    'empty'                         '?from='
refuses    'words'                         '?to=now'
refuses    'trailing garbage'              '?from=2025-07-01T00:00:00Zx'
refuses    'a bound twice'                 "?from=${at}Z&from=${at}Z"
refuses    'half an escape'                '?from=2025-07-01T00%3:00:00Z'
ok 'the books agree' books_agree_within 5
done_testing
