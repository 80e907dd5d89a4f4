#!/bin/sh
description='An API that is told to stop under load answers all who have connected, tells each of
them to go away, and what it accepted is settled.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
ask_start() { # NAME CLIENTS
    test/lib/keeps-asking "$play_dir/api0.sock" "$2" "$play_dir/$1.begun" \
        >"$play_dir/posted.$1" 2>"$play_dir/$1.log" &
    echo $! >"$play_dir/$1.pid"
}
ask_wait() { # NAME
    wait "$(cat "$play_dir/$1.pid")"
}

ask_start crowd 20
ok 'the load runs'                  eventually 5 load_has_posted 500
ok 'told to, it stops'              kill_process api0 TERM
ok 'everybody was answered and told' ask_wait crowd

# The kernel has told these that they are connected; the API has not even looked at them.
restart_process api0
kill_process api0 STOP
ask_start early 30
ok 'more have connected meanwhile'  eventually 5 test -e "$play_dir/early.begun"
kill -s TERM "$(cat "$play_dir/api0.pid")"
kill_process api0 CONT
ok 'they are answered and told too' ask_wait early
ok 'it stops'                       eventually 10 has_ended "$(cat "$play_dir/api0.pid")"
is 'all of them once'               "$(cut -f 3 "$play_dir/posted.early" | sort | uniq -c | tr -s ' ')" ' 30 202'
ok 'nothing is left to be told'     not test -e "$play_dir/api0.sock"
restart_process api0
ok 'the books agree'                books_agree_within 10
ok 'the windows agree'              windows_agree
done_testing
