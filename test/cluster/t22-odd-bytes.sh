#!/bin/sh
description='Whatever a processor puts on the wire, beside or instead of the answer of the contract,
and however it spells what its book holds, every payment is charged once and counted as it stands
there.'
. test/lib/cluster.sh

is_met() {
    [ $(($(odd_met default "$1") + $(odd_met fallback "$1"))) -gt 0 ]
}

cluster_start --apis 2 --workers 2 --processors-later
odd_start default 221 fine
odd_start fallback 222 fine

# Each alone first, so that a failure names it.
for kind in twice-at-once twice-later twice-500 other-object empty-object empty-200 list chunks \
    chunk-cut http-1.0 http-1.0-cut interim interim-only length-short length-long length-twice \
    head-cut reset-before reset-after reset-then-pay 500-empty 500-chunked 500-bare 500-body-paid \
    500-body-cut 502-paid 503 404 201-paid 302 422-never-paid 422-paid 429-long 429-longer 400 late; do
    odd_kinds default "$kind" && odd_kinds fallback "$kind"
    ok "$kind: the load is answered" post_many --count 4 --rate 100 --seed "22$tests_run"
    ok "$kind: is met"          eventually 5 is_met "$kind"
    odd_kinds default fine && odd_kinds fallback fine
    ok "$kind: the books agree" books_agree_within 20
done

all=fine,fine,fine,twice-at-once,twice-500,other-object,empty-object,empty-200,list
all=$all,chunks,chunk-cut,http-1.0,http-1.0-cut,interim,interim-only,length-short,length-long
all=$all,length-twice,head-cut,reset-before,reset-after,reset-then-pay,500-empty,500-chunked
all=$all,500-bare,500-body-paid,500-body-cut,502-paid,503,404,201-paid,302,422-never-paid,422-paid
all=$all,429-long,429-longer,400,late,twice-later
fines=fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine,fine
odd_kinds default "$all,$fines,$fines"
odd_kinds fallback "$all"
load_start --seconds 15 --rate 100 --seed 223 --duplicates 10 --amounts 19.90,0.01,1e3,123456.78,2
for name in worker0 worker1; do
    before=$(counter api.accepted)
    ok "$name is killed"        kill_process "$name" KILL
    restart_process "$name"
    ok 'payments are accepted'  eventually 5 load_has_posted $((before + 100))
done
ok 'the load is answered'       load_wait
odd_kinds default fine && odd_kinds fallback fine
ok 'the books agree'            books_agree_within 60
ok 'and stay so'                stays 2 books_agree
ok 'the windows agree'          windows_agree
done_testing
