#!/bin/sh
description='docs/OPERATING.md names every setting that a program has, with the default and the values
that its --help tells, and none that it has not.'
. test/lib/tap.sh

for program in payring-api payring-worker payringctl; do
    "build/$program" --help >"$play_dir/$program.help" 2>&1
    is "$program --help" $? 0
done
grep -ohE 'PAYRING_[A-Z0-9_]+' "$play_dir"/*.help | sort -u >"$play_dir/settings"
grep -ohE 'PAYRING_[A-Z0-9_]+' docs/OPERATING.md | sort -u >"$play_dir/documented"
# Of the scripts of make, not of the programs.
grep -ohE 'PAYRING_[A-Z0-9_]+' compose/local/* Makefile | sort -u |
    comm -23 - "$play_dir/settings" >"$play_dir/scripts"
ok 'there are settings'  test "$(wc -l <"$play_dir/settings")" -gt 20
is 'not documented'      "$(comm -23 "$play_dir/settings" "$play_dir/documented")" ''
is 'documented, but of no program' \
    "$(comm -13 "$play_dir/settings" "$play_dir/documented" | comm -23 - "$play_dir/scripts")" ''

# name, default, what is allowed: in --help over three lines, in the page a row of a table.
cat "$play_dir"/*.help |
    sed -n '/^  .*PAYRING_[A-Z0-9_]*  \[.*\]$/{N;N;s/^.*\(PAYRING_[A-Z0-9_]*\)  \[\(.*\)\]\n.*\n *\(.*\)$/\1 | \2 | \3/p;}' |
    sort -u >"$play_dir/told"
sed -n 's/^| `\(PAYRING_[A-Z0-9_]*\)` | `\([^`]*\)` | .* | \([^|]*\) |$/\1 | \2 | \3/p' docs/OPERATING.md |
    sort -u >"$play_dir/written"
is 'all are told of'     "$(cut -d ' ' -f 1 "$play_dir/told")" "$(cat "$play_dir/settings")"
is 'told by --help, and not so in the page' "$(comm -23 "$play_dir/told" "$play_dir/written")" ''
is 'in the page, and not told so by --help' "$(comm -13 "$play_dir/told" "$play_dir/written")" ''
done_testing
