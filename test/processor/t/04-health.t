#!/bin/sh
# GET /payments/service-health: the configured values, and one call per 5 s.
. test/processor/t/lib.sh
processor_start
health() { call GET /payments/service-health; }

# Calls in the background, each with its status and the time of its answer.
health_later() {
    curl -s -m 20 -o /dev/null -w '%{http_code}' "$base/payments/service-health" >"$tmp/later$1" &&
        now_ms >"$tmp/at$1" &
    eval "later$1=$!"
    tries=0
    until [ "$(stat health_calls)" = $((1 + $1)) ] || [ $((tries += 1)) -gt 100 ]; do sleep 0.02; done
}

set_delay 20
began=$(now_ms)
is 'the first call of a window is answered 200' "$(health)" 200
is 'with what is configured' "$(body)" '{"failing":false,"minResponseTime":20}'
between 'at once, whatever the delay' $(($(now_ms) - began)) 0 1000
health_later 1
health_later 2
is 'after two waiting ones the next gets a 429' "$(health)" 429
between 'at once' $(($(now_ms) - began)) 0 3000
is 'with Retry-After' "$(tr -d '\r' <"$tmp/headers" | grep -i '^retry-after:' | tr A-Z a-z)" \
    'retry-after: 5'
set_failure true

wait $later1
is 'the oldest waiting call is answered 200' "$(cat "$tmp/later1")" 200
between 'when the window of 5 s turns' $(($(cat "$tmp/at1") - began)) 4990 8000
is 'the other one waits for the next window' "$(stat health_answered)" 2
kill $later2
is 'the calls are counted' "$(stat health_calls)" 4
is 'and so are the refused' "$(stat health_refused)" 1
admin GET stats >/dev/null
is 'with the time of each' "$(body | perl -MJSON::PP -e '
    my $t = decode_json(join "", <STDIN>)->{health_calls_at_us};
    my @near = grep { abs($_ / 1000 - $ARGV[0]) < 3000 } @$t; print scalar @near' $began)" 4

# The same with short windows, to see more of them.
processor_start --health-window 800
set_delay 1234
set_failure true
began=$(now_ms)
health >/dev/null
is 'failing and minResponseTime are shown as configured' "$(body)" \
    '{"failing":true,"minResponseTime":1234}'
health_later 1
health_later 2
wait $later1 $later2
between 'one waiting call is answered at the next turn' $(($(cat "$tmp/at1") - began)) 790 1550
between 'the other one at the turn after that' $(($(cat "$tmp/at2") - began)) 1590 4000
sleep 0.9
began=$(now_ms)
is 'a window without calls ends by itself' "$(health)" 200
between 'and its successor has an answer at once' $(($(now_ms) - began)) 0 700
done_testing
