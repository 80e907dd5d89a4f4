#!/bin/sh
description='make install on a host with systemd: every unit may start first, be restarted, killed and
missing for a while under load, the machine may reboot, its power be cut and its journal be damaged, and no payment is
lost, doubled or miscounted.'
engine=systemd
. test/deliveries/stage.sh
. test/deliveries/systemd.sh

engine root-make nginx libnginx-mod-stream libh2o-evloop0.13 libjson-c5 libcurl4 || give_up 'no root'
ok 'make install'                    make --no-print-directory install DESTDIR="$play_dir/root"
settings
boot
ok 'the user is made at boot'        root_sh 'id payring'
ok 'nginx may reach its sockets'     root_sh 'id -nG www-data | grep -w payring'
ok 'nothing is enabled by installing' not root_sh 'systemctl is-enabled payring.target'
ok 'nothing runs by installing'      all_inactive

# --- the units as such ----------------------------------------------------------------------

instances='payring-region.service payring-worker@0.service payring-api@0.service payring.target'
root_sh "systemd-analyze verify --man=no $instances nginx.service" >"$play_dir/verify" 2>&1
is 'systemd-analyze verify: status'  $? 0
is 'and it has nothing to say'       "$(cat "$play_dir/verify")" ''
# In tenths. verify may warn and stay true; security's number is in its last line.
exposure() {
    root_sh "systemd-analyze security --offline=true --no-pager $1" | sed -n 's/.*exposure level.*: \([0-9]*\)\.\([0-9]\).*/\1\2/p'
}
at_most() { # LIMIT NUMBER
    [ "$2" -le "$1" ] || { echo "$2 tenths" && false; }
}
for limit in 15:payring-region 15:payring-api@0 20:payring-worker@0; do
    exposed=$(exposure "${limit#*:}.service")
    note "exposure of ${limit#*:}: $exposed tenths"
    ok "exposure of ${limit#*:}, in tenths, at most ${limit%%:*}" at_most "${limit%%:*}" "$exposed"
done
ok 'the target starts'               root_sh 'systemctl enable --now payring.target'
ok 'with all its units'              eventually 30 all_active
for unit in $units; do
    [ "$unit" = payring-region ] || is "$unit is not root" \
        "$(root_sh "stat -c %U /proc/$(main_pid "$unit")")" payring
done
is 'the state directory is theirs alone' "$(root_sh 'stat -c "%U %a" /var/lib/payring')" 'payring 700'
is 'the region is durable by itself' "$(ctl journal | grep -c 'payments that have not ended')" 2
root_sh "$(readme 'ln -s /etc/payring')"
ok 'nginx takes its file'            root_sh 'nginx -t && systemctl enable nginx && systemctl restart nginx'
ok 'it answers on its port'          eventually 10 answers
late=$(new_id)
ok 'accepted without any processor'  post "$late"
processors_start
ok 'settled when they come'          eventually 60 is_settled "$late"

# --- under load -----------------------------------------------------------------------------

load_start --rate 500
for unit in $units nginx; do
    ok "restart of $unit"            survives_restart "$unit"
    [ "$unit" = payring-region ] ||
        ok "kill of $unit"           survives_kill "$unit"
    ok "absence of $unit"            survives_absence "$unit"
done

refused() { # without a worker the journal is behind after a second, and says so
    not post "$(new_id)" && tail -n 1 "$play_dir/posted.here" | grep -q '503$'
}
root_sh 'systemctl stop "payring-worker@*"'
ok 'no worker: nothing is promised that is not soon on disk' eventually 20 refused
root_sh 'systemctl start payring-worker@0 payring-worker@1'
ok 'payments flow when they come'    flows

root_sh 'mkdir -p /run/systemd/system/payring-worker@1.service.d
    printf "[Service]\nWatchdogSec=3s\n" >/run/systemd/system/payring-worker@1.service.d/t.conf
    systemctl daemon-reload && systemctl restart payring-worker@1'
stopped=$(main_pid payring-worker@1)
ok 'a worker that stands still'      root_sh "kill -STOP $stopped"
ok 'is started anew by the watchdog' eventually 30 started_anew payring-worker@1 "$stopped"
ok 'and the journal says so'         root_sh 'journalctl -u payring-worker@1 | grep -i "watchdog timeout"'
ok 'payments flow'                   flows
ok 'the whole target, restarted'     root_sh 'systemctl restart payring.target'
ok 'is back'                         eventually 30 all_active
ok 'payments flow again'             flows
# From the next cold start on the APIs read it there.
part_is_filed() {
    [ "$(ctl show --plain | sed -n 's/^lane.segments_filed //p')" -ge 1 ]
}
ok 'a part of the ledger is in a file' eventually 60 part_is_filed
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the books agree, id by id'       books_agree_within 60
ok 'so do the windows'               windows_agree

# --- stopped with payments queued --------------------------------------------------------------

ok 'both processors fail'            both_fail true
queued=$(new_id)
ok 'accepted while both fail'        post "$queued"
ok 'the target stops'                root_sh 'systemctl stop payring.target'
ok 'with all units'                  eventually 30 all_inactive
ok 'the region stays, and holds it'  eval 'ctl list | grep $queued'
ok 'both are well'                   both_fail false
ok 'the target starts again'         root_sh 'systemctl start payring.target'
ok 'and it is settled'               eventually 30 is_settled "$queued"
ok 'the books agree'                 books_agree_within 30

