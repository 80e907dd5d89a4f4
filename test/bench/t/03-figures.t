#!/bin/sh
description='The figures of a benchmark: medians, ratios made within a round, bars that can be missed.'
. test/bench/t/lib.sh

# figures STATUS ARGUMENTS...: of the rounds in $play_dir/rounds; its line is in $play_dir/line.
figures() {
    local expected="$1"
    shift
    test/bench/lib/figures.pl "$@" <"$play_dir/rounds" >"$play_dir/line" 2>"$play_dir/table"
    is "status of: $*" $? "$expected"
}

cat >"$play_dir/rounds" <<'ROUNDS'
{"ours":{"cpu":{"us":3},"name":"x","notes":{"n":1}},"bare":{"us":1}}
{"ours":{"cpu":{"us":4},"name":"x","notes":{"n":2}},"bare":{"us":4}}
{"ours":{"cpu":{"us":9},"name":"x","notes":{"n":3}},"bare":{"us":6}}
ROUNDS
figures 0 some --ratio cost=ours.cpu.us/bare.us --bar 'cost<=1.5' --bar 'bare.us>=4' --setting rate=7
is 'one line' "$(wc -l <"$play_dir/line")" 1
ok 'a benchmark of three rounds'     holds line '$_->{benchmark} eq "some" && $_->{rounds} == 3'
ok 'the median of a figure'          holds line '$_->{figures}{"ours.cpu.us"}{median} == 4'
ok 'its lowest and highest'          holds line '$_->{figures}{"bare.us"}{min} == 1 && $_->{figures}{"bare.us"}{max} == 6'
# The median of the rounds' ratios 3, 1 and 1.5, not the ratio of the medians.
ok 'ratios are made within a round'  holds line '$_->{ratios}{cost}{median} == 1.5 && $_->{ratios}{cost}{max} == 3'
ok 'texts and notes are no figures'  holds line 'keys %{ $_->{figures} } == 2'
ok 'the machine and the commit'      holds line '$_->{machine}{cpus} > 0 && length $_->{machine}{kernel} && $_->{commit} =~ /^([0-9a-f]{12}|unknown$)/'
ok 'settings'                        holds line '$_->{settings}{rate} == 7'
ok 'both bars are met'               holds line '$_->{met} && @{ $_->{bars} } == 2'

figures 1 some --ratio cost=ours.cpu.us/bare.us --bar 'cost<=1.4'
ok 'a bar is missed'                 holds line '!$_->{met} && !$_->{bars}[0]{met} && $_->{bars}[0]{is} == 1.5'
figures 1 some --ratio cost=ours.cpu.us/bare.us --bar 'every cost<=2'
ok 'one for every round'             holds line '$_->{bars}[0]{is} == 3'
figures 1 some --bar 'bare.us>=4.1'
figures 0 some --bar 'every bare.us>=1'
figures 2 some --bar 'cost<=1'
figures 2 some --ratio cost=ours.nothing/bare.us
figures 2 some --ratio cost
echo '{"bare":{"us":1}}' >>"$play_dir/rounds"
figures 2 some
: >"$play_dir/rounds"
figures 2 some
echo 'nonsense' >"$play_dir/rounds"
figures 2 some

# Kept rounds are added to by the same benchmark alone.
cat >"$play_dir/bench.sh" <<END
. test/bench/lib/stage.sh
round() { echo '{"a":1}'; }
play_rounds round
say_figures some
END
kept() { # STATUS [SETTING...]
    status=0 expected=$1
    shift
    env ROUNDS=1 ROUNDS_FILE="$play_dir/kept" "$@" bash "$play_dir/bench.sh" >"$play_dir/line" 2>"$play_dir/errors" || status=$?
    is "kept rounds: ${*:-the same again}" "$status" "$expected"
}
kept 0
kept 0
ok 'they are two now'                holds line '$_->{rounds} == 2 && $_->{figures}{a}{median} == 1'
kept 2 RATE=17
ok 'and it says so'                  grep -q 'of another commit or with other settings' "$play_dir/errors"
done_testing
