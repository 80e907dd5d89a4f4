#!/bin/sh
description='docs/OPERATING.md names every setting that a program has, and none that it has not.'
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
done_testing
