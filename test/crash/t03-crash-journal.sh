#!/bin/sh
description='Killed at every named point of the journal, of the ledger in files, of a cold start and of the
mailbox, a worker or payringctl leaves what both its successor in the region and a region made of the
journal put right: all that was acknowledged is settled once and counted once.'
# See test/lib/crash.sh; RATE payments a second (1500). After each death the region is kept, or lost:
# with it go both APIs and what they had not answered, and whatever of the journal was not synced, as
# if the power had gone (test/lib/forgetful_disk). Any other way in which it can go is test/power's.
: "${VISITS:=2}" # the fewest that can go both ways
export VISITS
. test/lib/crash.sh

visits_per_books=10 # deaths between two comparisons
state=$play_dir/state

# --- ways on ----------------------------------------------------------------------------------

lose_the_region() {
    is_dead worker0 || kill_process worker0 KILL
    kill_at_once api0 api1
    rm -f "/dev/shm/$PAYRING_REGION" "/dev/shm/$PAYRING_REGION".*
    test/lib/forget "$play_dir/disk" "$state"/journal-*/lane-0/journal-*.pj >>"$play_dir/forgotten"
}

# The load tries again until they are there.
start_apis() {
    start_process api0
    start_process api1
}

create() {
    "$build/payringctl" create "$@" >"$play_dir/create.log" 2>&1 || {
        cat "$play_dir/create.log"
        return 1
    }
}

# Each segment of the ledger that is said to be in a file is in one, but for those of which all rows
# are purged: its rows leave memory long after, and a cold start before that takes the journal's.
filed_segments_have_files() {
    local n filed purged
    filed=$(counter lane.segments_filed)
    purged=$(counter lane.purged_rows)
    n=$((purged / 4096))
    while [ "$n" -lt "$filed" ]; do
        [ -e "$state/ledger-lane0-$(printf %010d "$n").rows" ] || {
            echo "segment $n is one of $filed that are filed, and has no file"
            return 1
        }
        n=$((n + 1))
    done
}

# go_on OCCASION POINT:N WAY: somebody died there; now the region as it was left, or another one.
go_on() {
    filed_segments_have_files || return
    if [ "$3" = cold ]; then
        lose_the_region
        create && grep -q 'made of the journal' "$play_dir/create.log" && start_apis || return
    fi
    echo "$1 ${2%:*} $3" >>"$play_dir/ways"
}

alive() {
    ! is_dead worker0 || disarm worker0
}

# --- occasions --------------------------------------------------------------------------------

# The newest segment that is read and has many records: a byte in the midst of them is another one.
# With "look" nothing is changed.
damage() {
    perl -e '
        my ($look, $directory) = @ARGV;
        my ($last) = sort { $b cmp $a } map { /digest-(\w+)\.pj$/ } glob "$directory/digest-*.pj";
        for my $path (reverse sort glob "$directory/journal-*.pj") {
            my ($number) = $path =~ /journal-(\w+)\.pj$/;
            next if $number le $last;
            open my $file, "+<", $path or die "$path: $!\n";
            sysseek $file, 64 * 400, 0 and sysread($file, my $far, 64) == 64 or next;
            next if $far =~ /^\0*$/;
            exit 0 if $look eq "look";
            sysseek $file, 64 * 40 + 25, 0 and sysread($file, my $byte, 1) == 1 or die;
            sysseek $file, 64 * 40 + 25, 0 and syswrite($file, chr(ord($byte) ^ 1)) == 1 or die;
            exit 0;
        }
        print "no segment of $directory has that many records\n";
        exit 1' "$1" "$state"/journal-*/lane-0
}

# worker_dies OCCASION POINT:N
worker_dies() {
    local occasion="$1" point="$2" deadline
    if [ "$occasion" = ANEW ]; then
        alive && eventually 10 damage look && kill_process worker0 KILL && damage now || return
    fi
    is_dead worker0 || kill_process worker0 KILL
    arm worker0 "$point"
    deadline=$(($(now_ms) + 20000))
    until is_dead worker0 || [ "$(now_ms)" -gt "$deadline" ]; do
        [ "$occasion" != FILED_PURGE ] || purge worker0
        sleep 0.03
    done
    died_there worker0 "$point"
}

# creator_dies POINT:N: a region is made of the journal, by the second one.
creator_dies() {
    lose_the_region
    ctl_dies "$1" create && none_or_whole && create --if-missing && start_apis
}

drain_dies() {
    alive && ctl_dies "$1" drain && "$build/payringctl" drain --resume
}

is_pinned() {
    "$build/payringctl" payments --pinned --format tsv | grep -q "^$1	"
}

# pin: a payment whose every attempt leaves it unknown; sets $id. Nothing else goes wrong meanwhile:
# one that was executed once would settle with the next attempt, and there were nothing to decide.
pin() {
    id=$(new_id)
    processor default behaves
    processor fallback behaves
    processor default misbehaves error-before "correlationId=$id"
    processor fallback misbehaves error-before "correlationId=$id"
    eventually 10 post_payment api0 "$id" 19.90 && eventually 10 is_pinned "$id"
}

resolve() { # options...
    "$build/payringctl" resolve "$id" requeue --by ann "$@"
}

# It was decided about, or not: what is pinned is done or not, and never half.
free_and_charged() {
    processor default behaves
    processor fallback behaves
    misbehave
    eventually 20 charged_once
}

charged_once() {
    same "$({ book default; book fallback; } | grep -c "^$id	")" 1
}

