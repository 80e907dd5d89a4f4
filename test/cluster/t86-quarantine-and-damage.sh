#!/bin/sh
description='A cold start asks no book before the quarantine is over, and then settles what slept at a
processor once; a damaged record in the middle of the journal stops the start and is named.'
. test/lib/cluster.sh

mkdir "$play_dir/state"
cluster_start --apis 1 --workers 1 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$play_dir/state" \
    PAYRING_QUARANTINE_MS=4000

lose_the_region() {
    kill_at_once api0 worker0
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
}

create() { "$build/payringctl" create >"$play_dir/create.log" 2>&1; }

start_anew() {
    created_ms=$(now_ms)
    create || { cat "$play_dir/create.log"; return 1; }
    restart_process worker0
    restart_process api0
}

# --- a request that sleeps at a processor outlives the region that sent it --------------------------

processor default delay 2500
id=$(new_id)
ok 'a payment is accepted'        post_payment api0 "$id" 19.90
ok 'its request is out'           eventually 5 processor_saw default "$id" 1
ok 'the region is lost'           lose_the_region
processor default delay 0
ok 'a new one is made'            start_anew
ok 'in which it is as it was'     payment_is api0 "$id" sent default
ok 'the books are asked'          eventually 15 counter_at_least lane.books_asked 1
asked_ms=$(($(now_ms) - created_ms))
ok "and not before the quarantine is over ($asked_ms ms)"  [ "$asked_ms" -ge 4000 ]
ok 'it is settled'                eventually 10 payment_is api0 "$id" settled default
ok 'and was sent once'            processor_saw default "$id" 1
ok 'the books agree'              books_agree

# --- a record that was on disk is not whole ----------------------------------------------------------

ok 'more payments'                post_many --count 100 --rate 200 --seed 86
ok 'their books agree'            books_agree_within 10
ok 'the region is lost again'     lose_the_region
segment=$(ls "$play_dir"/state/journal-*/lane-0/journal-*.pj | head -n 1)
byte_at() { od -An -tu1 -j "$1" -N 1 "$segment" | tr -d ' '; }
put_byte() { # OFFSET VALUE
    # shellcheck disable=SC2059
    printf "\\$(printf %o "$2")" | dd of="$segment" bs=1 seek="$1" conv=notrunc status=none
}
was=$(byte_at 345)
put_byte 345 $((was ^ 1))
ok 'the start is stopped'         not create
ok 'by the name of the place'     grep -q "damaged in .*/lane-0/${segment##*/} at byte 320: " "$play_dir/create.log"
ok 'there is no region'           [ ! -e "/dev/shm/$PAYRING_REGION" ]
ok 'payringctl journal names it'  eval '! "$build/payringctl" journal >"$play_dir/verdict" 2>&1 &&
    grep -q "${segment##*/} at byte 320" "$play_dir/verdict"'
put_byte 345 "$was"
ok 'made whole, it starts'        start_anew
ok 'the books agree again'        books_agree_within 15
ok 'and the windows'              windows_agree
done_testing