# --- start order ------------------------------------------------------------------------------

# Each of them alone at first, and nothing there that it needs: the region neither.
tries() { # UNIT: it found no region, ended, and is started again
    [ "$(root_sh "systemctl show -P NRestarts $1")" -ge 1 ]
}
stands_alone() {
    case $1 in
    nginx) is_active nginx && not answers ;;
    payring-region) eventually 20 is_active payring-region && is_inactive payring-worker@0 ;;
    *) eventually 30 tries "$1" ;;
    esac
}
# Longer is waited for the region where nobody looks on.
root_sh 'printf "PAYRING_ATTACH_TIMEOUT_MS=1000\n" >>/etc/payring/payring.conf'
for first in nginx payring-worker@0 payring-api@1 payring-region; do
    root_sh 'systemctl stop payring.target "payring-*" nginx'
    ok "$first first: everything stops" eventually 30 all_inactive
    ok 'all has ended: the region can be removed' root_sh 'runuser -u payring -- payringctl remove'
    [ $first = payring-region ] || root_sh 'systemctl -q mask --runtime payring-region'
    root_sh "systemctl start --no-block $first"
    ok 'it starts, and stays by itself'  stands_alone $first
    root_sh 'systemctl -q unmask --runtime payring-region; systemctl start --no-block payring.target nginx'
    ok 'all come'                    eventually 60 all_active
    ok 'and it answers'              eventually 30 answers
    late=$(new_id)
    ok 'it accepts'                  post "$late"
    ok 'and settles'                 eventually 60 is_settled "$late"
done
ok 'no region had forgotten what was before' books_agree_within 30
ok 'nor its sums'                    windows_agree

# --- reboots ----------------------------------------------------------------------------------

comes_back() { # [BOUND]
    boot
    ok 'everything comes up by itself' eventually 60 all_active
    ok 'and the balancer'            eventually 30 answers
    ok 'the region is made of the journal, with what had not ended' made_of_the_journal "$@"
    note "$(made_of_the_journal | sed 's/.*made of/made of/')"
}
some_are_out() {
    [ "$(ctl show --plain | awk '/^lane\.[0-9]+\.records\.sent / { n += $2 } END { print n + 0 }')" -gt 0 ]
}
settles_all() {
    ok 'the processors are well'     well
    ok 'everything acknowledged is settled once: the books agree' books_agree_within 120
    ok 'and counted once: so do the windows' windows_agree
    ok 'the region is in order'      ctl check
    ok 'the journal is whole'        ctl journal
}

ok 'the processors are slow'         slow
load_start --rate 400
ok 'many wait'                       eventually 30 wait_for_settling 500
engine root-down
note 'rebooted under load'
comes_back
ok 'payments flow'                   flows
ok 'the load ends'                   load_stop
settles_all

# In async a ring's content is not on disk: it is taken in within milliseconds.
ok 'slow once more'                  slow
load_start --rate 400
ok 'many wait again'                 eventually 30 wait_for_settling 500
ok 'the load ends'                   load_stop
ok 'all is taken in'                 eventually 10 rings_are_empty
engine root-cut
note 'the power was cut'
comes_back '[1-9][0-9]*' # what was out is known to have been
settles_all

root_sh 'sed -i s/^PAYRING_DURABILITY=async$/PAYRING_DURABILITY=sync/ /etc/payring/payring.conf
    systemctl stop payring.target "payring-*" && runuser -u payring -- payringctl remove' >"$play_dir/remove" 2>&1
ok 'the next region is sync, by one line' root_sh 'systemctl start payring.target'
ok 'it answers'                      eventually 30 answers
ok 'slow, for the last time'         slow
load_start --rate 400
ok 'many wait once more'             eventually 30 wait_for_settling 500
# Made of an async journal: nothing goes out before the quarantine is over.
ok 'and some are out'                eventually 30 some_are_out
engine root-cut
note 'the power was cut under load'
comes_back '[1-9][0-9]*'
ok 'payments flow'                   flows
ok 'the load ends'                   load_stop
settles_all

# --- a journal that cannot be believed ------------------------------------------------------------

root_sh 'systemctl stop payring.target "payring-*" && runuser -u payring -- payringctl remove' >"$play_dir/remove" 2>&1
digest=$(ls "$play_dir"/root/var/lib/payring/journal-*/lane-0/digest-*.pj | head -n 1)
cp "$digest" "$play_dir/whole"
printf X | dd of="$digest" bs=1 seek=100 conv=notrunc 2>"$play_dir/dd"
refuses() {
    [ "$(root_sh 'systemctl show -P NRestarts payring-region')" -ge 2 ]
}
root_sh 'systemctl start --no-block payring.target'
ok 'a damaged journal makes no region, however often' eventually 30 refuses
ok 'and the file is named'           root_sh "journalctl --no-pager -b -u payring-region | grep '${digest##*/}'"
ok 'nothing is accepted meanwhile'   not answers
cat "$play_dir/whole" >"$digest"
ok 'repaired, everything comes up by itself' eventually 60 all_active
ok 'it answers'                      eventually 30 answers
ok 'and nothing is missing'          books_agree_within 30
ok 'nor counted otherwise'           windows_agree
done_testing
