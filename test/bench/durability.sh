#!/bin/sh
# What each PAYRING_DURABILITY costs on this machine and on this disk: POST p50 and p99 at a fixed rate,
# and how many payments a second go through, for memory, async and sync.
#
#   test/bench/durability.sh [RATE [SECONDS [ROUNDS]]]      (default 1000 payments a second, 5 s, 3)
#
# The journal lies in STATE_DIR (default: below TMPDIR): it has to be on the disk in question.
# CONNECTIONS (64) ask; other PAYRING_* settings are passed on. The modes take turns, each time with a
# region and a journal of their own, so that a noisy neighbour meets all three; printed is the median
# of the rounds, and one line of JSON. Trust the ratios within one table only: load, gateway and
# processors share the machine. Every payment has to be answered 2xx and settled, or it is no figure.
description='The price of durability.'
. test/lib/cluster.sh

rate=${1:-1000} seconds=${2:-5} rounds=${3:-3}
connections=${CONNECTIONS:-64}
modes='memory async sync'
state=$(mktemp -d "${STATE_DIR:-$play_dir}/payring-durability.XXXXXX") || give_up 'no directory for the journal'
trap 'rm -rf "$state"; curtain' EXIT
more_than_possible=600000
region=$PAYRING_REGION

# As many as can come in a turn wait for the processors without one being refused.
export PAYRING_API_SLOTS=1 PAYRING_WORKER_LANES=2 PAYRING_RING_SLOTS=65536 PAYRING_PAYMENT_SLOTS=1048576 \
    PAYRING_LEDGER_ROWS=2097152 PAYRING_HORIZON_S=0
# shellcheck disable=SC2046
set -- $(free_ports 2)
default_port=$1 fallback_port=$2
PAYRING_DEFAULT_URL=$(url_of default) PAYRING_FALLBACK_URL=$(url_of fallback)
export PAYRING_DEFAULT_URL PAYRING_FALLBACK_URL

# A worker is ready before it owns its lanes, whose journals are begun first.
both_lanes_are_owned() {
    same "$(tail -n +$(($(cat "$play_dir/worker0.from") + 1)) "$play_dir/worker0.log" | grep -c lane_taken)" 2
}

all_is_settled() { # MODE
    eventually 120 counter_is unsettled 0 >/dev/null || give_up "$1: not all was settled"
}

gateway_start() { # MODE
    local name
    export PAYRING_REGION="$region-$1" PAYRING_DURABILITY="$1" PAYRING_STATE_DIR="$state/$1"
    [ "$1" != memory ] || PAYRING_STATE_DIR=none
    mkdir -p "$state/$1"
    echo "$PAYRING_REGION" >>"$play_dir/regions"
    "$build/payringctl" create >"$play_dir/create.log" 2>&1 || give_up "create: $(cat "$play_dir/create.log")"
    for name in worker0 api0; do restart_process "$name"; done
    eventually 15 both_lanes_are_owned >/dev/null || give_up "$1: a lane has no owner"
}

# That is refused while a payment has not ended.
gateway_end() { # MODE
    all_is_settled "$1"
    kill_process api0 TERM
    kill_process worker0 TERM
    "$build/payringctl" remove >"$play_dir/remove.log" 2>&1 || give_up "remove: $(cat "$play_dir/remove.log")"
    rm -rf "${state:?}/$1"
}

run() { # NAME OPTION...: a line more in $play_dir/NAME.runs
    local name="$1"
    shift
    "$build/load" --target "unix:$play_dir/api0.sock" --connections "$connections" --seconds "$seconds" "$@" \
        >>"$play_dir/$name.runs" || give_up "no load: $name"
}

# A fixed rate first, then as fast as they are answered; what is out when the time is over is broken off,
# one request a connection.
turn() { # MODE
    gateway_start "$1"
    run "$1.rate" --rate "$rate"
    all_is_settled "$1"
    run "$1.most" --rate "$more_than_possible" --patience-s 0
    gateway_end "$1"
}

# What the disk takes for 4 KiB written and synced in a file that is there already.
dsync_us() {
    local begin_us count=200
    dd if=/dev/zero of="$state/probe" bs=4096 count="$count" conv=fsync status=none
    begin_us=$(now_us)
    dd if=/dev/zero of="$state/probe" bs=4096 count="$count" oflag=dsync conv=notrunc status=none
    echo $((($(now_us) - begin_us) / count))
    rm "$state/probe"
}

for name in default fallback; do start_process "$name"; done
for name in default fallback; do eventually 15 is_ready "$name" || give_up "$name is not ready"; done
# Each mode is as often the first of a round as another, if there are three rounds, or six.
round=0 order=$modes
while [ "$round" -lt "$rounds" ]; do
    dsync_us >>"$play_dir/dsync"
    for mode in $order; do
        turn "$mode"
        for name in default fallback; do processor "$name" purge; done
    done
    order="${order#* } ${order%% *}"
    round=$((round + 1))
done

perl -MJSON::PP -e '
    my ($dir, $rate, $seconds, $rounds, $connections, @modes) = @ARGV;
    sub runs { open my $in, "<", "$dir/$_[0]" or die; map { decode_json($_) } <$in> }
    sub median { (sort { $a <=> $b } @_)[@_ / 2] }
    sub good { my $n = 0; $n += $_[0]{statuses}{$_} for grep { /^2/ } keys %{ $_[0]{statuses} }; $n }
    open my $in, "<", "$dir/dsync" or die;
    my (%of, $bad);
    my $dsync = median(map { $_ + 0 } <$in>);
    for my $mode (@modes) {
        my @rate = runs("$mode.rate.runs");
        my @most = runs("$mode.most.runs");
        my $other = 0;
        $other += $_->{answered} - good($_) + $_->{failures} for @rate, @most;
        $other += $_->{unsent} for @rate;
        $other -= $_->{unanswered} for @most;
        $bad += $other;
        $of{$mode} = { p50_us => median(map { $_->{latency_us}{p50} } @rate),
            p99_us => median(map { $_->{latency_us}{p99} } @rate),
            per_s => median(map { int(good($_) / $_->{seconds}) } @most), not_2xx => $other };
    }
    printf "| mode | p50 at %d/s | p99 | most a second |\n|---|---:|---:|---:|\n", $rate;
    for my $mode (@modes) {
        my ($m, $base) = ($of{$mode}, $of{memory});
        printf "| `%s` | %.0f us (x %.2f) | %.0f us (x %.2f) | %s (x %.2f) |\n", $mode,
            map({ $m->{$_}, $m->{$_} / $base->{$_} } qw(p50_us p99_us)),
            scalar(reverse(join ",", unpack "(A3)*", reverse $m->{per_s})), $m->{per_s} / $base->{per_s};
    }
    print JSON::PP->new->canonical->encode({ rate => $rate + 0, seconds => $seconds + 0,
        rounds => $rounds + 0, connections => $connections + 0, dsync_4k_us => $dsync, modes => \%of }), "\n";
    exit($bad ? 1 : 0)' "$play_dir" "$rate" "$seconds" "$rounds" "$connections" $modes >"$play_dir/table"
every_answer_was_2xx=$?
cat "$play_dir/table"
is 'every payment was answered 2xx' "$every_answer_was_2xx" 0
done_testing
