#!/bin/sh
description='While payments flow and processors turn slow, fail and recover, every window that
ended 1.5 s ago is the same with us and with them.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
load_start --seconds 20 --rate 500 --seed 151 --duplicates 5 --amounts 19.90,0.01,7,1234567.89
audit_start --seconds 20
scene() { # until that many payments were accepted
    ok "$1" eventually 10 load_has_posted "$2"
}
scene 'both fast' 2000
processor default delay 100
scene 'default at 100 ms' 4000
processor default fails
scene 'default failing' 6000
processor fallback delay 50
processor default recovers
scene 'default back, fallback slower' 8000
processor default delay 0
ok 'the load is answered'       load_wait
ok 'every window agreed'        audit_wait
ok 'the books agree'            books_agree_within 20
ok 'the windows agree'          windows_agree
done_testing
