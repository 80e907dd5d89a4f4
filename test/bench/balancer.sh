#!/bin/sh
# Which way to balance costs least on this machine: nginx as a TCP proxy (stream), nginx as an HTTP
# proxy with kept-alive connections to the APIs, or no balancer at all (the poster spreads its
# connections over the APIs' sockets itself).
#
#   test/bench/balancer.sh [RATE [SECONDS [ROUNDS]]]      (default 3000 requests a second, 5 s, 3)
#
# The rounds take turns, so that a noisy neighbour meets all three; printed is the median of the
# rounds and its ratio to no balancer. Trust the ratios within one table only. CPU is that of nginx
# and both APIs; latencies are the poster's, which shares the machine.
description='The cost of a balancer.'
. test/lib/cluster.sh

rate=${1:-3000} seconds=${2:-5} rounds=${3:-3}

http_conf() {
    cat >"$play_dir/http.conf" <<CONF
daemon off;
worker_processes 1;
pid $play_dir/http-nginx.pid;
error_log stderr alert;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path $play_dir/body;
    proxy_temp_path $play_dir/proxy;
    fastcgi_temp_path $play_dir/fastcgi;
    uwsgi_temp_path $play_dir/uwsgi;
    scgi_temp_path $play_dir/scgi;
    keepalive_requests 1000000;
    upstream apis {
        least_conn;
$(for socket in $(api_sockets); do echo "        server unix:$socket max_fails=0;"; done)
        keepalive 256;
        keepalive_requests 1000000;
    }
    server {
        listen $http_port backlog=4096;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://apis;
        }
    }
}
CONF
}

# CPU ticks of the APIs and of nginx, its child included.
ticks() { # extra pid or nothing
    local sum=0 pid
    for pid in $(cat "$play_dir"/api?.pid) ${1:-} ${1:+$(cat "/proc/$1/task/$1/children")}; do
        sum=$((sum + $(cpu_ticks "$pid")))
    done
    echo "$sum"
}

# measure NAME [PID OF NGINX [PORT]]: one line "name cpu_us p50 p99 max_per_s" to the results.
measure() {
    local name="$1" nginx="${2:-}" before after line fast seed
    shift
    set -- $([ -z "${2:-}" ] && printf -- '--target unix:%s ' $(api_sockets) ||
        echo "--target 127.0.0.1:$2") --connections 64
    seed=$(now_us)
    before=$(ticks "$nginx")
    line=$(build/poster "$@" --seed "$seed" --rate "$rate" --seconds "$seconds" 2>&1 >/dev/null)
    after=$(ticks "$nginx")
    fast=$(build/poster "$@" --seed "$((seed + 1))" --count $((rate * 2)) 2>&1 >/dev/null)
    echo "$name $(((after - before) * 10000 / (rate * seconds))) $(value p50_us "$line")" \
        "$(value p99_us "$line") $(value per_s "$fast")" >>"$play_dir/results"
}

value() {
    echo "$2" | tr ' ' '\n' | sed -n "s/^$1=//p"
}

cluster_start --apis 2 --workers 1 --balancer PAYRING_LEDGER_ROWS=2097152 \
    PAYRING_PAYMENT_SLOTS=65536 PAYRING_RING_SLOTS=16384
http_port=$(free_ports 1)
http_conf
user=
[ "$(id -u)" -ne 0 ] || user='user root;'
PATH="$PATH:/usr/sbin" nginx -p "$play_dir" -e stderr -c "$play_dir/http.conf" -g "$user" \
    >"$play_dir/http.log" 2>&1 &
http=$!
echo $http >"$play_dir/http-balancer.pid"
eventually 5 curl -sf -o /dev/null "http://127.0.0.1:$http_port/healthz" || give_up 'no http nginx'

round=0
while [ "$round" -lt "$rounds" ]; do
    measure none
    measure stream "$(cat "$play_dir/balancer.pid")" "$balancer_port"
    measure http "$http" "$http_port"
    round=$((round + 1))
done
kill -s TERM "$http" && eventually 5 has_ended "$http"

perl -ane '
    push @{ $v{$F[0]}[$_] }, $F[$_] for 1 .. 4;
    END {
        my @what = ("", "CPU us a request", "p50 us", "p99 us", "most a second");
        my $median = sub { (sort { $a <=> $b } @{ $_[0] })[@{ $_[0] } / 2] };
        printf "%-8s %s\n", "", join " ", map { sprintf "%22s", $_ } @what[ 1 .. 4 ];
        for my $name (qw(none stream http)) {
            printf "%-8s %s\n", $name, join " ", map {
                my $m = $median->($v{$name}[$_]);
                my $base = $median->($v{none}[$_]);
                sprintf "%13d (x %4.2f)", $m, $m / ($base || 1)
            } 1 .. 4;
        }
    }' "$play_dir/results" | sed 's/^/# /'
ok 'both balancers were measured' same "$(wc -l <"$play_dir/results")" "$((rounds * 3))"
done_testing
