#!/bin/bash
# The score of the public test, and how much more there was to be had.
#
#   test/bench/score.sh [RUNS [SECONDS]]      (default 5 and 60, the test's own length)
#
# RUNS times: the whole gateway as `make run` starts it, fresh each time, under the public test; and
# nginx answering 202 by itself under the same virtual users. The most that would have been possible is
# what nginx's p99 would have earned with every one of its payments settled by the default processor.
#
#   AT=turns     (default) one after the other, who is first changes: what is possible is that of a
#                machine with nothing else to do, and whatever else befalls a minute is one side's
#   AT=once      both in the same minute: it compares, and is not the bar. What the host does befalls
#                both, and so does what the gateway does with the machine; and the users whom a stall
#                has brought together come at the same moment on both sides from then on, so each side
#                waits for the other's too
#   NGINX=stream the gateway's own balancer before nginx as well, so that both have the same way to
#                go; the default, direct, is the harder one to keep up with
#
# nginx is placed as the gateway's own (compose/local/placing.sh).
#
# nginx is held against itself as well, each of its runs against the one before and the one after: how
# often it would have passed tells what the bar can tell on this machine.
#
# In turns, a run passes with 99 % of what was possible, no inconsistency and nothing left unsettled. The
# JSON of every run stays in SCORE_DIR, if that is set. PAYRING_* settings are passed on.
set -u
cd "$(dirname "$0")/../.." || exit 1
. test/lib/common.sh
. compose/local/placing.sh # sets front

runs=${1:-5} seconds=${2:-60}
nginx_way=${NGINX:-direct} at=${AT:-turns}
dir=$(mktemp -d "${TMPDIR:-/tmp}/payring-score.XXXXXX") || exit 1
keep=${SCORE_DIR:-$dir/json}
mkdir -p "$keep" || exit 1
pids=

finish() {
    local pid
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null
    done
    for pid in $pids; do
        wait "$pid" 2>/dev/null
    done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "score: $*" >&2
    exit 1
}

start() { # name command...: sets $started
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 </dev/null &
    started=$!
    pids="$pids $started"
}

stop() { # pid
    kill -TERM "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    pids=${pids/ $1/}
}

answers() { # name pid status curl-arguments...: wait until it does
    local name=$1 pid=$2 status=$3 deadline=$((SECONDS + 20))
    shift 3
    until [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 "$@")" = "$status" ]; do
        kill -0 "$pid" 2>/dev/null || fail "$name ended: $(tail -n 3 "$dir/$name.log")"
        [ $SECONDS -lt $deadline ] || fail "$name is not ready: $(tail -n 3 "$dir/$name.log")"
        sleep 0.05
    done
}

# As near to compose/nginx.conf.in as an HTTP server can be: one process, the same backlog and
# connections, the same idle time.
nginx_conf() { # what to listen on
    cat <<CONF
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid $dir/answers.pid;
error_log stderr alert;
events {
    worker_connections 8192;
    multi_accept off;
}
http {
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 55s;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    server {
$(for listen; do echo "        listen $listen backlog=4096;"; done)
        location / {
            return 202 "";
        }
    }
}
CONF
}

start_nginx() {
    local user=
    [ "$(id -u)" -ne 0 ] || user='user root;'
    case $nginx_way in
    direct) nginx_conf "127.0.0.1:$nginx_port" ;;
    stream) nginx_conf "unix:$dir/answers0.sock" "unix:$dir/answers1.sock" ;;
    *) fail "NGINX=$nginx_way: direct or stream" ;;
    esac >"$dir/answers.conf"
    rm -f "$dir"/answers?.sock
    PATH="$PATH:/usr/sbin" start answers "${front[@]}" nginx -p "$dir" -e stderr -c "$dir/answers.conf" -g "$user"
    nginx_pids=$started
    if [ "$nginx_way" = stream ]; then
        mkdir -p "$dir/balancer"
        start balancer "${front[@]}" compose/local/balancer.sh "$dir/balancer" "$nginx_port" \
            "$dir/answers0.sock" "$dir/answers1.sock"
        nginx_pids="$started $nginx_pids"
    fi
    answers answers "$started" 202 "http://127.0.0.1:$nginx_port/payments" -d x
}

start_gateway() { # sets gateway_pid
    PAYRING_PORT=$gateway_port PAYRING_DEFAULT_PORT=$default_port \
        PAYRING_FALLBACK_PORT=$fallback_port start gateway compose/local/run.sh
    gateway_pid=$started
    answers gateway "$gateway_pid" 200 "http://127.0.0.1:$gateway_port/healthz"
}

