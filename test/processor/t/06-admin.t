#!/bin/sh
# The administration of the real processor: token, delay, failure, purge.
. test/processor/t/lib.sh
processor_start

is 'delay is answered 200' "$(admin PUT configurations/delay '{"delay":7}')" 200
is 'with what it was and is' "$(body)" '{"config":"delay","was":0,"is":7}'
admin PUT configurations/delay '{"delay":0}' >/dev/null
is 'each time' "$(body)" '{"config":"delay","was":7,"is":0}'
is 'a delay that is no number is a 400' "$(admin PUT configurations/delay '{"delay":"7"}')" 400
is 'so is a negative one' "$(admin PUT configurations/delay '{"delay":-1}')" 400

is 'failure is answered 200' "$(admin PUT configurations/failure '{"failure":true}')" 200
is 'with what it was and is' "$(body)" '{"config":"failure","was":false,"is":true}'
admin PUT configurations/failure '{"failure":false}' >/dev/null
is 'each time' "$(body)" '{"config":"failure","was":true,"is":false}'
is 'a failure that is no boolean is a 400' "$(admin PUT configurations/failure '{"failure":1}')" 400

new_id
post $id >/dev/null
is 'purge is answered 200' "$(admin POST purge-payments)" 200
is 'and empties the books' "$(books | wc -l)" 0
is 'and the summary' "$(admin GET payments-summary >/dev/null; body | grep -c '"totalRequests":0,')" 1

for call in 'PUT configurations/token' 'PUT configurations/delay' 'PUT configurations/failure' \
    'POST purge-payments' 'GET payments-summary' 'GET payments' "GET seen/$id" 'GET stats' \
    'POST stats/reset' 'GET misbehave' 'PUT misbehave'; do
    token=124
    is "$call with a wrong token is a 401" "$(admin $call)" 401
done
token=123
is 'token is answered 204' "$(admin PUT configurations/token '{"token":"another"}')" 204
is 'without a body' "$(body_size)" 0
is 'the old token is refused then' "$(admin POST purge-payments)" 401
token=another
is 'the new one is not' "$(admin POST purge-payments)" 200
is 'an empty token is a 400' "$(admin PUT configurations/token '{"token":""}')" 400

processor_start --token secret
is 'the first token can be set at start' "$(admin GET stats)" 401
token=secret
is 'and is the one then' "$(admin GET stats)" 200
done_testing
