#!/bin/sh
description='The public test as a program calls what it should when it should, computes the score by
the rules, and finds what a gateway gets wrong.'
. test/bench/t/lib.sh

# world WORD...: a fresh gateway with its processors; sets $gateway, $default, $fallback.
worlds=0
world() {
    worlds=$((worlds + 1))
    start_and_wait "world$worlds" ready perl test/bench/t/world.pl "$@"
    # shellcheck disable=SC2046
    set -- $(cat "$play_dir/world$worlds")
    gateway=127.0.0.1:$2 default=http://127.0.0.1:$3 fallback=http://localhost:$4/
}

# rinha NAME OPTION...: begin a run against that world; the JSON will be in $play_dir/NAME. All of
# them sleep most of the time, so they run side by side.
rinha() {
    local name="$1"
    shift
    build/rinha --gateway "$gateway" --default "$default" --fallback "$fallback" --vus 30 "$@" \
        >"$play_dir/$name" 2>"$play_dir/$name.errors" &
    echo $! >"$play_dir/$name.run"
}

# status_of NAME: when its run has ended.
status_of() {
    wait "$(cat "$play_dir/$1.run")"
    run_status=$?
}

# Every field of the score again, from those it follows from.
consistent='my $s = $_; my ($d, $f) = @$s{qw(default fallback)};
    my $total = $d->{amount} + $f->{amount};
    my $fees = $d->{amount} * $d->{fee} + $f->{amount} * $f->{fee};
    my $p99 = sprintf("%.0f", $s->{all_successful_us}{p99} / 10 ) / 100;
    my $bonus = (11 - $s->{p99_ms}) * 2; $bonus = $bonus > 0 ? int($bonus + 0.5 + 1e-9) / 100 : 0;
    my $near = sub { abs($_[0] - $_[1]) < ($_[2] // 0.006) };
    my $sum = 0; $sum += $_->{inconsistencies} for @{ $s->{audits} };
    $near->($s->{total_amount}, $total) && $near->($s->{total_fees}, $fees) &&
    $near->($s->{p99_ms}, $p99, 0.011) && $near->($s->{bonus}, $bonus, 1e-6) &&
    $s->{inconsistencies} == $sum && $s->{fine} == ($sum ? 0.35 : 0) &&
    $s->{lag} == $s->{accepted} - $d->{requests} - $f->{requests} &&
    $near->($s->{score}, ($total - $fees) * (1 + $bonus - $s->{fine}), 0.02)'

# --- the runs -------------------------------------------------------------------------------
world fallback=4
rinha honest --seconds 3
honest_gateway=$gateway
world wrong=2 chunked token=secret
rinha wrong --seconds 1 --token secret
rinha token --seconds 1 --token nonsense
world wrong=2 swap
rinha swapped --seconds 1
world forget=5 refuse=7
rinha forgets --seconds 2
world silent
rinha silent --seconds 2
world late=40
rinha late --seconds 1
world stubborn
rinha stubborn --seconds 1
gateway=127.0.0.1:1
rinha nobody --seconds 1
start_and_wait bare ready build/bare --listen 127.0.0.1:0 --delay-us 3000
gateway=127.0.0.1:$(sed -n 's/.*port //p' "$play_dir/bare")
rinha alone --seconds 1 --load-only

# --- an honest gateway ----------------------------------------------------------------------
status_of honest
is 'an honest run works' $run_status 0
# 30 users over 3 s: a third of them post 3 times, a third twice, a third once.
ok 'users ramp up' holds honest '$_->{accepted} >= 50 && $_->{accepted} <= 60'
ok 'no failure, no inconsistency, no lag' holds honest \
    '!$_->{failures} && !$_->{inconsistencies} && !$_->{lag} && !$_->{fine} && !$_->{disqualified}'
ok 'the score follows from its parts' holds honest "$consistent"
ok 'both processors earned'          holds honest '$_->{default}{requests} > 20 && $_->{fallback}{requests} > 5'
ok 'the gateway says the same'       holds honest \
    '$_->{default}{gateway_requests} == $_->{default}{requests} && $_->{fallback}{gateway_amount} == $_->{fallback}{amount}'
ok 'six audits'                      holds honest '@{$_->{audits}} == 6'
ok 'it tells what it does differently' holds honest '@{$_->{differs_from_the_original}} > 5'
ok 'the calls of the test count for its p99' holds honest \
    '$_->{all_successful_us}{count} == $_->{accepted} + 3 + 24 + 18 + 3'

curl -s "$honest_gateway/diary" >"$play_dir/diary"
# seconds, who, method, path, body
is 'first it purges, in this order' "$(head -n 3 "$play_dir/diary" | cut -d' ' -f2-4)" \
'default POST /admin/purge-payments
fallback POST /admin/purge-payments
gateway POST /purge-payments'
is 'the stages, call by call' \
    "$(grep configurations "$play_dir/diary" | sed 's/^[^ ]* //; s/PUT .admin.configurations.//')" \
    "$(for stage in '0 0 false false' '100 0 false false' '100 0 true false' '2000 1000 true true' \
        '20 20 false false' '0 5000 false false'; do
        # shellcheck disable=SC2086
        set -- $stage
        echo "default delay {\"delay\":$1}"
        echo "fallback delay {\"delay\":$2}"
        echo "default failure {\"failure\":$3}"
        echo "fallback failure {\"failure\":$4}"
    done)"
ok 'at 1, 10, 20 ... of 60' awk '/default PUT .*delay/ { want = n == 0 ? 0.05 : 0.5 * n
    if ($1 < want - 0.02 || $1 > want + 0.3) bad++; n++ } END { exit n != 6 || bad }' "$play_dir/diary"
