#!/bin/sh
description='Under a load that is too much for both processors, what is in flight at each settles
at a level of its own: its capacity and 2 to 6 waiting for each of the two lanes, give or take a
tenth (what waits is told from latencies, and those of a busy machine are noisy).'
# Alone: it looks at how long things take.
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2 PAYRING_DEADLINE_MS=1000
processor default misbehaves capacity concurrent=24 service_ms=20
processor fallback misbehaves capacity concurrent=6 service_ms=20
load_start --seconds 18 --rate 2200 --seed 421
accepted_for() { # seconds of load
    load_has_posted $(($1 * 2200))
}
ok 'the load runs'                  eventually 20 accepted_for 10
level() { # median of what is running there, over some seconds
    local n=0
    while [ "$n" -lt 60 ]; do
        processor_stat "$1" running
        n=$((n + 1))
        sleep 0.05
    done | sort -n | sed -n 30p
}
between() { # low high value
    echo "$3 is to be $1 to $2"
    [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]
}
# Side by side, since a lane's levels depend on both; what waits in the lanes lasts longer than this.
levels_are_right() {
    level default >"$play_dir/level.default" &
    sampler=$!
    level fallback >"$play_dir/level.fallback"
    wait "$sampler"
    between 28 40 "$(cat "$play_dir/level.default")" &&
        between 10 20 "$(cat "$play_dir/level.fallback")"
}
ok 'the default: 24 and 4 to 12, the fallback: 6 and 4 to 12'  eventually 14 levels_are_right
ok 'the load is answered'           load_wait
processor default behaves
processor fallback behaves
ok 'the books agree'                books_agree_within 40
ok 'the windows agree'              windows_agree
done_testing