run_nginx() { # number
    start_nginx
    "${load_nginx[@]}" >"$keep/nginx-$1.json" || fail "the load on nginx did not work"
    local pid
    for pid in $nginx_pids; do stop "$pid"; done
}

run_gateway() { # number
    start_gateway
    "${load_gateway[@]}" >"$keep/gateway-$1.json" || fail "the public test did not work"
    stop "$gateway_pid"
}

run_both() { # number
    local load pid
    start_nginx
    start_gateway
    "${load_nginx[@]}" >"$keep/nginx-$1.json" &
    load=$!
    pids="$pids $load"
    "${load_gateway[@]}" >"$keep/gateway-$1.json" || fail "the public test did not work"
    wait "$load" || fail "the load on nginx did not work"
    pids=${pids/ $load/}
    for pid in $gateway_pid $nginx_pids; do stop "$pid"; done
}

case $at in turns | once) ;; *) fail "AT=$at: turns or once" ;; esac
read -r nginx_port gateway_port default_port fallback_port <<<"$(free_ports 4)"
load_nginx=(build/rinha --gateway "http://127.0.0.1:$nginx_port" --seconds "$seconds" --load-only)
load_gateway=(build/rinha --gateway "http://127.0.0.1:$gateway_port" --seconds "$seconds"
    --default "http://127.0.0.1:$default_port" --fallback "http://127.0.0.1:$fallback_port")
run=1
while [ "$run" -le "$runs" ]; do
    # Who is first changes: what the one leaves behind must not always be the other's burden.
    if [ "$at" = once ]; then
        run_both $run
    elif [ $((run % 2)) -eq 1 ]; then
        run_nginx $run
        run_gateway $run
    else
        run_gateway $run
        run_nginx $run
    fi
    echo "score: run $run of $runs is done" >&2
    run=$((run + 1))
done

perl -MJSON::PP -e '
    my ($dir, $runs, $way, $at, @front) = @ARGV;
    my $read = sub { local $/; open my $in, "<", "$dir/$_[0].json" or die "$_[0]: $!\n"; decode_json(scalar <$in>) };
    my (@shares, @bare, $bad);
    printf "nginx %s, %s; nginx and APIs run %s\n", $way eq "direct" ? "answers by itself" : "answers behind the same balancer",
        $at eq "once" ? "both in the same minute" : "in turns",
        @front ? "by @front" : "anywhere";
    printf "%3s %12s %12s %12s %12s %7s %6s %4s %8s\n",
        "run", "nginx p99 ms", "our p99 ms", "possible", "score", "share", "incons", "lag", "failures";
    for my $run (1 .. $runs) {
        my ($nginx, $ours) = ($read->("nginx-$run"), $read->("gateway-$run"));
        my $possible = $nginx->{accepted} * 19.90 * (1 - $ours->{default}{fee}) * (1 + $nginx->{bonus});
        push @bare, $nginx->{accepted} * (1 + $nginx->{bonus});
        push @shares, my $share = $ours->{score} / $possible;
        my $passed = ($share >= 0.99 || $at eq "once") && !$ours->{inconsistencies} && !$ours->{inconsistencies_each}
            && !$ours->{lag} && !$ours->{failures} && !$ours->{disqualified};
        $bad++ if !$passed;
        printf "%3d %12.2f %12.2f %12.2f %12.2f %7.4f %6d %4d %8d%s\n", $run, $nginx->{p99_ms},
            $ours->{p99_ms}, $possible, $ours->{score}, $share, $ours->{inconsistencies_each},
            $ours->{lag}, $ours->{failures}, $passed ? "" : "  <- not good enough";
    }
    @shares = sort { $a <=> $b } @shares;
    printf "share of what was possible: lowest %.4f, median %.4f; %d of %d runs %s\n", $shares[0],
        $shares[@shares / 2], $runs - ($bad // 0), $runs, $at eq "once" ? "without a fault" : "passed";
    my @against_itself = map { my $r = $bare[$_] / $bare[$_ - 1]; ($r, 1 / $r) } 1 .. $#bare;
    printf "nginx against itself, one run earlier or later: %d of %d reach 0.99\n",
        scalar(grep { $_ >= 0.99 } @against_itself), scalar @against_itself if $at eq "turns" && @against_itself;
    exit($bad ? 1 : 0)' "$keep" "$runs" "$nginx_way" "$at" "${front[@]}"
