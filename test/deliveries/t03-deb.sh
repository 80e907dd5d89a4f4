#!/bin/sh
description='The Debian package installs, starts, upgrades under load, is removed and purged, and no
payment is lost by any of it.'
engine=systemd
. test/deliveries/stage.sh
. test/deliveries/systemd.sh

begin_ms=$(now_ms)
ok 'make deb'                        make --no-print-directory deb
note "make deb: $(($(now_ms) - begin_ms)) ms"
package=$(ls build/deb/payring_*_amd64.deb)
version=$(dpkg-deb -f "$package" Version)
lintian --allow-root "build/deb/payring_${version}_amd64.changes" >"$play_dir/lintian" 2>&1
is 'lintian finds no errors'         "$(grep '^E:' "$play_dir/lintian")" ''
ok 'lintian ran'                     grep -q '^W: payring' "$play_dir/lintian"

# The next version: the same programs under a higher number, through the same maintainer scripts.
dpkg-deb -R "$package" "$play_dir/next"
sed -i "s/^Version: .*/Version: $version+1/" "$play_dir/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$play_dir/next" "$play_dir/next.deb" >"$play_dir/next.log" 2>&1 ||
    give_up "$(cat "$play_dir/next.log")"

engine root-make || give_up 'no root'
cp "$package" "$play_dir/root/payring.deb"
cp "$play_dir/next.deb" "$play_dir/root/next.deb"
# What it depends on is fetched from here, and installed in there, where no mirror can be reached.
ok 'its dependencies exist'          engine root-fetch /payring.deb
boot
processors_start
ok 'it installs'                     root_sh 'DEBIAN_FRONTEND=noninteractive apt-get -q -y install /payring.deb'
ok 'with nginx beside it'            is_active nginx
ok 'and starts'                      eventually 40 all_active
ok 'for the next boot too'           root_sh 'systemctl is-enabled payring.target'
ok 'programs are where they belong'  root_sh 'payringctl --version && payring-api -n && payring-worker -n'
ok 'the files are as they were packed' root_sh 'dpkg --verify payring'
ok 'port 9999 is nobody'"'"'s yet'   not answers
settings
# The region was made with other sizes.
root_sh 'systemctl stop payring.target "payring-*" && runuser -u payring -- payringctl remove' >"$play_dir/remove" 2>&1
root_sh "$(sed -n '/^ln -s .etc.payring/p; /^systemctl restart nginx payring/p' README.md)"
ok 'it answers once the README is followed'  eventually 40 answers

load_start
region_before=$(root_sh 'stat -c %i /dev/shm/payring')
pids_before=$(for unit in payring-worker@0 payring-worker@1 payring-api@0 payring-api@1; do main_pid $unit; done)
ok 'upgraded under load'             root_sh 'DEBIAN_FRONTEND=noninteractive apt-get -q -y install /next.deb'
is 'to the next version'             "$(root_sh 'dpkg-query -W -f "\${Version}" payring')" "$version+1"
ok 'everything is there'             eventually 30 all_active
is 'the region is the same'          "$(root_sh 'stat -c %i /dev/shm/payring')" "$region_before"
pids_after=$(for unit in payring-worker@0 payring-worker@1 payring-api@0 payring-api@1; do main_pid $unit; done)
is 'and no process is'               "$(printf '%s\n' "$pids_before" "$pids_after" | sort | uniq -d)" ''
ok 'the settings are the operator'"'"'s' grep -q 'LEDGER_ROWS=262144' "$play_dir/root/etc/payring/payring.conf"
ok 'payments flow'                   flows
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the books agree, id by id'       books_agree_within 60

for at in $default_at $fallback_at; do
    admin $at PUT configurations/failure '{"failure":true}' >"$play_dir/answer"
done
left=$(new_id)
ok 'accepted while both fail'        post "$left"
ok 'removed all the same'            root_sh 'apt-get -q -y remove payring >/removed 2>&1'
ok 'telling of the payment'          grep -q '1 payments are accepted and not settled' "$play_dir/root/removed"
is 'nobody is left'                  "$(root_sh 'ps -o pid= -u payring')" ''
ok 'the region is'                   root_sh 'test -e /dev/shm/payring'
ok 'so are the settings'             test -e "$play_dir/root/etc/payring/payring.conf"
ok 'purge'                           root_sh 'apt-get -q -y purge payring >/removed 2>&1'
ok 'tells of it again, with a way'   grep -q 'Install payring again' "$play_dir/root/removed"
ok 'and leaves the region'           root_sh 'test -e /dev/shm/payring'
for at in $default_at $fallback_at; do
    admin $at PUT configurations/failure '{"failure":false}' >"$play_dir/answer"
done
root_sh 'rm -f /etc/nginx/modules-enabled/90-payring.conf && mkdir -p /etc/payring'
printf 'PAYRING_DEFAULT_URL=http://127.0.0.1:8001\nPAYRING_FALLBACK_URL=http://127.0.0.1:8002\nPAYRING_LEDGER_ROWS=262144\n' \
    >"$play_dir/root/etc/payring/payring.conf"
ok 'installed again'                 root_sh 'apt-get -q -y -o Dpkg::Options::=--force-confold install /payring.deb'
root_sh 'ln -s /etc/payring/nginx-stream.conf /etc/nginx/modules-enabled/90-payring.conf && systemctl restart nginx'
ok 'the payment is settled'          eventually 60 is_settled "$left"
ok 'the books agree'                 books_agree_within 30
root_sh 'rm /etc/nginx/modules-enabled/90-payring.conf'
ok 'purged with everything settled'  root_sh 'apt-get -q -y purge payring >/removed 2>&1'
ok 'without a word of payments'      not grep -q 'payments' "$play_dir/root/removed"
is 'nothing of it is left'           "$(root_sh 'ls -d /dev/shm/payring* /etc/payring /var/lib/payring /run/payring /usr/bin/payring* 2>/dev/null')" ''
ok 'nginx goes on without it'        root_sh 'systemctl restart nginx && systemctl is-active nginx'
done_testing
