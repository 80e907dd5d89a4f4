#!/bin/sh
# collect.sh DIR: the root file system of each image, made from what was just built and from what
# Debian's packages installed here. Runs inside the build (compose/Dockerfile).
set -eu
cd "$(dirname "$0")/../.."
to=$1

# copy IMAGE FILE [AS]: with the libraries that it loads, and without its symbols.
copy() {
    image=$to/$1 file=$2 as=${3:-$2}
    install -D "$file" "$image$as"
    strip "$image$as"
    ldd "$file" | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$image$library" ] || install -D -m 755 "$library" "$image$library"
    done
}

# One user for all of them: the region and the sockets are for nobody else.
user() {
    mkdir -p "$to/$1/etc" "$to/$1/tmp"
    echo 'payring:x:10001:10001:Payring:/:/' >"$to/$1/etc/passwd"
    echo 'payring:x:10001:' >"$to/$1/etc/group"
    echo 'hosts: files dns' >"$to/$1/etc/nsswitch.conf"
    chmod 1777 "$to/$1/tmp"
}

for image in gateway balancer processor; do user $image; done
mkdir -p -m 700 "$to/places/run/payring" "$to/places/dev/shm" "$to/places/var/lib/payring"

for program in payring-api payring-worker payringctl; do
    copy gateway "build/$program" "/usr/bin/$program"
done

copy balancer /usr/sbin/nginx
copy balancer /usr/lib/nginx/modules/ngx_stream_module.so
copy balancer build/payringctl /usr/bin/payringctl
mkdir -p "$to/balancer/etc/payring"
compose/nginx-conf.sh /tmp 9999 /run/payring/api0.sock /run/payring/api1.sock \
    >"$to/balancer/etc/payring/nginx.conf"

copy processor build/processor /usr/bin/processor
copy processor build/payringctl /usr/bin/payringctl
