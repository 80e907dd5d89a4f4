#!/bin/sh
description='An API refuses when the ledger could not hold all that may still settle: what was
accepted always has its row.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1 PAYRING_LANES=1 PAYRING_RING_SLOTS=64 PAYRING_PAYMENT_SLOTS=256 \
    PAYRING_LEDGER_ROWS=8192 PAYRING_HORIZON_PAYMENTS=16384
# As often as it takes: on a busy machine most find a full ring.
seed=131
more_until_full() {
    seed=$((seed + 1))
    post_many --count 3000 --seed "$seed" --rate 2500 --amounts 19.90,100000000.00 &&
        counter_at_least api.ledger_full 1
}
ok 'some were turned away'      eventually 120 more_until_full
ok 'long before there was a warning' same \
    "$(sed -n 's/.*event=ledger_filling .*used_percent=\([89]\).*/\1/p' "$play_dir/worker0.log")" "$(printf '8\n9')"
ok '... two of them'            counter_is lane.ledger_warnings 2
ok 'the books agree'            books_agree_within 30
ok 'the windows agree'          windows_agree
done_testing
