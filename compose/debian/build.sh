#!/bin/sh
# build.sh DIR: the Debian package of this tree, in DIR. Its version is common/version.h's, or what
# PAYRING_DEB_VERSION says. `make deb` calls this.
set -eu
cd "$(dirname "$0")/../.."
version=${PAYRING_DEB_VERSION:-$(sed -n 's/^#define PAYRING_VERSION "\(.*\)"$/\1/p' common/version.h)}
tree=$1/payring-$version

rm -rf "$tree"
mkdir -p "$tree"
cp -r Makefile README.md api common compose docs shm worker "$tree"
mkdir "$tree/test" # the Makefile looks for its sources there
mv "$tree/compose/debian" "$tree/debian"
rm "$tree/debian/build.sh"
cat >"$tree/debian/changelog" <<TEXT
payring ($version) bookworm; urgency=medium

  * Built from the tree of this version.

 -- Payring authors <maintainers@payring.example.org>  $(date -R -r common/version.h)
TEXT
unset MAKEFLAGS MFLAGS MAKELEVEL
(cd "$tree" && dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary) \
    >"$tree.log" 2>&1 || {
    tail -n 30 "$tree.log" >&2
    echo "make deb failed; the whole output is in $tree.log" >&2
    exit 1
}
rm -rf "$tree"
ls "$1/payring_$version"_*.deb
