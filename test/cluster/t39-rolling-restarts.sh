#!/bin/sh
description='Every component is restarted in turn under load: each answer is 2xx, no connection ends
under a request, and nothing is lost.'
# N cycles (3): both APIs, both workers, a reload of nginx; RATE payments a second (300). Half of the
# connections are busy, half ask every two seconds only. `make rolling` is N=50 RATE=500. The last
# comment is one line of JSON.
. test/lib/cluster.sh

cycles=${N:-3} rate=${RATE:-300}
slow_rate=4 slow_connections=8 # each asks every 2 s, less than half of the APIs' time to stop
age_s=3                        # so short that APIs also tell connections to end in between

# Nobody takes a lane over for want of an owner: its successor wants it and has it at once.
takeover_ms=60000
cluster_start --apis 2 --workers 2 --balancer "PAYRING_TAKEOVER_MS=$takeover_ms" \
    "PAYRING_CONNECTION_AGE_S=$age_s" PAYRING_POLICY=default-only PAYRING_HORIZON_PAYMENTS=1048576
processor default delay 20

load() { # NAME OPTION...: in the background, until load_end
    local name="$1"
    shift
    build/load --target "127.0.0.1:$balancer_port" --seconds 86400 --log "$play_dir/posted.$name" "$@" \
        >"$play_dir/load.$name" 2>"$play_dir/load.$name.log" &
    echo $! >"$play_dir/load.$name.pid"
}

load_end() { # NAME
    local pid
    pid=$(cat "$play_dir/load.$1.pid")
    kill -s TERM "$pid" && wait "$pid"
}

# said NAME EXPRESSION: about what that load reported, $_.
said() {
    perl -MJSON::PP -e 'open my $in, "<", shift or die; $_ = decode_json(<$in>); print eval shift; die $@ if $@' \
        "$play_dir/load.$1" "$2"
}

nginx_workers() {
    local pid
    pid=$(cat "$play_dir/balancer.pid")
    cat "/proc/$pid/task/$pid/children"
}

has_a_new_one() { # PID...
    local pid old=" $* "
    for pid in $(nginx_workers); do
        case $old in *" $pid "*) ;; *) return 0 ;; esac
    done
    return 1
}

reload() {
    local old
    old=$(nginx_workers)
    kill -s HUP "$(cat "$play_dir/balancer.pid")"
    # shellcheck disable=SC2086
    eventually 10 has_a_new_one $old
}

# stop_gently NAME: it ends with status 0.
stop_gently() {
    local pid status=0
    pid=$(cat "$play_dir/$1.pid")
    kill -s TERM "$pid"
    eventually 15 has_come_to_its_end "$pid" || return
    wait "$pid" || status=$?
    [ "$status" = 0 ] || {
        echo "$1: status $status"
        return 1
    }
}

# Its life after the last start, in its log.
life_of() {
    tail -n +$(($(cat "$play_dir/$1.from") + 1)) "$play_dir/$1.log"
}

has_its_lane() {
    life_of "$1" | grep -q lane_taken
}

cycle() {
    local name
    for name in api0 api1 worker0 worker1; do
        stop_gently "$name" || return
        restart_process "$name" || return
    done
    for name in worker0 worker1; do eventually 5 has_its_lane "$name" || return; done
    reload
}

all_cycles() {
    local n=0
    while [ "$n" -lt "$cycles" ]; do
        cycle || return
        n=$((n + 1))
    done
}

nginx_is_one_again() {
    same "$(nginx_workers | wc -w)" 1
}

load busy --rate "$rate" --connections 32
load slow --rate "$slow_rate" --connections "$slow_connections"
ok 'the load runs'                     eventually 10 load_has_posted "$rate"
begin_s=$(date +%s)
ok "$cycles cycles"                    all_cycles
took_s=$(($(date +%s) - begin_s))
# The clients stay and go on asking: that an old one ends is the APIs' doing.
ok 'old nginx processes end'           eventually $((age_s + 12)) nginx_is_one_again
for name in busy slow; do
    ok "$name: the load ends"          load_end "$name"
    is "$name: every answer is 2xx"    "$(said $name 'join " ", grep { !/^2/ } keys %{$_->{statuses}}')" ''
    is "$name: no connection ended under a request" "$(said $name '$_->{lost}')" 0
    is "$name: none was refused"       "$(said $name '$_->{connect_failures}')" 0
    is "$name: nobody waited in vain"  "$(said $name '$_->{timeouts} + $_->{unanswered} + $_->{unsent}')" 0
    ok "$name: the ends were told"     [ "$(said $name '$_->{told_to_close}')" -ge "$slow_connections" ]
done
ok 'the books agree'                   books_agree_within 30
ok 'the windows agree'                 windows_agree

accepted=$(cut -f 1 "$play_dir/posted.busy" "$play_dir/posted.slow" | wc -l)
result="\"cycles\":$cycles,\"rate\":$rate,\"seconds\":$took_s,\"payments\":$accepted"
for key in lost connect_failures told_to_close closed_idle; do
    result="$result,\"$key\":$(($(said busy "\$_->{$key}") + $(said slow "\$_->{$key}")))"
done
result="$result,\"not_2xx\":$(($(said busy '$_->{refused_us}{count}') + $(said slow '$_->{refused_us}{count}')))"
echo "# {$result,\"p50_us\":$(said busy '$_->{latency_us}{p50}'),\"p99_us\":$(said busy '$_->{latency_us}{p99}')}"

# Not even for an old process of its own.
accepted=$(counter api.accepted)
load last --rate 50 --connections 8 --patience-s 0
ok 'clients are there'                 eventually 5 load_has_posted $((accepted + 20))
ok 'nginx reloads'                     reload
kill -s TERM "$(cat "$play_dir/balancer.pid")"
ok 'TERM waits for nobody'             eventually 2 has_come_to_its_end "$(cat "$play_dir/balancer.pid")"
load_end last
done_testing
