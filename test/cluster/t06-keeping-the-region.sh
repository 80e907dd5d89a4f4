#!/bin/sh
description='Programs say in one sentence what is wrong with a setting, and the keeper of the
region refuses what would destroy payments.'
. test/lib/cluster.sh

for program in payring-api payring-worker payringctl; do
    ok "$program --help"        "$build/$program" --help
    ok "$program --version"     "$build/$program" --version
done

# complains WORD COMMAND...: it fails, saying WORD in one line.
complains() {
    local word="$1" said
    shift
    if said=$("$@" 2>&1 >/dev/null); then
        echo "did not fail"
        return 1
    fi
    case $said in *"$word"*) ;; *)
        echo "said: $said"
        return 1
        ;;
    esac
    same "$(printf '%s\n' "$said" | wc -l)" 1
}

# warns WORD COMMAND...: it succeeds, and says WORD besides.
warns() {
    local word="$1"
    shift
    "$@" 2>"$play_dir/said" >/dev/null && grep -q -- "$word" "$play_dir/said"
}

ok 'a good configuration'       "$build/payring-worker" -n
ok 'a bad number'               complains PAYRING_DEADLINE_MS env PAYRING_DEADLINE_MS=soon "$build/payring-worker" -n
ok 'a time-out that is too short' complains PAYRING_POST_TIMEOUT_MS env PAYRING_POST_TIMEOUT_MS=1000 "$build/payring-worker" -n
ok 'calls of health too often'  complains PAYRING_HEALTH_INTERVAL_MS env PAYRING_HEALTH_INTERVAL_MS=1000 "$build/payring-worker" -n
ok 'an unknown policy'          complains PAYRING_POLICY env PAYRING_POLICY=cheapest "$build/payring-worker" -n
ok 'a bad url'                  complains PAYRING_DEFAULT_URL env PAYRING_DEFAULT_URL=ftp://x "$build/payring-worker" -n
ok 'a bad region name'          complains PAYRING_REGION env PAYRING_REGION=a/b "$build/payring-api" -n
ok 'a bad slot'                 complains PAYRING_API_SLOT env PAYRING_API_SLOT=16 "$build/payring-api" -n
ok 'rings of no power of two'   complains PAYRING_RING_SLOTS env PAYRING_RING_SLOTS=1000 "$build/payringctl" create -n
ok 'an unknown flag'            complains colour "$build/payring-api" --colour=red -n

# A typing error must not pass for a good configuration, least of all where it would be the region's.
for program in payring-api payring-worker payringctl; do
    ok "$program -n warns of a name that is no setting" warns 'event=unknown_setting name=PAYRING_LEDGER_ROW' \
        env PAYRING_LEDGER_ROW=4096 "$build/$program" -n
done

ok 'no region: says what it waits for' complains "$PAYRING_REGION" \
    env PAYRING_ATTACH_TIMEOUT_MS=100 PAYRING_API_SOCKET="$play_dir/none.sock" "$build/payring-api"
ok 'the worker too'             complains "$PAYRING_REGION" \
    env PAYRING_ATTACH_TIMEOUT_MS=100 "$build/payring-worker"
ok 'nothing to show'            complains "$PAYRING_REGION" "$build/payringctl" show

cluster_start --apis 1 --workers 1 PAYRING_POLICY=default-only
ok 'the keeper warns of it too'  warns 'name=PAYRING_LEDGER_ROW' \
    env PAYRING_LEDGER_ROW=4096 "$build/payringctl" show
ok 'a region is not made twice' complains "$PAYRING_REGION" "$build/payringctl" create
ok 'no slot for a second API'   complains slot \
    env PAYRING_ATTACH_TIMEOUT_MS=100 PAYRING_API_SLOT=0 PAYRING_API_SOCKET="$play_dir/other.sock" \
    "$build/payring-api"
processor default fails
id=$(new_id)
ok 'accepted'                   post_payment api0 "$id" 19.90
ok 'not removed while in use'   complains "$PAYRING_REGION" "$build/payringctl" remove
ok 'not even by force'          complains "$PAYRING_REGION" "$build/payringctl" remove --force-lose-payments
for name in api0 worker0; do kill_process "$name" TERM; done
ok 'not removed with payments'  complains payment "$build/payringctl" remove
ok 'check finds it in order'    "$build/payringctl" check
restart_process worker0
restart_process api0
processor default recovers
ok 'settled'                    eventually 15 payment_is api0 "$id" settled default
ok 'the books agree'            books_agree_within 10
for name in api0 worker0; do kill_process "$name" TERM; done
ok 'removed when all is settled' "$build/payringctl" remove
ok 'and gone'                   not test -e "/dev/shm/$PAYRING_REGION"
ok 'with its doorbells'         same "$(find /dev/shm -name "$PAYRING_REGION.*")" ''
done_testing
