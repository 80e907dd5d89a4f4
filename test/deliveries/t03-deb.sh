#!/bin/sh
description='The Debian package installs, starts, upgrades under load with payments queued, is removed,
installed again after a reboot and purged, and no payment is lost by any of it.'
engine=systemd
. test/deliveries/stage.sh
. test/deliveries/systemd.sh

begin_ms=$(now_ms)
ok 'make deb'                        eval "$(readme 'make deb')"
note "make deb: $(($(now_ms) - begin_ms)) ms"
package=$(ls build/deb/payring_*_amd64.deb)
version=$(dpkg-deb -f "$package" Version)
ok 'lintian finds no errors'         eval 'lintian --allow-root --fail-on error "build/deb/payring_${version}_amd64.changes" >"$play_dir/lintian" 2>&1'

# The next version: the same programs under a higher number, through the same maintainer scripts.
dpkg-deb -R "$package" "$play_dir/next"
sed -i "s/^Version: .*/Version: $version+1/" "$play_dir/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$play_dir/next" "$play_dir/next.deb" >"$play_dir/next.log" 2>&1 ||
    give_up "$(cat "$play_dir/next.log")"

engine root-make || give_up 'no root'
mkdir -p "$play_dir/root/build/deb"
cp "$package" "$play_dir/root/build/deb/"
cp "$play_dir/next.deb" "$play_dir/root/next.deb"
# What it depends on is fetched from here, and installed in there, where no mirror can be reached.
ok 'its dependencies exist'          engine root-fetch "/$package"
boot
processors_start
# In there /build/deb lies where the README says.
apt() {
    root_sh "cd / && DEBIAN_FRONTEND=noninteractive $* >/said 2>&1"
}
install="$(readme 'apt-get install -y ./build')"
ok 'it installs, as in the README'   apt "$install"
ok 'with nginx beside it'            is_active nginx
ok 'and starts'                      eventually 40 all_active
ok 'for the next boot too'           root_sh 'systemctl is-enabled payring.target'
ok 'programs are where they belong'  root_sh 'payringctl --version && payring-api -n && payring-worker -n'
ok 'the files are as they were packed' root_sh 'dpkg --verify payring'
ok 'port 9999 is nobody'"'"'s yet'   not answers
settings
# The region was made with other sizes.
root_sh 'systemctl stop payring.target "payring-*" && runuser -u payring -- payringctl remove' >"$play_dir/remove" 2>&1
root_sh "$(readme 'ln -s /etc/payring'); $(readme 'systemctl restart nginx payring')"
ok 'it answers once the README is followed' eval "$net $(readme 'curl -i --retry') | grep '200 OK'"

# --- upgrade ----------------------------------------------------------------------------------

pids() {
    for unit in payring-worker@0 payring-worker@1 payring-api@0 payring-api@1; do main_pid $unit; done
}
inode() {
    root_sh 'stat -c %i /dev/shm/payring'
}
ok 'the processors are slow'         slow
load_start --rate 400
ok 'many payments wait'              eventually 30 wait_for_settling 500
region_before=$(inode)
pids_before=$(pids)
ok 'upgraded under load'             apt 'apt-get -q -y install /next.deb'
is 'to the next version'             "$(root_sh 'dpkg-query -W -f "\${Version}" payring')" "$version+1"
ok 'everything is there'             eventually 30 all_active
is 'the region is the same'          "$(inode)" "$region_before"
is 'and no process is'               "$(printf '%s\n' "$pids_before" "$(pids)" | sort | uniq -d)" ''
ok 'what waited still waits'         wait_for_settling 500
ok 'the settings are the operator'"'"'s' grep -q 'LEDGER_ROWS=16384' "$play_dir/root/etc/payring/payring.conf"
ok 'payments flow'                   flows
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the processors are well'         well
ok 'the books agree, id by id'       books_agree_within 60
ok 'so do the windows'               windows_agree

# --- remove, reboot, install again ------------------------------------------------------------

ok 'both processors fail'            both_fail true
left=$(new_id)
ok 'accepted while both fail'        post "$left"
ok 'removed all the same'            apt 'apt-get -q -y remove payring'
ok 'telling of the payment'          grep -q '^payring: 1 payments are accepted and not settled' "$play_dir/root/said"
is 'nobody is left'                  "$(root_sh 'ps -o pid= -u payring')" ''
ok 'the region is'                   root_sh 'test -e /dev/shm/payring'
ok 'so is the journal'               root_sh 'ls -d /var/lib/payring/journal-*'
ok 'so are the settings'             test -e "$play_dir/root/etc/payring/payring.conf"
engine root-down
boot
ok 'after a reboot the region is not' root_sh '! test -e /dev/shm/payring'
ok 'both processors are well'        both_fail false
ok 'installed again'                 apt "$install"
ok 'it is made of the journal'       eventually 40 made_of_the_journal
ok 'the payment is settled'          eventually 60 is_settled "$left"
ok 'the books agree'                 books_agree_within 30

# --- purge --------------------------------------------------------------------------------------

ok 'both fail once more'             both_fail true
left=$(new_id)
ok 'accepted meanwhile'              post "$left"
cp "$play_dir/root/etc/payring/payring.conf" "$play_dir/payring.conf"
ok 'purge'                           apt 'apt-get -q -y purge payring'
ok 'tells of it, with a way'         grep -q 'Install payring again' "$play_dir/root/said"
ok 'and leaves the region'           root_sh 'test -e /dev/shm/payring'
ok 'and the journal'                 root_sh 'ls -d /var/lib/payring/journal-*'
ok 'but no settings'                 root_sh '! test -e /etc/payring/payring.conf'
ok 'both are well'                   both_fail false
root_sh 'mkdir -p /etc/payring'
cp "$play_dir/payring.conf" "$play_dir/root/etc/payring/payring.conf"
ok 'installed again'                 apt "$install -o Dpkg::Options::=--force-confold"
root_sh "$(readme 'ln -s /etc/payring'); systemctl restart nginx"
ok 'the payment is settled'          eventually 60 is_settled "$left"
ok 'the books agree'                 books_agree_within 30
ok 'purged with everything settled'  apt 'apt-get -q -y purge payring'
ok 'without a word of payments'      not grep -q 'payments' "$play_dir/root/said"
is 'nothing of it is left'           "$(root_sh 'ls -d /dev/shm/payring* /etc/payring /var/lib/payring /run/payring /usr/bin/payring* \
    /var/lib/misc/payring* 2>/dev/null')" ''
ok 'nginx goes on without it'        root_sh 'systemctl restart nginx && systemctl is-active nginx'
done_testing