# decision_dies OCCASION ACTOR POINT:N WAY
decision_dies() {
    local is
    case $2 in
    worker0)
        is_dead worker0 || kill_process worker0 KILL
        arm worker0 "$3"
        eventually 15 is_ready worker0 && pin || return
        resolve --timeout 3 >>"$play_dir/payringctl.log" 2>&1 &
        echo $! >"$play_dir/resolve.pid"
        eventually 10 is_dead worker0
        died_there worker0 "$3" && go_on "$1" "$3" "$4" && alive || return
        wait "$(cat "$play_dir/resolve.pid")"
        rm "$play_dir/resolve.pid"
        ;;
    *)
        alive && pin || return
        if [ "$1" = WITHDRAW ]; then
            kill_process worker0 STOP
            ctl_dies "$3" resolve "$id" requeue --by ann --timeout 1 || return
            kill_process worker0 CONT
            stays 1 is_pinned "$id" || return
        else
            ctl_dies "$3" resolve "$id" requeue --by ann || return
        fi
        go_on "$1" "$3" "$4" && alive || return
        # The mailbox of who died is open to the next one: done, or refused by the lane.
        is=0
        eventually 10 is_pinned_or_ended || return
        resolve --timeout 10 >>"$play_dir/payringctl.log" 2>&1 || is=$?
        [ "$is" -le 1 ] || return
        ;;
    esac
    free_and_charged
}

# After a cold start the lane has to see to it first.
is_pinned_or_ended() {
    is_pinned "$id" || "$build/payringctl" payments --id "$id" --format tsv | grep -q "^$id	"
}

visit_all() {
    local run occasion actor point way
    while read -r run occasion actor point way; do
        case $occasion in
        COLD) creator_dies "$point" && go_on "$occasion" "$point" "$way" && alive || return ;;
        DRAIN) drain_dies "$point" && go_on "$occasion" "$point" "$way" || return ;;
        RESOLVE | WITHDRAW) decision_dies "$occasion" "$actor" "$point" "$way" || return ;;
        *) worker_dies "$occasion" "$point" && go_on "$occasion" "$point" "$way" || return ;;
        esac
    done
    alive
}

# A journal of its own, so full of ids that the next digest is one too many.
merging_life() { # occasion point way
    lose_the_region
    rm -rf "$state"/*
    processor default purge && processor fallback purge && rm -f "$play_dir"/posted*
    : >"$play_dir/posted"
    started_us=$(now_us)
    create && "$build/prefill" ids "$state"/journal-*/lane-0 470000 || return
    start_apis
    arm worker0 "$2"
    eventually 10 apis_listen || return
    load_start --count 3400 --rate "$rate" --connections 24 --seed $((seed * 1000000 + slices)) \
        --duplicates 10 --retry --timeout-ms 3000
    slices=$((slices + 1))
    eventually 20 is_dead worker0
    died_there worker0 "$2" && go_on "$@" && alive && load_wait && everything_agrees
}

apis_listen() {
    [ -S "$play_dir/api0.sock" ] && [ -S "$play_dir/api1.sock" ]
}

# --- the play ---------------------------------------------------------------------------------

rate=${RATE:-1500}
processor_options='--health-window 50'
plan journal
mkdir "$state"
# The least journal: segments of 8,191 records. Three segments of the ledger in memory; many payments
# take two rows.
cluster_start --apis 2 --workers 1 PAYRING_LANES=1 PAYRING_DURABILITY=sync PAYRING_STATE_DIR="$state" \
    PAYRING_JOURNAL_MAX_BYTES=8388608 PAYRING_LEDGER_ROWS=12288 PAYRING_LEDGER_SEGMENT_ROWS=4096 \
    PAYRING_RING_SLOTS=256 PAYRING_PAYMENT_SLOTS=512 PAYRING_HORIZON_PAYMENTS=512 PAYRING_HORIZON_S=0 \
    PAYRING_QUARANTINE_MS=300 PAYRING_DURABLE_TIMEOUT_MS=20000
misbehave
settings_of_all="LD_PRELOAD=$PWD/$build/forgetful-disk.so FORGETFUL_DISK=$play_dir/disk"
kill_process worker0 KILL
disarm worker0
for run in kept anew filed cold operator; do
    rm -f "$play_dir"/batch.*
    grep "^$run " "$play_dir/plan" | split -l "$visits_per_books" -a 4 - "$play_dir/batch."
    for file in "$play_dir"/batch.*; do
        kind=$run
        [ "$run" != filed ] || kind=purge
        ok "$run: $(awk '{ print $4 "/" $5 }' "$file" | tr "\n" " ")" batch "$file" "$kind"
        [ "$tests_failed" -eq 0 ] || give_up "seed $seed"
        ok 'the journal is whole' "$build/payringctl" journal
    done
done
grep '^merge ' "$play_dir/plan" >"$play_dir/lives"
while read -r run occasion actor point way; do
    [ "$tests_failed" -eq 0 ] || give_up "seed $seed"
    ok "merge: $point/$way" merging_life "$occasion" "$point" "$way"
done <"$play_dir/lives"

# The table is what counts, as in t01; who died in a worker has gone on either way.
test/crash/plan-visits journal --points | while read -r occasion point; do
    count=$(grep -c "^$occasion $point " "$play_dir/ways")
    [ "$count" -ge "$visits" ] || echo "$occasion $point: $count visits"
    for way in warm cold; do
        [ "$occasion $point $way" = 'ANEW digest_synced cold' ] ||
            grep -qx "$occasion $point $way" "$play_dir/ways" || echo "$occasion $point: never $way"
    done
done >"$play_dir/unvisited"
ok 'the disk has forgotten something' grep -q '^forgot ' "$play_dir/forgotten"
is 'no point was left out, and none one way only' "$(cat "$play_dir/unvisited")" ''
done_testing
