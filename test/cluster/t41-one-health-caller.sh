#!/bin/sh
description='All workers together call service-health at most once in 5 s, also when the caller
is killed and another takes its place.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 2
was_called() { # times, so far
    [ "$(processor_stat default health_calls)" -ge "$1" ]
}
five_seconds_apart() { # processor
    ask "$1" stats | sed 's/.*"health_calls_at_us":\[\([^]]*\)\].*/\1/' | tr , '\n' |
        awk 'NR > 1 && $1 - last < 5000000 { print "only", $1 - last, "us apart"; bad = 1 }
             { last = $1 } END { exit bad || NR < 3 }'
}

ok 'the first call'               eventually 8 was_called 1
ok 'worker0 is killed'            kill_process worker0 KILL
restart_process worker0
ok 'the second'                   eventually 8 was_called 2
ok 'worker1 is killed'            kill_process worker1 KILL
restart_process worker1
ok 'the third'                    eventually 8 was_called 3
ok 'five seconds apart'           five_seconds_apart default
ok 'at the fallback too'          five_seconds_apart fallback
is 'the default refused none'     "$(processor_stat default health_refused)" 0
is 'nor did the fallback'         "$(processor_stat fallback health_refused)" 0
ok 'accepted'                     post_payment api0 "$(new_id)" 19.90
ok 'the books agree'              books_agree_within 10
done_testing
