#!/bin/sh
# Install the Debian packages that building, running and testing need; say nothing when they are
# all there. Uses sudo when not root. Set PAYRING_NO_INSTALL=1 to be told instead what is missing.
#
# The packages of nginx and Docker start servers of their own and enable them for the next boot. Neither
# is wanted: no service is started while we install, and those are disabled afterwards if it
# was us who brought it.
set -eu

build_packages='
    build-essential pkg-config
    libh2o-evloop-dev libssl-dev zlib1g-dev libjson-c-dev libcurl4-openssl-dev
    nginx libnginx-mod-stream'
test_packages='curl perl faketime libcmocka-dev libck-dev clang-format'
docker_packages='docker.io docker-compose containerd runc iptables iproute2 debootstrap curl'
deb_packages="$build_packages dpkg-dev debhelper fakeroot lintian"
systemd_packages='systemd-container debootstrap iproute2 curl procps'

case ${PAYRING_PACKAGES:-all} in
build) packages=$build_packages ;; # what the programs are made of, and no more: an image
docker) packages=$docker_packages ;; # engines to test deliveries with
systemd) packages=$systemd_packages ;;
deb) packages=$deb_packages ;; # `make deb`
all) packages="$build_packages $test_packages" ;;
*) echo "PAYRING_PACKAGES is $PAYRING_PACKAGES: build, deb, docker, systemd or all" >&2 && exit 1 ;;
esac

missing=
for package in $packages; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :) in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ -n "${PAYRING_NO_INSTALL:-}" ]; then
    echo "missing packages:$missing" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "not root and no sudo; please install:$missing" >&2
        exit 1
    }
    as_root=sudo
fi

# However this ends: services may start again, and nginx does not start with the machine if it was
# us who brought it.
policy=/usr/sbin/policy-rc.d
ours=
log=$(mktemp)
failed=
leave_as_found() {
    for service in nginx docker containerd; do
        case " $missing " in
        *" $service "* | *" $service.io "*)
            $as_root update-rc.d $service disable >/dev/null 2>&1 || :
            ;;
        esac
    done
    [ -z "$ours" ] || $as_root rm -f "$policy"
    [ -n "$failed" ] || rm -f "$log"
}
trap leave_as_found EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

echo "installing:$missing"
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" \
        >>"$log" 2>&1 </dev/null || {
        tail -n 30 "$log" >&2
        failed=yes
        echo "apt-get $1 failed; the whole output is in $log" >&2
        exit 1
    }
}
apt update
# shellcheck disable=SC2086  # a list of words
apt install --no-install-recommends $missing
