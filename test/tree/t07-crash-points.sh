#!/bin/sh
description='Crash points are for tests: what is installed is, bit by bit, what it would be without them,
and each of the table stands in the source once.'
. test/lib/tap.sh

# shellcheck disable=SC2046
points=$(sed -n 's/^CRASH_POINT_ROW(\([a-z_]*\),.*/\1/p' common/crash_points.def)
uses() {
    grep -rhoE "\bCRASH_POINT(_IF)?\(.*" api worker shm | sed 's/.*[ (]\([a-z_]*\));$/\1/' | sort
}
is 'each of the table stands in the source, once' "$(uses)" "$(echo "$points" | sort)"

# A tree without them: lines stay lines, since a failed CHECK tells its own.
mkdir "$play_dir/bare"
cp -r api worker shm common "$play_dir/bare"
files=$(grep -rlE '\bCRASH_POINT(_IF)?\(' api worker shm)
for file in $files; do
    sed -i -E 's/^ *CRASH_POINT(_IF)?\(.*\);$//' "$play_dir/bare/$file"
done
is 'none is left there' "$(cd "$play_dir/bare" && grep -rnE '\bCRASH_POINT(_IF)?\(' api worker shm)" ''

flags="-std=gnu17 -O2 -I. -D_GNU_SOURCE= -DH2O_USE_LIBUV=0
    $(pkg-config --cflags libh2o-evloop json-c libcurl openssl zlib)"
compile() { # directory file defines...
    local directory="$1" file="$2"
    shift 2
    # shellcheck disable=SC2086
    (cd "$directory" && gcc $flags "$@" -c -o "$play_dir/object" "$file")
    md5sum <"$play_dir/object"
}
sources=$(echo "$files" | grep '\.c$'; grep -rl '"shm/shm_ring.h"' api worker --include='*.c')
different=''
for file in $(echo "$sources" | sort -u); do
    [ "$(compile . "$file")" = "$(compile "$play_dir/bare" "$file")" ] || different="$different $file"
done
is 'the objects are the same without them' "$different" ''
is 'and this test can fail' "$(
    [ "$(compile . shm/shm_lease.c -DPAYRING_CRASH_POINTS)" = "$(compile . shm/shm_lease.c)" ] || echo different
)" different
for program in payring-api payring-worker payringctl; do
    is "$program has none" "$(nm "build/$program" | grep -c crash_point)" 0
done
done_testing
