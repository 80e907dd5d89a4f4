#!/bin/sh
description='A default processor that turns slow delays its payments and loses none; with a
deadline it cannot keep, new ones go to the fallback.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_DEADLINE_MS=1500
ok 'fast at first'              post_many --count 200 --seed 11
ok 'all with the default'       eventually 10 summary_has api0 default 200 3980.00
processor default delay 3000
load_start --seconds 6 --rate 100 --seed 12
ok 'the load is answered'       load_wait
ok 'the books agree'            books_agree_within 30
ok 'the fallback had its share' not summary_has api0 fallback 0 0.00
processor default delay 0
ok 'the windows agree'          windows_agree
done_testing
