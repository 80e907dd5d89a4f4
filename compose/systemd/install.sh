#!/bin/sh
# install.sh DESTDIR PREFIX UNIT_DIR PROGRAM...: puts the programs, the units with their paths filled
# in, the user, the directories, the pages and, if there are none yet, the settings where systemd and
# an operator look for them. `make install` calls this. It starts and enables nothing.
set -eu
here=$(dirname "$0")
to=$1 prefix=$2 units=$1$3
shift 3

install -d "$to$prefix/bin" "$units/nginx.service.d" "$to$prefix/lib/sysusers.d" \
    "$to$prefix/lib/tmpfiles.d" "$to$prefix/share/doc/payring" "$to/etc/payring"
install -m 755 "$@" "$to$prefix/bin"

for unit in "$here"/*.service "$here"/*.target; do
    name=$(basename "$unit")
    sed -e "s|@BIN@|$prefix/bin|g" -e "s|@DOC@|$prefix/share/doc/payring|g" "$unit" >"$units/$name"
    chmod 644 "$units/$name"
done
install -m 644 "$here/nginx.service.d.conf" "$units/nginx.service.d/payring.conf"
install -m 644 "$here/payring.sysusers" "$to$prefix/lib/sysusers.d/payring.conf"
install -m 644 "$here/payring.tmpfiles" "$to$prefix/lib/tmpfiles.d/payring.conf"
install -m 644 "$here"/../../docs/* "$here/../../README.md" "$to$prefix/share/doc/payring"

# What an operator may have changed is not written over.
for settings in payring.conf nginx-stream.conf; do
    [ -e "$to/etc/payring/$settings" ] ||
        install -m 644 "$here/$settings" "$to/etc/payring/$settings"
done
