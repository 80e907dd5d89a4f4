#!/bin/bash
# run.sh: a whole gateway in the foreground, for trying it out. `make run` calls this.
#
# Two APIs behind nginx on port 9999 (PAYRING_PORT), two worker processes, and two stand-in
# processors on 8001 and 8002 (PAYRING_DEFAULT_PORT, PAYRING_FALLBACK_PORT), unless
# PAYRING_DEFAULT_URL and PAYRING_FALLBACK_URL name others. Every other PAYRING_* setting is passed
# on. Everything lives in a region and a directory of its own and is gone after Ctrl-C; an API or a
# worker that dies is started again.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build

port=${PAYRING_PORT:-9999}
default_port=${PAYRING_DEFAULT_PORT:-8001}
fallback_port=${PAYRING_FALLBACK_PORT:-8002}
unset PAYRING_PORT PAYRING_DEFAULT_PORT PAYRING_FALLBACK_PORT PAYRING_API_SOCKET PAYRING_API_SLOT
. "$here/placing.sh" # sets front, back
start_limit_s=15
stop_limit_s=15

dir=$(mktemp -d "${TMPDIR:-/tmp}/payring-run.XXXXXX") || exit 1
export PAYRING_REGION=payring-run-$$-${dir##*.}
export PAYRING_PURGE=${PAYRING_PURGE:-on}
declare -A pid_of
starting='' told_to_stop=''

# A session of its own for each program: Ctrl-C reaches this script alone, which then stops them
# in the right order. Told to stop while it starts one, it first notes whom it has started.
start() { # name command...
    local name=$1
    shift
    starting=yes
    setsid "$@" </dev/null &
    pid_of[$name]=$!
    disown # bash would comment on its death
    starting=
    [ -z "$told_to_stop" ] || exit 0
}

start_component() {
    case $1 in
    api?) start "$1" env PAYRING_API_SOCKET="$dir/$1.sock" "${front[@]}" "$build/payring-api" ;;
    worker?) start "$1" "${back[@]}" "$build/payring-worker" ;;
    nginx) start nginx "${front[@]}" "$here/balancer.sh" "$dir" "$port" "$dir/api0.sock" "$dir/api1.sock" ;;
    default) start default "${back[@]}" "$build/processor" --name default --fee 0.05 \
        --listen "127.0.0.1:$default_port" ;;
    fallback) start fallback "${back[@]}" "$build/processor" --name fallback --fee 0.15 \
        --listen "127.0.0.1:$fallback_port" ;;
    esac
}

stop() { # name...: ask, wait, and only then insist
    local name deadline=$((SECONDS + stop_limit_s))
    for name in "$@"; do
        [ -z "${pid_of[$name]:-}" ] || kill -TERM "${pid_of[$name]}" 2>/dev/null
    done
    for name in "$@"; do
        [ -n "${pid_of[$name]:-}" ] || continue
        while kill -0 "${pid_of[$name]}" 2>/dev/null; do
            if [ "$SECONDS" -ge "$deadline" ]; then
                echo "run: $name does not stop, killing it" >&2
                kill -KILL "${pid_of[$name]}" 2>/dev/null
            fi
            sleep 0.02
        done
        unset "pid_of[$name]"
    done
}

# The region is ours alone, so what is left of it can go, payments and all.
clean_up() {
    trap '' INT TERM HUP
    stop nginx
    stop api0 api1
    stop worker0 worker1
    stop default fallback
    "$build/payringctl" remove --force-lose-payments >/dev/null 2>&1
    rm -rf "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".* "$dir"
}
trap clean_up EXIT
be_told_to_stop() {
    [ -n "$told_to_stop" ] || printf '\nrun: stopping\n' >&2
    told_to_stop=yes
    [ -n "$starting" ] || exit 0
}
trap be_told_to_stop INT TERM HUP

fail() {
    echo "run: $*" >&2
    exit 1
}

ready_when() { # name status curl-arguments...: it answers with that status
    local name=$1 status=$2 deadline=$((SECONDS + start_limit_s))
    shift 2
    until [ "$(curl -s -o "$dir/answer" -w '%{http_code}' --max-time 1 "$@")" = "$status" ]; do
        kill -0 "${pid_of[$name]}" 2>/dev/null || fail "$name did not start"
        [ "$SECONDS" -lt "$deadline" ] || fail "$name is not ready after $start_limit_s s"
        sleep 0.02
    done
}

if [ -n "${PAYRING_DEFAULT_URL:-}" ] && [ -n "${PAYRING_FALLBACK_URL:-}" ]; then
    stand_ins=
else
    [ -z "${PAYRING_DEFAULT_URL:-}${PAYRING_FALLBACK_URL:-}" ] ||
        fail 'set both PAYRING_DEFAULT_URL and PAYRING_FALLBACK_URL, or neither'
    stand_ins='default fallback'
    export PAYRING_DEFAULT_URL=http://127.0.0.1:$default_port
    export PAYRING_FALLBACK_URL=http://127.0.0.1:$fallback_port
fi

# A container has 64 MiB of shared memory unless told otherwise. A quarter of the default ledger
# fits there and still counts two million payments.
small_shm_kib=$((128 * 1024))
if [ -z "${PAYRING_LEDGER_ROWS:-}" ] &&
    [ "$(df -k --output=avail /dev/shm | tail -n 1)" -lt "$small_shm_kib" ]; then
    export PAYRING_LEDGER_ROWS=1048576
fi
"$build/payringctl" create || fail 'no region'
for name in $stand_ins worker0 worker1 api0 api1; do
    start_component "$name"
done
# Not their health page: the worker may call that once in 5 s.
nobody=00000000-0000-4000-8000-000000000000
for name in $stand_ins; do
    case $name in
    default) ready_when default 404 "$PAYRING_DEFAULT_URL/payments/$nobody" ;;
    fallback) ready_when fallback 404 "$PAYRING_FALLBACK_URL/payments/$nobody" ;;
    esac
done
ready_when api0 200 --unix-socket "$dir/api0.sock" http://payring/healthz
ready_when api1 200 --unix-socket "$dir/api1.sock" http://payring/healthz
start_component nginx
ready_when nginx 200 "http://127.0.0.1:$port/healthz"

cat <<TEXT

Payring answers on http://localhost:$port (region $PAYRING_REGION,
default $PAYRING_DEFAULT_URL, fallback $PAYRING_FALLBACK_URL).

  post a payment
    curl -i localhost:$port/payments -H 'Content-Type: application/json' \\
      -d "{\"correlationId\":\"\$(cat /proc/sys/kernel/random/uuid)\",\"amount\":19.90}"
  read the summary
    curl 'localhost:$port/payments-summary?from=2020-01-01T00:00:00.000Z'
  forget everything
    curl -X POST localhost:$port/purge-payments
  look inside
    PAYRING_REGION=$PAYRING_REGION $(realpath --relative-to=. "$build")/payringctl show

Ctrl-C stops all of it and leaves nothing behind.
TEXT

# Looked at twice a second: cheap, and no death can slip by unnoticed.
while sleep 0.5; do
    for name in "${!pid_of[@]}"; do
        ! kill -0 "${pid_of[$name]}" 2>/dev/null || continue
        case $name in
        api? | worker?)
            echo "run: $name ended, starting it again" >&2
            start_component "$name"
            ;;
        *) fail "$name ended" ;;
        esac
    done
done
