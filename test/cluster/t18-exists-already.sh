#!/bin/sh
description='A 422 is looked into: what stands in the book from before this region is counted as
it stands there, what came from elsewhere is not counted, another amount is a conflict.'
. test/lib/cluster.sh

# One lane: what was bound before is a lane's own knowledge, and the ids here are random.
cluster_start --apis 2 --workers 1 PAYRING_LANES=1
old=$(new_id)
other_amount=$(new_id)
ok 'inserted long ago'              insert_elsewhere default "$old" 19.90 2024-01-01T00:00:00.123Z
ok 'inserted with another amount'   insert_elsewhere default "$other_amount" 5.00 2024-01-01T00:00:00.000Z

ok 'accepted'                       post_payment api0 "$old" 19.90
ok 'settled: it can be but ours'    eventually 10 payment_is api1 "$old" settled default
ok 'counted by the time it has there' summary_has api0 default 1 19.90 \
    '?from=2024-01-01T00:00:00.123Z&to=2024-01-01T00:00:00.123Z'

ok 'accepted with another amount'   post_payment api1 "$other_amount" 6.00
ok 'a conflict'                     eventually 10 payment_is api0 "$other_amount" conflict
ok 'not counted'                    summary_has api0 default 1 19.90

# Something has been bound now, so a later time may be one that this ledger has counted already.
ok 'a payment of our own'           post_payment api0 "$(new_id)" 1.00
ok 'settled'                        eventually 5 summary_has api0 default 2 20.90
recent=$(new_id)
ok 'inserted just now by another'   insert_elsewhere default "$recent" 7.00 \
    "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)"
ok 'accepted'                       post_payment api0 "$recent" 7.00
ok 'a duplicate'                    eventually 10 payment_is api0 "$recent" duplicate
ok 'not counted'                    summary_has api1 default 2 20.90

# On a later attempt: the first is executed and its answer lost, so the second meets our own.
processor default misbehaves error-after count=1
later=$(new_id)
ok 'accepted'                       post_payment api1 "$later" 3.00
ok 'ours: settled'                  eventually 10 payment_is api0 "$later" settled default
ok 'counted'                        summary_has api0 default 3 23.90
printf '%s\t19.90\tlost\n%s\t5.00\tlost\n' "$old" "$other_amount" >>"$play_dir/posted"
ok 'the books agree'                books_agree_within 5 \
    --not-counted "$other_amount" --not-counted "$recent"
done_testing
