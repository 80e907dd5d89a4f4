#!/bin/sh
# nginx-conf.sh DIR PORT SOCKET...: nginx.conf.in with its words filled in, on stdout. What nginx
# writes besides its log lies in DIR.
set -eu
dir=$1 port=$2
shift 2

servers=
for socket in "$@"; do
    servers="$servers        server unix:$socket max_fails=0;\\n"
done
modules=/usr/lib/nginx/modules
sed -e "s|@PORT@|$port|g" -e "s|@DIR@|$dir|g" -e "s|@MODULES@|$modules|g" \
    -e "s|^@SERVERS@\$|${servers%\\n}|" "$(dirname "$0")/nginx.conf.in"
