#!/bin/sh
description='What the benchmarks of rings and lanes are made of counts what is there: the feeder feeds
what is settled, the ring passes every record, and a wrong answer is no figure.'
. test/bench/t/lib.sh

export PAYRING_REGION="bench-t-$$" PAYRING_API_SLOTS=1 PAYRING_LANES=2 PAYRING_WORKER_LANES=2 PAYRING_RING_SLOTS=256 \
    PAYRING_PAYMENT_SLOTS=1024 PAYRING_LEDGER_ROWS=65536 PAYRING_HORIZON_PAYMENTS=4096 PAYRING_HORIZON_S=0
leave() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    build/payringctl remove --force-lose-payments >/dev/null 2>&1
    tap_end
}
trap leave EXIT

body='{"message":"payment processed successfully","failing":false,"minResponseTime":0}'
start_and_wait processor ready build/bare --listen 127.0.0.1:0 --status 200 --body "$body"
port=$(sed -n 's/.*port //p' "$play_dir/processor")
export PAYRING_DEFAULT_URL="http://127.0.0.1:$port" PAYRING_FALLBACK_URL="http://127.0.0.1:$port"

ok 'a region'                         build/payringctl create
start_and_wait worker ready sh -c 'exec build/payring-worker 2>&1'
build/feed --count 3000 --outstanding 500 >"$play_dir/feed"
is 'status: it fed'                   $? 0
ok 'and all of it was settled'        holds feed '$_->{settled} == 3000 && $_->{failed} == 0'
is 'as the region says'               "$(build/payringctl show --plain | sed -n 's/^lane.settled_default //p')" 3000
build/feed --seconds 1 --warm-ms 100 --worker "$started" >"$play_dir/timed"
is 'status: it watched'               $? 0
ok 'payments a second, and their CPU' holds timed '$_->{per_s} > 0 && $_->{cpu_us_per_payment} > 0 &&
    abs($_->{per_s} * $_->{cpu_us_per_payment} / 1e6 - $_->{cpu_share}) < 0.02'
ok 'requests were in flight'          holds timed '$_->{in_flight} > 0'

build/bench-ring --batch 64 --records 200000 >"$play_dir/taken" 2>&1
is 'a region of that name is in the way' $? 2
PAYRING_REGION="bench-t-$$.ring" build/bench-ring --batch 64 --records 200000 >"$play_dir/ring"
is 'status: every record was passed'  $? 0
ok 'a rate for each ring'             holds ring '!grep { !($_ > 0) } @$_{qw(payring ck_slot ck_entry)}'
ok 'and no region stays'              not test -e "/dev/shm/bench-t-$$.ring"

build/bare-settle --url "http://127.0.0.1:$port/payments" --concurrency 4 --warm-ms 100 --seconds 1 >"$play_dir/bare"
is 'bare-settle: all were answered'   $? 0
ok 'it says how fast'                 holds bare '$_->{settled} > 0 && $_->{failed} == 0 && $_->{cpu_us_per_payment} > 0'
start_and_wait refuser ready build/bare --listen 127.0.0.1:0 --status 500
build/bare-settle --url "http://127.0.0.1:$(sed -n 's/.*port //p' "$play_dir/refuser")/payments" \
    --concurrency 4 --warm-ms 100 --seconds 1 >"$play_dir/refused"
is 'refused payments are no figure'   $? 1

echo library | PAYRING_REGION="bench-t-$$.rows" build/bench-summary --serve --rows 20000 --windows 200 >"$play_dir/rows"
is 'bench-summary: the sums are right' $? 0
is 'ready, then an answer a word'     "$(sed -n '1p;2s/:[0-9.]*/:N/gp' "$play_dir/rows" | tr '\n' ' ')" \
    'ready {"median_us":N,"p99_us":N} '
PAYRING_REGION="bench-t-$$.rows" build/payringctl remove --force-lose-payments >/dev/null 2>&1
done_testing
