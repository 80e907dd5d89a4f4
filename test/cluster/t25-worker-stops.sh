#!/bin/sh
description='A worker that is told to stop sends nothing more, waits for what is out as long as it was
told, and leaves the rest to its successor, who has each lane as soon as it is free.'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

# Nobody takes a lane over for want of an owner: who has it soon wanted it and found it free.
stop_ms=1500
cluster_start --apis 1 --workers 2 PAYRING_TAKEOVER_MS=60000 PAYRING_POLICY=default-only \
    "PAYRING_STOP_TIMEOUT_MS=$stop_ms"

life_of() { # NAME: its log since the last start
    tail -n +$(($(cat "$play_dir/$1.from") + 1)) "$play_dir/$1.log"
}
says() { # NAME PATTERN
    life_of "$1" | grep -q "$2"
}
lane_of() {
    life_of "$1" | sed -n 's/.*lane_taken.* lane=\([0-9]*\).*/\1/p' | head -n 1
}
tell() {
    kill -s TERM "$(cat "$play_dir/$1.pid")"
}
ends() {
    eventually 10 has_come_to_its_end "$(cat "$play_dir/$1.pid")"
}

ok 'a lane each'                      eventually 5 says worker0 lane_taken
lane=$(lane_of worker0)
processor default delay 300
load_start --rate 600 --seconds 4 --seed 25
ok 'more comes than the processor takes' eventually 10 counter_at_least "lane.$lane.unsettled" 200
tell worker0
ok 'it knows'                         eventually 2 says worker0 stopping
posts=$(counter "lane.$lane.posts")
ok 'it ends'                          ends worker0
is 'nothing more was sent'            "$(counter "lane.$lane.posts")" "$posts"
ok 'what was out came back, the rest is left' says worker0 'lane_left.* in_flight=0 unsettled=[1-9][0-9]'
restart_process worker0
ok 'its successor has the lane'       eventually 2 says worker0 lane_taken
ok 'the load is answered'             load_wait
processor default delay 0
ok 'everything is settled'            eventually 20 counter_is unsettled 0

# Longer than it may wait.
processor default delay 4000
posts=$(counter "lane.$lane.posts")
ok 'more payments'                    post_many --count 40 --seed 26
ok 'they are out'                     eventually 5 counter_at_least "lane.$lane.posts" $((posts + 1))
begin_ms=$(now_ms)
tell worker0
ok 'it ends'                          ends worker0
took_ms=$(($(now_ms) - begin_ms))
ok 'having waited as long as it was told' [ "$took_ms" -ge "$stop_ms" ]
ok 'and no longer'                    [ "$took_ms" -lt $((stop_ms + 1500)) ]
ok 'what was out is left'             says worker0 'lane_left.* in_flight=[1-9]'
processor default delay 0
restart_process worker0
ok 'its successor settles it'         eventually 30 counter_is unsettled 0

# Two lanes, and something is out on one of them only.
tell worker1
ok 'the other ends'                   ends worker1
tell worker0
ok 'so does this one'                 ends worker0
configure worker0 PAYRING_WORKER_LANES=2 PAYRING_STOP_TIMEOUT_MS=20000
restart_process worker0
owns_both() { [ "$(life_of worker0 | grep -c lane_taken)" = 2 ]; }
ok 'both lanes are one worker'\''s'     eventually 5 owns_both
processor default delay 6000
ok 'one payment'                      post_payment api0 "$(new_id)" 19.90
ok 'it is out'                        eventually 5 processor_is_busy default
tell worker0
restart_process worker1
ok 'the idle lane is free at once'    eventually 2 says worker1 lane_taken
ok 'while the other is waited for'    is_running worker0
ok 'it ends'                          ends worker0
ok 'with nothing left'                counter_is unsettled 0
processor default delay 0
restart_process worker0
ok 'the books agree'                  books_agree_within 15
ok 'the windows agree'                windows_agree
done_testing
