#!/bin/sh
description='Under default-only a failing default is waited for: nothing is ever paid through
the fallback, and all is settled when it recovers.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_POLICY=default-only
processor default fails
load_start --seconds 4 --rate 200 --seed 21
ok 'accepted all the while'     load_wait
ok 'nothing through fallback'   summary_has api0 fallback 0 0.00
is 'nor in its book'            "$(book fallback)" ''
processor default recovers
ok 'all settled with default'   eventually 30 summary_has api1 default 800 15920.00
ok 'the books agree'            books_agree_within 10
ok 'the windows agree'          windows_agree
done_testing
