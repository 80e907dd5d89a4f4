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

# rinha NAME OPTION...: the JSON is in $play_dir/NAME.
rinha() {
    local name="$1"
    shift
    build/rinha --gateway "$gateway" --default "$default" --fallback "$fallback" --vus 30 "$@" \
        >"$play_dir/$name" 2>"$play_dir/$name.errors"
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

# --- an honest gateway ----------------------------------------------------------------------
world fallback=4
rinha honest --seconds 3
is 'an honest run works' $? 0
ok 'users ramp up: about half of them times the seconds' holds honest \
    '$_->{accepted} >= 40 && $_->{accepted} <= 50'
ok 'no failure, no inconsistency, no lag' holds honest \
    '!$_->{failures} && !$_->{inconsistencies} && !$_->{lag} && !$_->{fine} && !$_->{disqualified}'
ok 'the score follows from its parts' holds honest "$consistent"
ok 'both processors earned'          holds honest '$_->{default}{requests} > 20 && $_->{fallback}{requests} > 5'
ok 'the gateway says the same'       holds honest \
    '$_->{default}{gateway_requests} == $_->{default}{requests} && $_->{fallback}{gateway_amount} == $_->{fallback}{amount}'
ok 'six audits'                      holds honest '@{$_->{audits}} == 6'
ok 'it tells what it does differently' holds honest '@{$_->{differs_from_the_original}} > 5'
ok 'calls are counted too' holds honest '$_->{all_successful_us}{count} == $_->{accepted} + 3 + 24 + 18 + 3'

curl -s "$gateway/diary" >"$play_dir/diary"
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
ok 'of 15 s until 1.5 s ago' perl -MTime::Local -e '
    my $bad; sub ms { $_[0] =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d{3})Z$/ or die $_[0];
        timegm($6, $5, $4, $3, $2 - 1, $1) * 1000 + $7 }
    my @w = map { /^\S+ gateway .*from=([^&]+)&to=(\S+)/ ? [ ms($1), ms($2) ] : () } <STDIN>;
    $bad += abs($_->[1] - $_->[0] - 13500) > 1 for @w[0 .. 5];
    $bad += abs($w[$_][1] - $w[$_ - 1][1] - 500) > 300 for 1 .. 5;
    exit($bad || @w != 7)' <"$play_dir/diary"

# --- gateways that get something wrong, and processors that differ --------------------------
world wrong=2 chunked token=secret
rinha wrong --seconds 1 --token secret
ok 'every audit finds what is wrong'       holds wrong '$_->{inconsistencies} == 12 && $_->{fine} == 0.35'
ok 'the fine is in the score'              holds wrong "$consistent"
ok 'processors may answer in chunks'       holds wrong '$_->{default}{requests} == $_->{accepted}'

world wrong=2 swap
rinha swapped --seconds 1
ok 'by the rules differences may cancel out, and this is told' \
    holds swapped '$_->{inconsistencies} == 0 && $_->{inconsistencies_each} == 24'

world forget=5 refuse=7
rinha forgets --seconds 2
ok 'what was accepted and not settled is lag' holds forgets '$_->{lag} >= 3'
ok 'what was refused has failed'              holds forgets '$_->{failures} >= 3 && $_->{failures} == $_->{failures_by_kind}{refused}'
ok 'it earns nothing'                         holds forgets "$consistent"

world silent
rinha silent --seconds 2
ok 'a summary that does not come counts as zeros' holds silent \
    '(grep { "@{$_->{failed_calls}}" eq "gateway" } @{$_->{audits}}) == @{$_->{audits}}
     && $_->{inconsistencies} > 0'

world late=40
rinha late --seconds 1
ok 'no bonus beyond 11 ms, and none below 0' holds late '$_->{p99_ms} > 40 && $_->{bonus} == 0'
ok 'the score without it'                    holds late "$consistent"

# --- runs that do not work -------------------------------------------------------------------
rinha token --seconds 1 --token wrong
is 'a wrong token: status' $? 1
world stubborn
rinha stubborn --seconds 1
is 'processors that do not change their stage: status' $? 1
gateway=127.0.0.1:1
rinha nobody --seconds 1
is 'no gateway: status' $? 1
ok 'all have failed' holds nobody '$_->{accepted} == 0 && $_->{failures} == $_->{failures_by_kind}{not_connected}'

# --- posting alone ---------------------------------------------------------------------------
start_and_wait bare ready build/bare --listen 127.0.0.1:0 --delay-us 3000
gateway=127.0.0.1:$(sed -n 's/.*port //p' "$play_dir/bare")
rinha alone --seconds 1 --load-only
is 'posting alone works without processors' $? 0
ok 'and tells the p99 of the posts' holds alone '$_->{p99_ms} >= 3 && $_->{accepted} >= 25 && !exists $_->{score}'

for bad in '--gateway nowhere' '--seconds 0' '--vus x' '--vus 0' '--what' 'what'; do
    # shellcheck disable=SC2086
    build/rinha $bad >"$play_dir/out" 2>&1
    is "bad options are refused: $bad" $? 2
done
build/rinha --help >"$play_dir/help"
is '--help succeeds' $? 0
done_testing
