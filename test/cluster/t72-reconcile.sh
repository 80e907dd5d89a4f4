#!/bin/sh
description='payringctl reconcile asks both processors for the payments here and says where they differ,
beside the running gateway; what could not be asked is never taken for agreement.'
. test/lib/cluster.sh

# reconcile STATUS [options...]: it ends so; what it says is in $play_dir/said.
reconcile() {
    local expected="$1" is=0
    shift
    "$build/payringctl" reconcile --rate 2000 "$@" >"$play_dir/said" 2>&1 || is=$?
    echo "exit status $is:"
    tail -n 20 "$play_dir/said"
    [ "$is" = "$expected" ]
}
says() { # TEXT
    grep -qF -- "$1" "$play_dir/said" || {
        cat "$play_dir/said"
        false
    }
}
time_of() { # ID: its requestedAt
    "$build/payringctl" payments --id "$1" --format tsv | cut -f 5
}
# The processors' own cleaning of a book; what of it stays is inserted again by hand.
rewrite_book() { # PROCESSOR SED-SCRIPT
    book "$1" | cut -f 1,2,5 | sed "$2" >"$play_dir/book"
    processor "$1" purge
    perl -e 'while (<>) { chomp; my ($id, $cents, $time) = split /\t/;
        printf "%s %d.%02d %s\n", $id, $cents / 100, $cents % 100, $time }' "$play_dir/book" |
        while read -r id amount time; do insert_elsewhere "$1" "$id" "$amount" "$time" || return; done
}

cluster_start --apis 2 --workers 2 PAYRING_HORIZON_S=0
ok 'nothing to compare'         reconcile 0
ok '... and it says so'         says '0 rows in the window, 0 asked by id'
ok '40 payments'                post_many --count 40 --seed 721
settled() { [ "$("$build/payringctl" payments --state settled --format tsv | wc -l)" = "$1" ]; }
ok 'settled'                    eventually 10 settled 40
ok 'no difference'              reconcile 0
ok '... in all of them'         says '0 differences in 40 settled payments'
ok '... which are all rows'     says '40 rows in the window, 40 asked by id; 0 have no record'
ok 'a sample'                   reconcile 0 --sample 7 --seed 5
ok '... of that size'           says 'in 7 settled payments'
ok '... and its seed'           says '--seed 5'
first=$("$build/payringctl" payments --limit 1 --format tsv | cut -f 1)
ok 'a window of one'            reconcile 0 --from "$(time_of "$first")" --to "$(time_of "$first")"
ok '... or few'                 not says 'in 40 settled payments'
ok 'a window of nothing'        reconcile 0 --to 2020-01-01T00:00:00Z
ok '... has no rows'            says '0 rows in the window'
# Only as fast as it may be: 80 look-ups at 100 a second.
began_ms=$(now_ms)
ok 'at a bounded rate'          "$build/payringctl" reconcile --rate 100
took_ms=$(($(now_ms) - began_ms))
ok '... which takes its time'   test "$took_ms" -ge 700
ok 'as JSON'                    reconcile 0 --format json
ok '... with its sums'          perl -MJSON::PP -0777 -ne 'my $r = decode_json($_);
    exit !($r->{complete} && $r->{settledAsked} == 40 && $r->{rows} == 40 && !@{ $r->{differences} })' "$play_dir/said"

# --- while everything runs, and both processors settle --------------------------------------------

load_start --seconds 6 --rate 100 --seed 722 --duplicates 5
processor default misbehaves reset-after percent=10 seed=723
ok 'the load runs'              eventually 5 load_has_posted 120
for round in 1 2 3; do
    ok 'no difference under load' reconcile 0 --sample 100 --seed $round
done
processor default behaves
ok 'the load is answered'       load_wait
ok 'the books agree'            books_agree_within 30
ok 'no difference'              reconcile 0

# --- every kind of difference ------------------------------------------------------------------------

set -- $("$build/payringctl" payments --state settled --processor default --limit 4 --format tsv | cut -f 1)
absent=$1 amount=$2 time=$3 twice=$4
ok 'a book is falsified'        rewrite_book default \
    "/^$absent/d; /^$amount/s/	[0-9]*	/	99	/; /^$time/s/Z\$/001Z/"
pinned=$(new_id)
processor default misbehaves garbage-http "correlationId=$pinned"
ok 'accepted'                   post_payment api0 "$pinned" 3.00
ok 'charged'                    eventually 10 processor_holds default "$pinned" 300
ok 'charged by the other too'   insert_elsewhere fallback "$twice" 19.90 2024-01-01T00:00:00.000Z
ok 'they are found'             reconcile 1
ok 'one that is absent'         says "$absent: in no book; here settled"
ok 'one with another amount'    says "$amount: another amount; here settled"
ok 'one with another time'      says "$time: another requestedAt; here settled"
ok 'one charged twice'          says "$twice: charged twice; here settled"
ok 'one pinned but found'       says "$pinned: pinned but found; here sent"
ok 'and no more'                says '5 differences in'
ok 'as JSON'                    reconcile 1 --format json
ok '... all of them'            perl -MJSON::PP -0777 -ne 'my $r = decode_json($_); exit !(join(" ",
    sort map { $_->{difference} } @{ $r->{differences} }) eq
    "another amount another requestedAt charged twice in no book pinned but found")' "$play_dir/said"
ok 'moved to the other book'    insert_elsewhere fallback "$absent" 19.90 2024-01-01T00:00:00.000Z
ok '... is another difference'  reconcile 1
ok '... called so'              says "$absent: in the other book"

# --- what cannot be asked ------------------------------------------------------------------------------

kill_process fallback STOP
ok 'a silent processor'         reconcile 3 --lookup-timeout-ms 100
ok '... is named'               says 'fallback does not answer'
ok '... and not complete'       says 'not complete'
kill_process fallback CONT
kill_process default KILL
ok 'nobody listens'             reconcile 3 --sample 10
ok '... is not complete'        says 'not complete'
ok 'a rate that is none'        reconcile 2 --rate 0
ok 'a time that is none'        reconcile 2 --from yesterday
done_testing
