#!/bin/sh
description='The load generator sends what it is told to, when it is told to, and its figures are
those of the server: counts, statuses, losses, latencies from the intended start.'
. test/bench/t/lib.sh

# load NAME OPTION...: the JSON is in $play_dir/NAME.
load() {
    local name="$1"
    shift
    build/load "$@" >"$play_dir/$name" 2>"$play_dir/$name.errors"
}

start_and_wait bare ready build/bare --listen 127.0.0.1:0 --unix "$play_dir/a" --unix "$play_dir/b"
bare=$started
port=$(sed -n 's/.*port //p' "$play_dir/bare")

# Fixed rate, several targets, both kinds.
load fixed --target "unix:$play_dir/a" --target "unix:$play_dir/b" --target "127.0.0.1:$port" \
    --rate 500 --seconds 0.8 --connections 30 --amounts 1,2.50 --log "$play_dir/log"
is 'status: it worked' $? 0
ok 'as many as rate and time say'    holds fixed '$_->{scheduled} == 400 && $_->{sent} == 400'
ok 'all answered 202'                holds fixed '$_->{statuses}{202} == 400 && !$_->{failures}'
ok 'no other status'                 holds fixed 'keys %{$_->{statuses}} == 1'
ok 'each has its latency'            holds fixed '$_->{latency_us}{count} == 400 && $_->{service_us}{count} == 400'
ok 'percentiles rise'                holds fixed 'my $l = $_->{latency_us};
    0 < $l->{p50} && $l->{p50} <= $l->{p90} && $l->{p90} <= $l->{p99} && $l->{p99} <= $l->{p999} && $l->{p999} <= $l->{max}'
ok 'latency is service and delay'    holds fixed \
    'abs($_->{latency_us}{mean} - $_->{service_us}{mean} - $_->{send_delay_us}{mean}) < 1'
is 'a line a request'                "$(wc -l <"$play_dir/log")" 400
is 'ids are all different'           "$(cut -f1 "$play_dir/log" | sort -u | wc -l)" 400
is 'ids are UUIDs of version 4'      "$(cut -f1 "$play_dir/log" | grep -cE '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')" 400
is 'amounts are those of the list'   "$(cut -f2 "$play_dir/log" | sort -u | xargs)" '1 2.50'
is 'all targets have their share'    "$(cut -f4 "$play_dir/log" | sort | uniq -c | awk '$1 > 100' | wc -l)" 3
ok 'lines are evenly spaced'         awk '{ if (NR > 1 && $5 < last) bad++; last = $5; if (NR == 1) first = $5 }
    END { took = last - first; exit !(took > 700000 && took < 1200000 && bad < 40) }' "$play_dir/log"

# The same seed is the same load; another is not.
target="unix:$play_dir/a"
load one --target "$target" --rate 2000 --seconds 0.1 --seed 7 --log "$play_dir/log1"
load two --target "$target" --rate 2000 --seconds 0.1 --seed 7 --log "$play_dir/log2"
load three --target "$target" --rate 2000 --seconds 0.1 --log "$play_dir/log3"
cut -f1 "$play_dir/log1" | sort >"$play_dir/ids1"
cut -f1 "$play_dir/log2" | sort >"$play_dir/ids2"
cut -f1 "$play_dir/log3" | sort >"$play_dir/ids3"
ok 'the same seed sends the same ids' cmp "$play_dir/ids1" "$play_dir/ids2"
is 'no seed sends new ones' "$(sort "$play_dir/ids1" "$play_dir/ids3" | uniq -d | wc -l)" 0

# Repeated ids.
load repeats --target "$target" --rate 5000 --seconds 0.4 --duplicates 30 --log "$play_dir/log"
ok 'so many percent repeat an id' test "$(cut -f1 "$play_dir/log" | sort -u | wc -l)" -gt 1300
ok 'and no more' test "$(cut -f1 "$play_dir/log" | sort -u | wc -l)" -lt 1500
is 'with the same amount' "$(cut -f1,2 "$play_dir/log" | sort -u | wc -l)" \
    "$(cut -f1 "$play_dir/log" | sort -u | wc -l)"

# A ramp from 0 to 800 in 1 s: a quarter of it in the first half.
load ramp --target "$target" --rate 0 --ramp-to 800 --seconds 1 --log "$play_dir/log"
ok 'a ramp sends its mean' holds ramp '$_->{scheduled} == 400 && $_->{answered} == 400'
first=$(sort -n -k5,5 "$play_dir/log" | awk 'NR == 1 { t = $5 } $5 < t + 450000 { n++ } END { print n }')
ok 'and rises linearly' test "$first" -gt 75 -a "$first" -lt 130

# GET.
load get --target "$target" --get /payments-summary --rate 1000 --seconds 0.1 --log "$play_dir/log"
ok 'GET works' holds get '$_->{statuses}{202} == 100'
is 'its lines have no id' "$(cut -f1 "$play_dir/log" | sort -u)" -

