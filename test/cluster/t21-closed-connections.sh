#!/bin/sh
description='A processor that closes kept-alive connections under our hands makes nobody send a
payment twice without knowing it.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
processor default misbehaves close-idle after_ms=0
processor fallback misbehaves close-idle after_ms=0
load_start --seconds 5 --rate 200 --seed 211
ok 'the load is answered'       load_wait
processor default misbehaves close-idle after_ms=3
processor fallback misbehaves close-idle after_ms=3
load_start --seconds 5 --rate 150 --seed 212
ok 'the load is answered'       load_wait
processor default behaves
processor fallback behaves
ok 'the books agree'            books_agree_within 30
ok 'and stay so'                stays 2 books_agree
ok 'the windows agree'          windows_agree
done_testing
