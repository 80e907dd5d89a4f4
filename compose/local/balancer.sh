#!/bin/sh
# balancer.sh DIR PORT SOCKET...: nginx in the foreground, without root, with a prefix of its own.
#
# Everything that it writes lies in DIR. TERM stops it at once. HUP reloads it: a new process serves
# whoever comes, the one before ends with its last connection.
set -eu
dir=$1
"$(dirname "$0")/../nginx-conf.sh" "$@" >"$dir/nginx.conf"

# Under root nginx would serve as another user, who may not enter a private directory.
user=
[ "$(id -u)" -ne 0 ] || user='user root;'
nginx=$(PATH="$PATH:/usr/sbin" command -v nginx) || {
    echo "nginx is not installed (make deps)" >&2
    exit 1
}
# -e: the compiled-in error log is root's.
exec "$nginx" -p "$dir" -e stderr -c "$dir/nginx.conf" -g "$user"