# What the server counts is what we say we sent.
end_and_wait "$bare"
is 'the server saw as many' "$(tail -n 1 "$play_dir/bare" | sed 's/.*"requests":\([0-9]*\).*/\1/')" \
    $((400 + 600 + 2000 + 400 + 100))

# Nobody there, at the start and afterwards.
load nobody --target "unix:$play_dir/nobody" --rate 10 --seconds 0.1
is 'nobody there: status' $? 2
start_and_wait mortal ready build/bare --unix "$play_dir/mortal.sock" --delay-us 300000
mortal=$started
(sleep 0.5 && kill "$mortal") &
load died --target "unix:$play_dir/mortal.sock" --rate 100 --seconds 1 --patience-s 0.2
wait "$mortal"
ok 'a server that dies: what was out is lost'  holds died '$_->{lost} > 20 && $_->{lost} < 40'
ok 'what could not be sent is counted'         holds died '$_->{unsent} > 30 && $_->{connect_failures} > 0'
ok 'and nothing goes missing' holds died \
    '$_->{sent} + $_->{unsent} == 100 && $_->{answered} + $_->{failures} == $_->{sent}'

# Ends of connections: told so, between requests, under a request.
start_and_wait closer ready perl test/bench/t/closer.pl "$play_dir/closer.sock"
load ends --target "unix:$play_dir/closer.sock" --rate 20 --seconds 0.9 --connections 1
ok 'an answer that says close ends it as it should' holds ends '$_->{told_to_close} == 6'
ok 'between requests it may end untold'  holds ends '$_->{closed_idle} == 6'
ok 'under a request it may not'          holds ends '$_->{lost} == 6 && $_->{answered} == 12'
ok 'and no other failed'                 holds ends '$_->{sent} == 18 && $_->{failures} == 6'

# Told to end, it sends what is due by then and waits for what is out.
start_and_wait lazy ready build/bare --unix "$play_dir/lazy.sock" --delay-us 200000
build/load --target "unix:$play_dir/lazy.sock" --rate 200 --seconds 600 >"$play_dir/early" &
loading=$!
sleep 0.7
kill "$loading"
wait "$loading"
is 'told to end: status' $? 0
ok 'it ends early'                       holds early '$_->{seconds} > 0.1 && $_->{seconds} < 20'
ok 'having sent what was due'            holds early 'abs($_->{scheduled} - 200 * $_->{seconds}) <= 2 && !$_->{unsent}'
ok 'and got every answer'                holds early '$_->{answered} == $_->{sent} && $_->{sent} == $_->{scheduled}'

# Statuses other than 2xx are not mixed with the successful ones.
start_and_wait refuses ready build/bare --unix "$play_dir/refuses.sock" --status 503 --body no
load refused --target "unix:$play_dir/refuses.sock" --rate 1000 --seconds 0.1
ok 'refusals have a histogram of their own' holds refused \
    '$_->{statuses}{503} == 100 && $_->{latency_us}{count} == 0 && $_->{refused_us}{count} == 100'

# Known delays: 20 ms for one in 20, 2 ms for the others.
start_and_wait slow ready build/bare --unix "$play_dir/slow.sock" --delay-us 2000 --slow-every 20 \
    --slow-us 20000
load known --target "unix:$play_dir/slow.sock" --rate 1000 --seconds 1
ok 'p50 is the known delay, nothing less' holds known '$_->{latency_us}{p50} >= 2000'
ok 'p90 is not yet that of the slow ones' holds known '$_->{latency_us}{p90} < 20000'
ok 'p99 is that of the slow ones'         holds known '$_->{latency_us}{p99} >= 20000'
ok 'and no more than the machine adds'    holds known '$_->{latency_us}{p99} < 40000'
load late --target "unix:$play_dir/slow.sock" --rate 200 --seconds 0.5 --timeout-ms 10
ok 'one that takes too long has failed'   holds late '$_->{timeouts} >= 4 && $_->{answered} == 100 - $_->{timeouts}'

# A server that stands still 200 ms of every 500 ms, one connection: requests that could not even
# be sent meanwhile have waited too, which a generator that waits for answers would never see.
start_and_wait stalls ready build/bare --unix "$play_dir/stalls.sock" --stall-every-ms 500 --stall-ms 200
load stalled --target "unix:$play_dir/stalls.sock" --rate 500 --seconds 1.5 --connections 1
ok 'the waiting of the unsent counts' holds stalled '$_->{latency_us}{p90} > 60000'
ok 'service alone would not tell'     holds stalled '$_->{service_us}{p90} < 60000'
ok 'it is not taken for our own lag'  holds stalled '$_->{generator_lag_us}{p90} < 20000 && $_->{waited_for_connection} > 100'

for bad in '' "--target nowhere" "--target $target --rate x" "--target $target --rate 0" \
    "--target $target --connections 0" "--target $target --get nopath" "--target $target --seconds -1" "--what"; do
    # shellcheck disable=SC2086
    build/load $bad >"$play_dir/out" 2>&1
    is "bad options are refused: $bad" $? 2
done
build/load --help >"$play_dir/help"
is '--help succeeds' $? 0
done_testing
