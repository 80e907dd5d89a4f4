#!/bin/sh
description='make install on a host with systemd: every unit may be restarted, killed, stopped and
missing for a while under load, and no payment is lost, doubled or miscounted.'
engine=systemd
. test/deliveries/stage.sh
. test/deliveries/systemd.sh

engine root-make nginx libnginx-mod-stream libh2o-evloop0.13 libjson-c5 libcurl4 || give_up 'no root'
ok 'make install'                    make --no-print-directory install DESTDIR="$play_dir/root"
settings
: >"$play_dir/posted"
boot
processors_start
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
    ok "exposure of ${limit#*:}, in tenths, at most ${limit%%:*}" \
        at_most "${limit%%:*}" "$(exposure "${limit#*:}.service")"
done
ok 'the target starts'               root_sh 'systemctl enable --now payring.target'
ok 'with all its units'              eventually 30 all_active
for unit in $units; do
    [ "$unit" = payring-region ] || is "$unit is not root" \
        "$(root_sh "stat -c %U /proc/$(main_pid "$unit")")" payring
done
root_sh 'ln -s /etc/payring/nginx-stream.conf /etc/nginx/modules-enabled/90-payring.conf'
ok 'nginx takes its file'            root_sh 'nginx -t && systemctl enable nginx && systemctl restart nginx'
ok 'it answers on its port'          eventually 10 answers

# --- under load -----------------------------------------------------------------------------

load_start
for unit in $units nginx; do
    ok "restart of $unit"            survives_restart "$unit"
done
for unit in payring-worker@0 payring-worker@1 payring-api@0 payring-api@1 nginx; do
    ok "kill of $unit"               survives_kill "$unit"
done

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
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the books agree, id by id'       books_agree_within 60

# --- stopped with payments queued --------------------------------------------------------------

for at in $default_at $fallback_at; do
    admin $at PUT configurations/failure '{"failure":true}' >"$play_dir/answer"
done
queued=$(new_id)
ok 'accepted while both fail'        post "$queued"
ok 'the target stops'                root_sh 'systemctl stop payring.target'
ok 'with all units'                  eventually 30 all_inactive
ok 'the region stays, and holds it'  root_sh "payringctl list | grep $queued"
for at in $default_at $fallback_at; do
    admin $at PUT configurations/failure '{"failure":false}' >"$play_dir/answer"
done
ok 'the target starts again'         root_sh 'systemctl start payring.target'
ok 'and it is settled'               eventually 30 is_settled "$queued"
ok 'the books agree'                 books_agree_within 30

# --- start order ------------------------------------------------------------------------------

root_sh 'systemctl stop payring.target "payring-*" nginx'
ok 'everything stops'                eventually 30 all_inactive
ok 'all has ended: it can be removed' root_sh 'runuser -u payring -- payringctl remove'
: >"$play_dir/posted"
for at in $default_at $fallback_at; do admin $at POST purge-payments >"$play_dir/answer"; done
root_sh 'systemctl mask --runtime payring-region'
ok 'the balancer alone'              root_sh 'systemctl start nginx'
ok 'answers nobody'                  not answers
root_sh 'systemctl start --no-block payring-worker@0 payring-api@1'
tries() { # UNIT: it found no region, ended, and is started again
    [ "$(root_sh "systemctl show -P NRestarts $1")" -ge 1 ]
}
ok 'a worker without a region tries' eventually 30 tries payring-worker@0
ok 'so does an API'                  eventually 30 tries payring-api@1
root_sh 'systemctl unmask --runtime payring-region && systemctl start --no-block payring-region'
ok 'the region comes last: the worker is there' eventually 30 is_active payring-worker@0
ok 'so is the API'                   eventually 30 is_active payring-api@1
ok 'and it answers'                  eventually 30 answers
# shellcheck disable=SC2086
kill_ours $processors
processors=
late=$(new_id)
ok 'accepted without any processor'  post "$late"
root_sh 'systemctl start payring.target'
processors_start
ok 'settled when they come'          eventually 60 is_settled "$late"
ok 'and nothing is missing'          books_agree_within 30

# --- reboot -----------------------------------------------------------------------------------

engine root-down
boot
ok 'after a reboot everything comes up by itself' eventually 60 all_active
ok 'and the balancer'                eventually 30 answers
# Memory only: what was in it is gone, as docs/FAILURE-MODES.md says.
is 'the new region is empty'         "$(accepted)" 0
: >"$play_dir/posted"
for at in $default_at $fallback_at; do admin $at POST purge-payments >"$play_dir/answer"; done
ok 'it accepts'                      post "$(new_id)"
ok 'and settles'                     books_agree_within 30
done_testing
