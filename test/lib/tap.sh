# The least that a test in shell needs: ok, is, not, done_testing, in TAP.
#
#   description='What is true afterwards.'
#   . test/lib/tap.sh
#
# $play_dir is a directory of the play's own; it stays if the play fails.

set -u
cd "$(dirname "$0")/../.." || exit 1

: "${description:?a play says in \$description what it shows}"
play=$(basename "$0" .sh)
play_dir=$(mktemp -d "${TMPDIR:-/tmp}/payring-$play.XXXXXX") || exit 1

tests_run=0
tests_failed=0
play_finished=
printf '# %s\n' "$(printf '%s' "$description" | tr '\n' ' ')"

# ok NAME COMMAND...: one test, passed if the command is true.
ok() {
    local name="$1"
    shift
    tests_run=$((tests_run + 1))
    if "$@" >"$play_dir/output" 2>&1; then
        echo "ok $tests_run - $name"
        return
    fi
    tests_failed=$((tests_failed + 1))
    echo "not ok $tests_run - $name"
    { echo "$*"; head -n 40 "$play_dir/output"; } | sed 's/^/# /' >&2
}

# is NAME GOT EXPECTED: one test, passed if both are the same text.
is() {
    ok "$1" same "$2" "$3"
}

same() {
    [ "$1" = "$2" ] || {
        echo "     got: $1"
        echo "expected: $2"
        false
    }
}

# not COMMAND...: true if the command is false.
not() {
    ! "$@"
}

# last_tests: those that the stage adds to the end of every play.
last_tests() {
    :
}

# done_testing: the last line of every play.
done_testing() {
    last_tests
    echo "1..$tests_run"
    play_finished=yes
    [ "$tests_failed" -eq 0 ]
    exit
}

# True if the play got to its end and nothing failed.
play_succeeded() {
    [ "$tests_failed" -eq 0 ] && [ -n "$play_finished" ]
}

tap_end() {
    ! play_succeeded || rm -rf "$play_dir"
}
trap tap_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
