#!/bin/sh
description='Includes point one way, and what only one room may do no other room does.'
. test/lib/tap.sh

# nobody EXTENDED-REGEXP FILE...: no line of these files matches; comments do not count.
nobody() {
    local pattern="$1" file found=''
    shift
    [ $# -gt 0 ] || return
    for file; do
        [ -f "$file" ] || return
        case " $except " in *" $file "*) continue ;; esac
        # Comments and texts go, line numbers stay.
        perl -0pe 's{/\*.*?\*/|//[^\n]*}{$& =~ tr/\n//cdr}gse;
            s{^(?!#include).*}{$& =~ s/"(?:[^"\\]|\\.)*"/""/gr}gme' "$file" |
            grep -nE "$pattern" | sed "s|^|$file:|" >>"$play_dir/found"
    done
    found=$(cat "$play_dir/found" 2>/dev/null)
    rm -f "$play_dir/found"
    same "$found" ''
}

# shellcheck disable=SC2046
rooms() { find "$@" -name '*.[ch]' | sort; }

except=
printf 'int x; /* float */\nfloat y; // float\n' >"$play_dir/bad.c"
ok 'this test can fail'           not nobody 'float' "$play_dir/bad.c"
ok 'and ignores comments'         nobody 'x.*float|y.*float.*float' "$play_dir/bad.c"
ok 'common knows no other room'   nobody '#include "(shm|worker|api|test)/' $(rooms common)
ok 'shm knows common alone'       nobody '#include "(worker|api|test)/' $(rooms shm)
ok 'worker does not know the API' nobody '#include "(api|test)/' $(rooms worker)
# shellcheck disable=SC2046
ok 'no daemon knows the operators'"'"' verbs' nobody '#include "worker/ctl' \
    $(rooms api worker | grep -vE '^worker/(ctl_.*|payringctl_main)\.c$')
ok 'the API knows no worker'      nobody '#include "(worker|test)/' $(rooms api)
ok 'includes are written from the root' nobody '#include "[^/"]*"' $(rooms api worker common shm test)
ok 'the stand-in knows no room'   nobody '#include "(common|shm|worker|api)/' $(rooms test/processor test/lib)
except='shm/shm_region.c shm/shm_ledger_file.c'
ok 'only shm_region.c maps memory, and shm_ledger_file.c files that nobody writes' \
    nobody '\b(mmap|munmap|mprotect|shm_open|shm_unlink)\(' $(rooms api worker common shm)
except='worker/upstream.c worker/ctl_health.c'
ok 'only upstream.c and health know libcurl' nobody 'curl/|curl_|CURL' $(rooms api worker common shm)
except=
ok 'only the API knows h2o'       nobody 'h2o' $(rooms worker common shm)
ok 'no floating point'            nobody '\b(double|float|strtod|atof|get_double)\b' $(rooms api worker common shm)
ok 'the protocol is pure'         nobody '#include <(time|unistd|stdio|curl|sys)|clock_|LOG_' \
    worker/payment_protocol.c worker/payment_protocol.h
ok 'so is the routing'            nobody '#include <(time|unistd|stdio|curl|sys)|clock_|LOG_' \
    worker/routing.c worker/routing.h
ok 'nothing waits a fixed time in a play' \
    same "$(grep -nE '^[^#]*\bsleep [1-9]' test/cluster/*.sh test/processor/t/* 2>/dev/null)" ''
done_testing
