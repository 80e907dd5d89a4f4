#!/bin/sh
# 800 run, 500 wait, the rest gets a 429 and is not executed.
. test/processor/t/lib.sh
ulimit -n 4096 || { echo '1..0 # SKIP 4096 descriptors are not allowed here'; exit 0; }
processor_start

# All of them are sent well within this delay.
set_delay 2000
perl $here/flood.pl $port 1310 aaaa >"$tmp/answers" &
flood=$!
await_stat posts 1310
is '800 are running' "$(stat running)" 800
is '500 are waiting' "$(stat queued)" 500
new_id
is 'the next payment gets a 429 at once' "$(post $id)" 429
is 'a look-up shares the limit' "$(lookup $id)" 429
is 'the summary does not' "$(admin GET payments-summary)" 200
is 'nor does service-health' "$(call GET /payments/service-health)" 200
set_delay 0
wait $flood
is 'beyond that they got a 429, the others a 200' "$(tr '\n' ' ' <"$tmp/answers")" '200 1300 429 10 '
is 'those with a 429 were not executed' "$(stat payments)" 1300
is 'never more than 800 at once' "$(stat max_running)" 800
is 'and nothing is left' "$(stat running)$(stat queued)" 00
is 'there is room again' "$(post $id)" 200

processor_start --max-running 2 --max-queued 1
set_delay 700
perl $here/flood.pl $port 4 bbbb >"$tmp/answers" &
flood=$!
await_stat posts 4
new_id
is 'a look-up counts as well when it is full' "$(lookup $id)" 429
wait $flood
is 'the limits can be set' "$(tr '\n' ' ' <"$tmp/answers")" '200 3 429 1 '

perl $here/flood.pl $port 2 cccc >"$tmp/answers" &
flood=$!
await_stat running 2
began=$(now_ms)
is 'a look-up waits for a place among the running' "$(lookup $id)" 404
between 'until one is free' $(($(now_ms) - began)) 100 2000
wait $flood
done_testing
