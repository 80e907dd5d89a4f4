#!/bin/sh
description='What judges the windows of a crash loop lets pass what was executed and not yet settled, and
nothing else.'
. test/lib/tap.sh

tabs() { tr ' ' '\t'; }
# Three payments of the default: executed at 200, 300 and 400, bound at 100, 110 and 120; the first two
# in lane 0, the third in lane 1. One of the fallback.
tabs >"$play_dir/default" <<'BOOK'
a 500 100 200
b 700 110 300
c 900 120 400
BOOK
echo 'd 50 115 210' | tabs >"$play_dir/fallback"
tabs >"$play_dir/rows" <<'ROWS'
0 7 default 500 100
0 8 default 700 110
1 3 default 900 120
1 4 fallback 50 115
ROWS

# from to rows-before status numbers(4) rows-after, then us us count cents of each processor
judge() {
    echo "$*" | tabs >"$play_dir/windows"
    test/crash/judge-windows --default "$play_dir/default" --fallback "$play_dir/fallback" \
        --rows "$play_dir/rows" "$play_dir/windows" | tail -n 1
}
equal='1 1 0 0 0' unavoidable='1 0 1 0 0' mismatch='1 0 0 1 0' unanswered='1 0 0 0 1'

is 'equal' "$(judge 0 999 9,5 200 3 2100 1 50 9,5 500 501 3 2100 501 502 1 50)" "$equal"
is 'no answer' "$(judge 0 999 9,5 0 0 0 0 0 9,5 500 501 3 2100 501 502 1 50)" "$unanswered"
is 'executed, and its row not there yet' \
    "$(judge 0 999 8,5 200 2 1400 1 50 8,5 500 501 3 2100 501 502 1 50)" "$unavoidable"
is 'its row came while the gateway answered, before' \
    "$(judge 0 999 7,5 200 2 1600 1 50 9,5 500 501 3 2100 501 502 1 50)" "$mismatch"
is 'its row came while the gateway answered, in their order' \
    "$(judge 0 999 7,5 200 2 1400 1 50 9,5 500 501 3 2100 501 502 1 50)" "$unavoidable"
is 'its row was there: it should have been counted' \
    "$(judge 0 999 9,5 200 2 1400 1 50 9,5 500 501 3 2100 501 502 1 50)" "$mismatch"
is 'one of the two processors is behind' \
    "$(judge 0 999 9,4 200 3 2100 0 0 9,4 500 501 3 2100 501 502 1 50)" "$unavoidable"
is 'the right count of other amounts' \
    "$(judge 0 999 8,5 200 2 1401 1 50 8,5 500 501 3 2100 501 502 1 50)" "$mismatch"
is 'outside of the window' \
    "$(judge 105 999 8,5 200 2 1400 1 50 8,5 500 501 2 1600 501 502 1 50)" "$mismatch"
is 'inserted while the processor answered' \
    "$(judge 0 999 8,3 200 1 500 0 0 8,3 250 350 2 1200 501 502 1 50)" "$unavoidable"
is 'the processor told what it had not executed' \
    "$(judge 0 999 8,3 200 1 500 0 0 8,3 250 299 2 1200 501 502 1 50)" "$mismatch"
is 'counted here before it was executed there' \
    "$(judge 0 999 9,3 200 2 1200 0 0 9,3 250 299 1 500 501 502 1 50)" "$mismatch"

# The plan of a loop follows from its seed, and is what was asked for.
is 'a plan can be replayed' "$(test/crash/plan-crashes 5 200 | md5sum)" "$(test/crash/plan-crashes 5 200 | md5sum)"
is 'another seed is another plan' "$([ "$(test/crash/plan-crashes 5 200)" = "$(test/crash/plan-crashes 6 200)" ] || echo other)" other
is '200 kills, 40 stops' "$(test/crash/plan-crashes 5 200 | awk '{ n[$2]++ } END { print n["kill"], n["start"], n["stop"], n["cont"] }')" '200 200 40 40'
is 'nobody is killed who is dead, or stopped who stands still' "$(test/crash/plan-crashes 5 1000 | awk '
    $2 == "kill" || $2 == "stop" { if (down[$3]++) print "line " NR }
    $2 == "start" || $2 == "cont" { down[$3]-- }')" ''
done_testing
