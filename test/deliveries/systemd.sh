# What the plays on a booted root share: the root's words, and two processors beside it.

default_at=127.0.0.1:8001 fallback_at=127.0.0.1:8002 gateway_at=127.0.0.1:9999
units='payring-region payring-worker@0 payring-worker@1 payring-api@0 payring-api@1'

root_sh() {
    engine root-sh "$*"
}

# With the services' settings.
ctl() {
    root_sh "set -a; . /etc/payring/payring.conf; payringctl $*"
}

boot() {
    engine root-up || give_up 'no root'
    net="nsenter --net=/run/netns/payring-$(basename "$play_dir" | tr -c 'a-zA-Z0-9\n' -)"
}

# processors_start: outside of the root, so that their books outlive it.
processors_start() {
    for name in default:8001:0.05 fallback:8002:0.15; do
        # shellcheck disable=SC2086
        (exec $net build/processor --listen "127.0.0.1:$(echo "$name" | cut -d: -f2)" \
            --name "${name%%:*}" --fee "${name##*:}") >"$play_dir/${name%%:*}.log" 2>&1 &
        processors="${processors:-} $!"
    done
    eventually 10 admin $default_at GET stats >"$play_dir/stats" || give_up 'no default processor'
    eventually 10 admin $fallback_at GET stats >"$play_dir/stats" || give_up 'no fallback processor'
}

# settings: the processors of the play, and a region that fits anywhere, with a ledger so short that
# parts of it are filed. Nothing sleeps at these processors, so that a cold start need not wait long.
settings() {
    sed -i -e 's|^PAYRING_DEFAULT_URL=.*|PAYRING_DEFAULT_URL=http://127.0.0.1:8001|' \
        -e 's|^PAYRING_FALLBACK_URL=.*|PAYRING_FALLBACK_URL=http://127.0.0.1:8002|' \
        -e 's|^#PAYRING_LEDGER_ROWS=.*|PAYRING_LEDGER_ROWS=16384|' \
        -e '$a PAYRING_QUARANTINE_MS=3000' "$play_dir/root/etc/payring/payring.conf"
}

# made_of_the_journal [BOUND]: by the cold start of this boot, with payments that had not ended, and
# so many (an expression) of them bound.
made_of_the_journal() {
    root_sh 'journalctl --no-pager -b -u payring-region' |
        grep -E "made of the journal in /var/lib/payring: .* [1-9][0-9]* payments that have not ended \(${1:-[0-9]*} of them"
}

answers() {
    [ "$($net curl -s -o /dev/null -w '%{http_code}' --max-time 2 http://$gateway_at/healthz)" = 200 ]
}

is_active() { # UNIT
    root_sh "systemctl is-active --quiet $1"
}

is_inactive() {
    ! is_active "$1"
}

all_active() {
    for unit in $units payring.target; do is_active "$unit" || return; done
}

all_inactive() {
    for unit in payring.target payring-worker@0 payring-worker@1 payring-api@0 payring-api@1; do
        [ "$(root_sh "systemctl show -P ActiveState $unit")" = inactive ] || return
    done
}

main_pid() { # UNIT
    root_sh "systemctl show -P MainPID $1"
}

started_anew() { # UNIT OLD-PID
    is_active "$1" && [ "$(main_pid "$1")" != "$2" ]
}

# ends by KILL, whatever it was doing, and is there again as another process.
survives_kill() { # UNIT
    local before
    before=$(main_pid "$1")
    [ "$before" -gt 0 ] || return # 0 would be ourselves
    root_sh "kill -KILL $before"
    eventually 30 started_anew "$1" "$before" && flows
}

survives_restart() { # UNIT
    root_sh "systemctl restart $1" && eventually 30 is_active "$1" && flows
}

# is missing for a while; what the others do meanwhile is what they did before.
survives_absence() { # UNIT
    root_sh "systemctl stop $1" && while_missing "$1" && root_sh "systemctl start $1" &&
        eventually 30 is_active "$1" && flows
}

while_missing() {
    case $1 in
    nginx) not answers ;;
    *) flows ;;
    esac
}

leave() {
    # shellcheck disable=SC2086
    kill_ours ${processors:-}
    root_sh 'journalctl --no-pager -b' >"$play_dir/journal.log" 2>/dev/null
    engine root-gone
}
