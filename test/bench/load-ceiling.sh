#!/bin/sh
# What the load generator can do, and how far its figures can be trusted: to be known before
# anything is measured with it.
#
#   test/bench/load-ceiling.sh [SECONDS [ROUNDS]]      (of each run, default 2; default 3)
#
# First its ceiling: the bare server, which does nothing but answer 202, is offered more than it can
# take, over unix sockets and over TCP; what gets through is the lesser of the two's limits, and what
# a whole processor would let the generator send, by the CPU it takes for a request, says whose. Then the rates below it: how late the generator
# was. Then its error: servers that delay by a known amount or stand still at known times tell what
# they really did, and the generator's figures are held against that. Trust ratios within one table
# only; the medians of the rounds are printed.
description='The load generator is not the bottleneck it measures.'
. test/lib/tap.sh

seconds=${1:-2} rounds=${2:-3}
pids=

# A processor for each, or the kernel often puts the two on one, where they wait for each other.
server_on='' load_on=''
if [ "$(nproc)" -gt 1 ]; then
    server_on='taskset -c 0' load_on='taskset -c 1'
fi

end_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    tap_end
}
trap end_all EXIT

# bare_start NAME OPTION...: sets $bare and $port.
bare_start() {
    local name="$1"
    shift
    : >"$play_dir/$name"
    $server_on build/bare --listen 127.0.0.1:0 --unix "$play_dir/$name.sock" "$@" >"$play_dir/$name" &
    bare=$!
    pids="$pids $bare"
    until grep -q ready "$play_dir/$name"; do
        kill -0 "$bare" || exit 1
        sleep 0.02
    done
    port=$(sed -n 's/.*port //p' "$play_dir/$name")
}

# bare_end NAME: its own account of what it did is the last line of $play_dir/NAME.
bare_end() {
    kill "$bare" && wait "$bare"
    tail -n 1 "$play_dir/$1" >"$play_dir/$1.truth"
}

