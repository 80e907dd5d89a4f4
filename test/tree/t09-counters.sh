#!/bin/sh
description='docs/OPERATING.md tells of every counter, with the meaning that payringctl prints.'
. test/lib/tap.sh

# scope and name, meaning. C joins strings, and so does sed.
sed -z 's/"\n *"//g' shm/shm_counters.def |
    sed -n 's/^COUNTER(\([A-Z]*\), \([a-z0-9_]*\), "\(.*\)")$/\1 | `\2` | \3/p' |
    tr A-Z a-z | sort >"$play_dir/counters"
awk '/^\| `(api|lane)\.` \| meaning \|$/ { scope = $2; gsub(/[`.]/, "", scope); next }
     /^$/ { scope = "" }
     scope != "" && /^\| `/ { sub(/^\| /, ""); sub(/ \|$/, ""); print scope " | " $0 }' docs/OPERATING.md |
    tr A-Z a-z | sort >"$play_dir/written"
ok 'there are counters'      test "$(wc -l <"$play_dir/counters")" -gt 30
is 'none was overlooked'     "$(grep -c '^COUNTER(' shm/shm_counters.def)" "$(wc -l <"$play_dir/counters")"
is 'not in the page, or with another meaning' "$(comm -23 "$play_dir/counters" "$play_dir/written")" ''
is 'in the page, and none of them'            "$(comm -13 "$play_dir/counters" "$play_dir/written")" ''
done_testing
