# Plays against stand-in processors of their own. Sourced by the *.t files here,
# which prove runs from the root of the project:
#
#     prove --ext .t test/processor/t        (PROCESSOR=build/processor)
#
# Every processor listens on a free port, and is ended by its process id.

PROCESSOR=${PROCESSOR:-build/processor}
here=test/processor/t
tmp=$(mktemp -d)
tests=0
ids=0
pids=

cleanup() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null && wait "$pid"
    done
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

if [ ! -x "$PROCESSOR" ]; then
    echo "Bail out! there is no $PROCESSOR: build it, or set PROCESSOR"
    exit 1
fi

# Start a processor: $base is its URL, $port its port, $pid its process.
processor_start() {
    : >"$tmp/ready"
    "$PROCESSOR" --listen 127.0.0.1:0 "$@" >"$tmp/ready" 2>"$tmp/errors" &
    pid=$!
    pids="$pids $pid"
    until grep -q ready "$tmp/ready"; do
        kill -0 "$pid" 2>/dev/null || { cat "$tmp/errors"; echo 'Bail out! it does not start'; exit 1; }
        sleep 0.02
    done
    port=$(sed 's/.*tcp=[^ ]*:\([0-9]*\).*/\1/' "$tmp/ready")
    base=http://127.0.0.1:$port
    token=123
}

# Checks. Each prints one line of TAP.

report() { # passed? name
    tests=$((tests + 1))
    if [ "$1" = 0 ]; then echo "ok $tests - $2"; else echo "not ok $tests - $2"; fi
}

is() { # name, got, expected
    [ "$2" = "$3" ]
    report $? "$1"
    [ "$2" = "$3" ] || printf '# got:      %s\n# expected: %s\n' "$2" "$3"
}

between() { # name, got, lowest, highest
    [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]
    report $? "$1"
    [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || echo "# got $2, expected $3..$4"
}

done_testing() {
    echo "1..$tests"
}

# Calls. Each prints the status (000: no HTTP answer) and leaves the body in
# $tmp/body, the headers in $tmp/headers and curl's exit code in $tmp/exit.

call() { # method, path, [body], [more of curl's options]
    method=$1 path=$2 data=$3
    shift 2
    [ $# -eq 0 ] || shift
    : >"$tmp/body" >"$tmp/headers"
    set -- "$@" -s -m 20 -o "$tmp/body" -D "$tmp/headers" -w '%{http_code}' -X "$method"
    [ -z "$data" ] || set -- "$@" -H 'Content-Type: application/json' -d "$data"
    curl "$@" "$base$path"
    echo $? >"$tmp/exit"
}

payment() { # id, amount, requestedAt
    printf '{"correlationId":"%s","amount":%s,"requestedAt":"%s"}' "$1" "$2" "$3"
}

moment=2025-07-15T12:34:56.789Z
post() { # id, [amount], [requestedAt]
    call POST /payments "$(payment "$1" "${2:-19.90}" "${3:-$moment}")"
}

lookup() { call GET "/payments/$1"; }
admin() { call "$1" "/admin/$2" "$3" -H "X-Rinha-Token: $token"; }
body() { cat "$tmp/body"; }
body_size() { wc -c <"$tmp/body"; }
curl_exit() { cat "$tmp/exit"; }

set_delay() { admin PUT configurations/delay "{\"delay\":$1}" >/dev/null; }
set_failure() { admin PUT configurations/failure "{\"failure\":$1}" >/dev/null; }
misbehave() { admin PUT misbehave "$1" >/dev/null; }
books() { admin GET payments >/dev/null; body; }
in_books() { books | grep -c "^$1"; }
seen() { admin GET "seen/$1" >/dev/null; body; }

stat() { # name of a number in the statistics
    admin GET stats >/dev/null
    body | perl -MJSON::PP -e 'my $s = decode_json(join "", <STDIN>);
        my $v = $s->{$ARGV[0]} // $s->{statuses}{$ARGV[0]} // 0; print $v' "$1"
}

await_stat() { # name, value: for at most 5 s
    tries=0
    until [ "$(stat "$1")" = "$2" ] || [ $((tries += 1)) -gt 100 ]; do sleep 0.05; done
}

# A new id each time, in $id.
new_id() {
    ids=$((ids + 1))
    id=$(printf '%08x-0000-4000-8000-%012x' $$ $ids)
}

now_ms() { date +%s%3N; }
