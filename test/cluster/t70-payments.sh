#!/bin/sh
description='payringctl payments lists what is in tables and rings by state and age: what is pinned, to
whom, and since when.'
. test/lib/cluster.sh

# payments [options...]: tab separated: id, amount, state, processor, requestedAt, acceptedAt, age in
# ms, pinned since, attempts, flags.
payments() {
    "$build/payringctl" payments --format tsv "$@"
}
ids_of() { # options...
    payments "$@" | cut -f 1
}
field() { # ID NUMBER
    payments --id "$1" | cut -f "$2"
}
fails_with() { # STATUS COMMAND...: it fails so, and says one sentence
    local expected="$1" is=0
    shift
    "$@" >/dev/null 2>"$play_dir/said" || is=$?
    cat "$play_dir/said"
    [ "$is" = "$expected" ] && [ "$(wc -l <"$play_dir/said")" = 1 ]
}

cluster_start --apis 2 --workers 2 PAYRING_POLICY=default-only
is 'nothing is there'           "$(payments)" ''
settled=$(new_id)
ok 'accepted'                   post_payment api0 "$settled" 19.9
ok 'settled'                    eventually 10 payment_is api0 "$settled" settled
pinned=$(new_id)
processor default misbehaves error-before "correlationId=$pinned"
ok 'accepted'                   post_payment api0 "$pinned" 0.05
ok 'pinned'                     eventually 10 payment_is api0 "$pinned" sent default
eventually 10 test "$(ids_of --pinned)" = "$pinned"
processor default fails
queued=$(new_id)
ok 'accepted'                   post_payment api1 "$queued" 100000000000
ok 'queued'                     eventually 10 payment_is api0 "$queued" queued

is 'oldest first'               "$(ids_of)" "$settled
$pinned
$queued"
is 'the settled one'            "$(payments --id "$settled" | cut -f 1-4)" "$settled	19.90	settled	default"
is 'pinned by nobody'           "$(field "$settled" 8)" -
is 'the pinned one'             "$(ids_of --pinned)" "$pinned"
is '... with'                   "$(payments --pinned | cut -f 2-4)" '0.05	sent	default'
is '... since its requestedAt'  "$(field "$pinned" 8)" "$(field "$pinned" 5)"
ok '... which is a time'        test "$(date -d "$(field "$pinned" 8)" +%s)" -gt 1700000000
is '... and marked'             "$(field "$pinned" 10)" unknown
ok '... attempted'              test "$(field "$pinned" 9)" -ge 1
is 'the queued one is with nobody' "$(payments --id "$queued" | cut -f 2-5)" '100000000000.00	queued	-	-'

is 'by state'                   "$(ids_of --state queued)" "$queued"
is 'by processor'               "$(ids_of --processor default)" "$settled
$pinned"
is 'of the other one'           "$(ids_of --processor fallback)" ''
is 'the oldest two'             "$(ids_of --limit 2)" "$settled
$pinned"
is 'none is that old'           "$(ids_of --older-than 3600)" ''
ok 'all are a second old in time' eventually 5 same "$(ids_of --older-than 0 | wc -l)" 3
grows_old() { [ "$(ids_of --older-than 1 | wc -l)" = 3 ]; }
ok 'age goes on'                eventually 5 grows_old

# In a ring: nobody takes it out.
kill_process worker0 TERM
kill_process worker1 TERM
ring=$(new_id)
ok 'accepted'                   post_payment api0 "$ring" 1
ok 'a copy of it'               post_payment api1 "$ring" 1
is 'in a ring, once'            "$(payments --state accepted | cut -f 1-5)" "$ring	1.00	accepted	-	-"
"$build/payringctl" payments --pinned >"$play_dir/people"
ok 'for people: since, which is what' grep -q 'PINNED SINCE is' "$play_dir/people"
ok '... and counts'             grep -q '^1 of 1 payments, 1 of them pinned' "$play_dir/people"
json() { # PERL on $p, the list
    "$build/payringctl" payments --format json |
        perl -MJSON::PP -0777 -ne 'my $p = decode_json($_); exit !('"$1"')'
}
ok 'as JSON'                    json '@$p == 4'
ok '... with all members'       json '!grep { 10 != keys %$_ } @$p'
ok '... nulls'                  json '!defined $p->[3]{requestedAt} && !defined $p->[3]{processor}'
ok '... and flags'              json '$p->[1]{flags}[0] eq "unknown" && defined $p->[1]{pinnedSince}'
is 'an empty list'              "$("$build/payringctl" payments --format json --older-than 3600)" '[]'

ok 'a state that is none'       fails_with 2 "$build/payringctl" payments --state lost
ok 'an id that is none'         fails_with 2 "$build/payringctl" payments --id 7
ok 'an age that is none'        fails_with 2 "$build/payringctl" payments --older-than 1h
ok 'a format of another verb'   fails_with 2 "$build/payringctl" payments --format csv
ok 'an option of another verb'  fails_with 2 "$build/payringctl" payments --rate 7
ok 'a switch of another verb'   fails_with 2 "$build/payringctl" payments --plain
ok 'an option without its value' fails_with 2 "$build/payringctl" payments --limit
ok 'a word too many'            fails_with 2 "$build/payringctl" payments now
ok 'no verb'                    fails_with 2 "$build/payringctl"
ok 'an unknown verb'            fails_with 2 "$build/payringctl" pay
ok 'checked only'               "$build/payringctl" payments --state sent -n
ok '... and refused'            fails_with 2 "$build/payringctl" payments --state lost -n
ok 'settings checked alone'     "$build/payringctl" -n
ok 'no region'                  fails_with 3 env PAYRING_REGION=none.such "$build/payringctl" payments
ok 'a full disk is an error'    fails_with 3 sh -c '"$build/payringctl" payments >/dev/full'

restart_process worker0
restart_process worker1
processor default recovers
processor default behaves
ok 'the books agree'            books_agree_within 20
is 'all settled'                "$(payments --state settled | wc -l)" 4
done_testing
