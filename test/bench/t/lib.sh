# For the tests of the benchmarks' own programs: start what they are held against, read their JSON.
. test/lib/tap.sh
cd .. || exit 1 # these lie a folder deeper than other plays

pids=
end_all() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    tap_end
}
trap end_all EXIT

# start_and_wait NAME WORD COMMAND...: in the background, until it says WORD; $started is its pid.
start_and_wait() {
    local name="$1" word="$2" tries=0
    shift 2
    : >"$play_dir/$name"
    "$@" >"$play_dir/$name" 2>"$play_dir/$name.errors" &
    started=$!
    pids="$pids $started"
    until grep -q "$word" "$play_dir/$name"; do
        [ $((tries += 1)) -lt 250 ] && kill -0 "$started" 2>/dev/null || {
            echo "Bail out! $name does not start: $(cat "$play_dir/$name.errors")"
            exit 1
        }
        sleep 0.02
    done
}

# end_and_wait PID
end_and_wait() {
    kill "$1" && wait "$1"
}

# json FILE EXPRESSION: a Perl expression about the object $_, such as $_->{p99_ms}.
json() {
    perl -MJSON::PP -e 'local $/; open my $in, "<", shift or die $!;
        $_ = decode_json(scalar <$in>); print eval shift; die $@ if $@' "$play_dir/$1" "$2"
}

# holds FILE EXPRESSION: true if it is.
holds() {
    [ "$(json "$1" "(do { $2 }) ? 1 : 0")" = 1 ] || {
        cat "$play_dir/$1"
        false
    }
}