ok 'audits at 0, 10, 20 ... of 60' awk '/gateway GET/ && n < 6 { want = 0.5 * n
    if ($1 < want - 0.02 || $1 > want + 0.3) bad++; n++ } END { exit n != 6 || bad }' "$play_dir/diary"
is 'audits ask all three for the same window' "$(grep 'payments-summary' "$play_dir/diary" |
    sed 's/.*?//' | sort | uniq -c | awk '$1 != 3' | wc -l)" 0
cat >"$play_dir/windows.pl" <<'PERL'
use Time::Local;
sub ms {
    $_[0] =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d{3})Z$/ or die $_[0];
    return timegm($6, $5, $4, $3, $2 - 1, $1) * 1000 + $7;
}
my ($began, $purged, $bad) = (shift, undef, 0);
my @w = map { /^(\S+) gateway .*from=([^&]+)&to=(\S+)/ ? [ ms($2), ms($3), $1 * 1000 ] : () } <STDIN>;
$bad += abs($_->[1] - $_->[0] - 13500) > 1 for @w[0 .. 5];
# Each window ends 1.5 s before the audit: the diary's time moves with it.
$bad += abs($w[$_][1] - $w[0][1] - $w[$_][2] + $w[0][2]) > 100 for 1 .. 5;
$bad += abs($began * 1000 - 1500 - $w[0][1]) > 60000;
exit($bad || @w != 7);
PERL
ok 'of 15 s until 1.5 s ago' sh -c 'perl "$1" "$(date +%s)" <"$2"' sh "$play_dir/windows.pl" "$play_dir/diary"

# --- gateways that get something wrong, and processors that differ --------------------------
status_of wrong
is 'a wrong score is a run that worked'    $run_status 0
ok 'every audit finds what is wrong'       holds wrong '$_->{inconsistencies} == 12 && $_->{fine} == 0.35'
ok 'the fine is in the score'              holds wrong "$consistent"
ok 'processors may answer in chunks'       holds wrong '$_->{default}{requests} == $_->{accepted}'
status_of swapped
ok 'by the rules differences may cancel out, and this is told' \
    holds swapped '$_->{inconsistencies} == 0 && $_->{inconsistencies_each} == 24'
status_of forgets
ok 'what was accepted and not settled is lag' holds forgets '$_->{lag} >= 3'
ok 'what was refused has failed'              holds forgets '$_->{failures} >= 3 && $_->{failures} == $_->{failures_by_kind}{refused}'
ok 'it earns nothing'                         holds forgets "$consistent"
status_of silent
ok 'a summary that does not come counts as zeros' holds silent \
    '(grep { "@{$_->{failed_calls}}" eq "gateway" } @{$_->{audits}}) == @{$_->{audits}}
     && $_->{inconsistencies} > 0'
ok 'what was held up beyond the end is not audited' holds silent '@{$_->{audits}} == 2'
status_of late
ok 'no bonus beyond 11 ms, and none below 0' holds late '$_->{p99_ms} > 40 && $_->{bonus} == 0'
ok 'the score without it'                    holds late "$consistent"

# --- runs that do not work -------------------------------------------------------------------
status_of token
is 'a wrong token: status' $run_status 1
status_of stubborn
is 'processors that do not change their stage: status' $run_status 1
status_of nobody
is 'no gateway: status' $run_status 1
ok 'all have failed' holds nobody '$_->{accepted} == 0 && $_->{failures} == $_->{failures_by_kind}{not_connected}'

# --- posting alone ---------------------------------------------------------------------------
status_of alone
is 'posting alone works without processors' $run_status 0
ok 'and tells the p99 of the posts' holds alone '$_->{p99_ms} >= 3 && $_->{accepted} >= 25 && !exists $_->{score}'

for bad in '--gateway nowhere' '--seconds 0' '--vus x' '--vus 0' '--what' 'what'; do
    # shellcheck disable=SC2086
    build/rinha $bad >"$play_dir/out" 2>&1
    is "bad options are refused: $bad" $? 2
done
build/rinha --help >"$play_dir/help"
is '--help succeeds' $? 0
done_testing
