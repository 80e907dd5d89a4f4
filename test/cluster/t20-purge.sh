#!/bin/sh
description='A purge under load clears what was counted, cancels what was not sent, lets what is
in flight settle, and everything accepted after it is counted.'
. test/lib/cluster.sh

cluster_start --apis 2 --workers 2
ok 'some payments'              post_many --count 200 --seed 71
ok 'settled'                    eventually 10 summary_has api0 default 200 3980.00
ok 'purged'                     answers 200 api1 /purge-payments -X POST
ok 'nothing is counted'         summary_has api0 default 0 0.00
ok 'nor by the other'           summary_has api1 default 0 0.00
purged_us=$(now_us)
id=$(new_id)
ok 'accepted after it'          post_payment api0 "$id" 1.00
ok 'counted'                    eventually 5 summary_has api1 default 1 1.00
ok 'the books agree'            books_agree_within 5 --purged-until "$purged_us"

load_start --seconds 6 --rate 300 --seed 72
for n in 1 2 3 4 5; do
    ok "the load goes on, $n"   eventually 5 load_has_posted $((200 + n * 250))
    ok "purged under load, $n"  eventually 5 answers 200 "api$((n % 2))" /purge-payments -X POST
    purged_us=$(now_us)
done
ok 'the load is answered'       load_wait
# What a purge cancelled before it was sent was accepted and stands in no book: of the posts, only
# those sent after the last purge have to.
awk -F '\t' -v us="$purged_us" '$5 > us { print; next } { $3 = "lost"; print $1 "\t" $2 "\t" $3 }' \
    "$play_dir/posted.load" "$play_dir/posted.many" >"$play_dir/kept"
rm "$play_dir/posted.many" && mv "$play_dir/kept" "$play_dir/posted.load"
ok 'the books agree'            books_agree_within 20 --purged-until "$purged_us"

processor default delay 2000
ok 'accepted'                   post_payment api0 "$(new_id)" 2.00
ok 'in flight'                  eventually 5 processor_is_busy default
ok 'purged with it in flight'   answers 200 api0 /purge-payments -X POST
purged_us=$(now_us)
ok 'it settles and counts'      eventually 6 summary_has api0 default 1 2.00
ok 'the books agree'            books_agree_within 5 --purged-until "$purged_us"

# A purge that cannot be applied says so: a lane whose owner stands still does not take part.
kill_process worker0 STOP
kill_process worker1 STOP
ok 'not applied: 503'           answers 503 api0 /purge-payments -X POST
kill_process worker0 CONT
kill_process worker1 CONT
ok 'applied when they go on'    eventually 5 answers 200 api0 /purge-payments -X POST
ok 'nothing is counted'         summary_has api0 default 0 0.00
ok 'the books agree'            books_agree_within 5 --purged-until "$(now_us)"
done_testing
