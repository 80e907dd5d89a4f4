#!/bin/sh
description='payringctl export writes the settled payments, as a whole or not at all, and they add up to
the summary of the same window.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 1 PAYRING_PAYMENT_SLOTS=64 PAYRING_HORIZON_S=0
header=lane,row,processor,amount,requestedAt,correlationId
is 'nothing but the header'     "$("$build/payringctl" export)" "$header"
ok 'payments'                   post_many --count 300 --seed 731 --amounts 19.90,0.01,200000.00
all_settled() { [ "$("$build/payringctl" export | wc -l)" = 301 ]; }
ok 'are settled'                eventually 20 all_settled
ok 'the books agree'            books_agree_within 10

# sums FILE: "default n sum fallback n sum" of a CSV, in cents.
sums() {
    awk -F , 'NR > 1 { split($4, a, "."); n[$3]++; c[$3] += a[1] * 100 + a[2] }
        END { printf "default %d %d fallback %d %d\n", n["default"], c["default"], n["fallback"], c["fallback"] }' "$1"
}
# summed ACTOR QUERY: the same of the API.
summed() {
    local p
    for p in default fallback; do
        summary_of api0 $p "$1" | awk -v p=$p '{ split($2, a, "."); printf "%s %d %d%s", p, $1, a[1] * 100 + a[2], p == "default" ? " " : "\n" }'
    done
}
csv=$play_dir/all.csv
ok 'to a file'                  "$build/payringctl" export --output "$csv"
is '... whole'                  "$(sums "$csv")" "$(summed '')"
is '... with its header'        "$(head -n 1 "$csv")" "$header"
is '... for its owner alone'    "$(stat -c %a "$csv")" 600
is '... and nothing beside it'  "$(find "$play_dir" -name 'all.csv.*')" ''
is 'every line has its form'    "$(tail -n +2 "$csv" | grep -cvE \
    '^[01],[0-9]+,(default|fallback),[0-9]+\.[0-9]{2},2[0-9-]{9}T[0-9:]{8}\.[0-9]{3}Z,([0-9a-f-]{36})?$')" 0
with_ids=$(tail -n +2 "$csv" | grep -cvE ',$')
records=$("$build/payringctl" payments --state settled --format tsv | wc -l)
is 'ids as far as they are kept' "$with_ids" "$records"
ok '... which is not all'       test "$with_ids" -lt 300
ok '... and some'               test "$with_ids" -gt 0
tail -n +2 "$csv" | grep -v ',$' | awk -F , '{ print $6 "\t" $4 "\t" $3 "\t" $5 }' | sort >"$play_dir/exported"
"$build/payringctl" payments --state settled --format tsv | cut -f 1,2,4,5 | sort >"$play_dir/listed"
ok 'they are the right ones'    cmp "$play_dir/exported" "$play_dir/listed"

jsonl=$play_dir/all.jsonl
ok 'as JSON lines'              "$build/payringctl" export --format jsonl --output "$jsonl"
is '... each an object with all members' "$(perl -MJSON::PP -ne 'my $r = decode_json($_);
    print join(",", $r->{lane}, $r->{row}, @$r{qw(processor requestedAt)}, $r->{correlationId} // ""), "\n"' "$jsonl" |
    cksum)" "$(tail -n +2 "$csv" | awk -F , '{ print $1 "," $2 "," $3 "," $5 "," $6 }' | cksum)"
is '... amounts with two decimals' "$(grep -cE '"amount":[0-9]+\.[0-9]{2},' "$jsonl")" 300

# A window, both ends inclusive.
from=$(tail -n +2 "$csv" | cut -d , -f 5 | sort | sed -n 60p)
to=$(tail -n +2 "$csv" | cut -d , -f 5 | sort | sed -n 240p)
"$build/payringctl" export --from "$from" --to "$to" >"$play_dir/window.csv"
is 'a window adds up'           "$(sums "$play_dir/window.csv")" "$(summed "?from=$from&to=$to")"
ok '... and is a part'          test "$(wc -l <"$play_dir/window.csv")" -ge 181
is 'an empty window'            "$("$build/payringctl" export --to 2020-01-01T00:00:00Z)" "$header"

# --- what cannot be written --------------------------------------------------------------------------

exits() { # STATUS COMMAND...
    local expected="$1" is=0
    shift
    "$@" 2>"$play_dir/said" || is=$?
    cat "$play_dir/said"
    [ "$is" = "$expected" ] && [ -s "$play_dir/said" ]
}
ok 'a full disk'                exits 3 sh -c '"$build/payringctl" export >/dev/full'
ok 'a reader that goes away'    exits 3 bash -c 'exec 3> >(:); wait $!; exec "$build/payringctl" export >&3'
ok 'no such folder'             exits 3 "$build/payringctl" export --output "$play_dir/none/all.csv"
ln -s /dev/full "$play_dir/full"
mkdir "$play_dir/folder"
ok 'a name that is a folder'    exits 3 "$build/payringctl" export --output "$play_dir/folder"
is '... leaves nothing behind'  "$(find "$play_dir" -name 'folder.*')" ''
cp "$csv" "$play_dir/kept.csv"
limited() ( ulimit -f 1 && exits 3 "$build/payringctl" export --output "$play_dir/kept.csv" )
ok 'no room for all of it'      limited
ok '... keeps what was there'   cmp "$csv" "$play_dir/kept.csv"

# --- beside the running gateway, and after a purge ------------------------------------------------------

load_start --seconds 4 --rate 300 --seed 732
ok 'the load runs'              eventually 5 load_has_posted 400
prefix_of() { # FILE FILE: what the first has, the second has too
    same "$(tail -n +2 "$1" | cut -d , -f 1-5 | sort | comm -23 - "$2" | head -n 3)" ''
}
"$build/payringctl" export >"$play_dir/early.csv"
ok 'some more'                  eventually 5 load_has_posted 800
"$build/payringctl" export >"$play_dir/later.csv"
ok 'the load is answered'       load_wait
tail -n +2 "$play_dir/later.csv" | cut -d , -f 1-5 | sort >"$play_dir/later.sorted"
ok 'what was exported stays so' prefix_of "$play_dir/early.csv" "$play_dir/later.sorted"
ok 'the books agree'            books_agree_within 20
"$build/payringctl" export >"$play_dir/end.csv"
is 'and all adds up'            "$(sums "$play_dir/end.csv")" "$(summed '')"
ok 'purged'                     answers 200 api0 /purge-payments -X POST
is 'purged rows are left out'   "$("$build/payringctl" export)" "$header"
done_testing