cpu_ticks() {
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# run NAME OPTION...: one line of JSON more in $play_dir/NAME.runs, the server's ticks in it.
run() {
    local name="$1" before
    shift
    before=$(cpu_ticks "$bare")
    $load_on build/load "$@" --seconds "$seconds" >"$play_dir/run" || return
    sed "s/}\$/,\"server_ticks\":$(($(cpu_ticks "$bare") - before))}/" "$play_dir/run" >>"$play_dir/$name.runs"
}

# medians NAME EXPRESSION...: of each over the runs of that name; $_ is a run.
medians() {
    local name="$1"
    shift
    perl -MJSON::PP -e 'open my $in, "<", shift or die; my @runs = map { decode_json($_) } <$in>;
        for my $what (@ARGV) { my @v = sort { $a <=> $b } map { eval $what // die $@ } @runs;
            printf "%s ", $v[@v / 2] } print "\n"' "$play_dir/$name.runs" "$@"
}

tick_us=$((1000000 / $(getconf CLK_TCK)))
# Words without a space: each is an expression.
measures="sprintf('%.0f',\$_->{achieved_per_s})
    \$_->{cpu_us_per_request} sprintf('%.0f',1e6/\$_->{cpu_us_per_request})
    sprintf('%.2f',\$_->{server_ticks}*$tick_us/(\$_->{answered}||1))
    \$_->{latency_us}{p50} \$_->{latency_us}{p99}
    \$_->{generator_lag_us}{p50} \$_->{generator_lag_us}{p99}"

# --- the ceiling ------------------------------------------------------------------------------
more_than_possible=600000
bare_start bare
round=0
while [ "$round" -lt "$rounds" ]; do
    run unix --target "unix:$play_dir/bare.sock" --rate $more_than_possible --patience-s 0
    run tcp --target "127.0.0.1:$port" --rate $more_than_possible --patience-s 0
    for rate in 1000 10000 40000; do
        run "r$rate" --target "unix:$play_dir/bare.sock" --rate $rate
        run "s$rate" --target "unix:$play_dir/bare.sock" --rate $rate --spin-us 100
    done
    round=$((round + 1))
done
bare_end bare

echo '#                                 generator: CPU   on a whole    server: CPU'
echo '#                        a second  us a request   processor   us a request  p50 us   p99 us  lag p50  lag p99'
table() { # title name
    # shellcheck disable=SC2046,SC2086
    printf '# %-22s %9s %13s %11s %14s %8s %8s %8s %8s\n' "$1" $(medians "$2" $measures)
}
table 'unix, all it can'  unix
table 'TCP, all it can'   tcp
table 'unix, 1,000/s'     r1000
table '  --spin-us 100'   s1000
table 'unix, 10,000/s'    r10000
table '  --spin-us 100'   s10000
table 'unix, 40,000/s'    r40000
table '  --spin-us 100'   s40000
# Whoever does more than answer 202 spends more, and is slower than the generator on a processor.
for way in unix tcp; do
    ok "$way: a request costs the generator no more than a quarter above the barest server" same 1 \
        "$(medians $way "\$_->{cpu_us_per_request}<1.25*\$_->{server_ticks}*$tick_us/\$_->{answered}?1:0" | tr -d ' ')"
done
ok 'the rates below the ceiling are kept' same 1 \
    "$(medians r40000 '$_->{achieved_per_s}>39600?1:0' | tr -d ' ')"

# --- the error of its p99 -----------------------------------------------------------------------
# The truth is the server's own: how long each answer really waited. What is added is the way there
# and back and the generator's lag.
echo '#'
echo '# known delay                        the server delayed   the generator says    its error'
echo '#                                    p50 us     p99 us    p50 us     p99 us    of the p99'
error_of() { # title rate bare-options...
    local title="$1" rate="$2" n=0
    shift 2
    rm -f "$play_dir"/known.runs "$play_dir"/known.truths
    while [ "$n" -lt "$rounds" ]; do
        bare_start known "$@"
        run known --target "unix:$play_dir/known.sock" --rate "$rate" --spin-us 100
        bare_end known
        cat "$play_dir/known.truth" >>"$play_dir/known.truths"
        n=$((n + 1))
    done
    perl -MJSON::PP -e 'my ($title, @files) = @ARGV;
        my ($said, $true) = map { open my $in, "<", $_ or die; [ map { decode_json($_) } <$in> ] } @files;
        my $median = sub { (sort { $a <=> $b } @_)[@_ / 2] };
        my @t = map { my $p = $_; $median->(map { $_->{delayed_us}{$p} } @$true) } qw(p50 p99);
        my @s = map { my $p = $_; $median->(map { $_->{latency_us}{$p} } @$said) } qw(p50 p99);
        my $error = $median->(map { $said->[$_]{latency_us}{p99} / $true->[$_]{delayed_us}{p99} - 1 } 0 .. $#$said);
        printf "# %-32s %9.0f %10.0f %9.0f %10.0f %10.2f %%\n", $title, @t, @s, $error * 100;
        exit(abs($error) > 0.05)' "$title" "$play_dir/known.runs" "$play_dir/known.truths"
}
ok_error() { # its table line is output too
    tests_run=$((tests_run + 1))
    if error_of "$@"; then
        echo "ok $tests_run - $1: p99 within 5 %"
    else
        tests_failed=$((tests_failed + 1))
        echo "not ok $tests_run - $1: p99 within 5 %"
    fi
}
ok_error '20 ms, every request' 1000 --delay-us 20000
ok_error '20 ms, one in 50, else 1 ms' 1000 --delay-us 1000 --slow-every 50 --slow-us 20000
ok_error '50 ms, one in 50, at 5,000/s' 5000 --delay-us 500 --slow-every 50 --slow-us 50000

# Standing still S ms of every E ms, a request waits on average what is left of it: the share of
# requests that wait longer than t is (S - t) / E. A hundredth waits longer than S - E / 100.
rm -f "$play_dir/still.runs"
n=0
while [ "$n" -lt "$rounds" ]; do
    bare_start still --stall-every-ms 500 --stall-ms 100
    run still --target "unix:$play_dir/still.sock" --rate 2000 --connections 4
    bare_end still
    n=$((n + 1))
done
# shellcheck disable=SC2046
set -- $(medians still '$_->{latency_us}{p99}' '$_->{service_us}{p99}' '$_->{latency_us}{p99} / 95000 - 1')
printf '# still for 100 ms of every 500 ms, 4 connections: p99 ought to be 95000 us, is %.0f us (%.2f %%);\n' \
    "$1" "$(echo "$3" | awk '{ print $1 * 100 }')"
printf '# from when requests were sent it would be %.0f us\n' "$2"
ok 'a standstill is in the p99 of requests that could not be sent' \
    awk -v e="$3" 'BEGIN { exit !(e > -0.05 && e < 0.05) }'
done_testing
