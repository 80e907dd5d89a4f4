#!/bin/bash
# engine.sh: what the deliveries are tried on, brought up on a bare Debian 12 machine as root. No
# image registry is needed: the base of everything is made with debootstrap.
#
#   engine.sh why-not docker|systemd  says why there can be none here; says nothing if there can
#   engine.sh docker-up DIR           prints DOCKER_HOST=... of an engine with debian:bookworm-slim
#   engine.sh docker-down DIR
#   engine.sh root-make DIR [PACKAGE...]  a Debian root in DIR/root, with systemd and these packages
#   engine.sh root-fetch DIR FILE.deb  fetches what a package file in the root wants, installs nothing
#   engine.sh root-up DIR             boots it: systemd as PID 1, a network of its own
#   engine.sh root-sh DIR COMMAND     a shell command inside
#   engine.sh root-net DIR COMMAND... a program of this machine, in the root's network
#   engine.sh root-down DIR           powers it off; a second root-up is what a reboot is
#   engine.sh root-cut DIR            cuts its power: everything in it dies at once, and its memory
#   engine.sh root-gone DIR           powers it off for good
#
# DIR holds everything but the bases, which stay in build/deliveries for the next time. An engine
# that answers already (DOCKER_HOST or the usual socket) is used as it is and left as it is.
set -u
cd "$(dirname "$0")/../.." || exit 1
verb=${1:-} dir=${2:-}
name=payring-$(basename "$dir" | tr -c 'a-zA-Z0-9\n' -)
bases=build/deliveries
controllers='cpu cpuacct memory pids systemd unified'

fail() {
    echo "engine.sh: $*" >&2
    exit 1
}

# --- is it possible? ------------------------------------------------------------------------

why_not() {
    [ "$(id -u)" -eq 0 ] || { echo 'needs root' && return; }
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || { echo 'needs Debian 12' && return; }
    unshare --mount mount -t tmpfs none /mnt 2>/dev/null || { echo 'may not mount' && return; }
    has_cgroups || { echo 'may not make control groups' && return; }
    PAYRING_PACKAGES=$1 compose/local/install-packages.sh >&2 || {
        echo "the packages of the $1 engine cannot be installed" && return
    }
    base_is_there || echo 'debootstrap cannot reach a Debian mirror'
}

has_cgroups() {
    local root
    for root in /sys/fs/cgroup/systemd /sys/fs/cgroup; do
        mkdir "$root/payring-try.$$" 2>/dev/null && rmdir "$root/payring-try.$$" && return
    done
    return 1
}

# --- bases ----------------------------------------------------------------------------------

# make_base FILE COMMAND...: the command fills the directory that is its last argument; one at a
# time, and never half of it under the name.
make_base() {
    local file="$bases/$1" made
    shift
    mkdir -p "$bases"
    [ ! -e "$file" ] || return 0 # it comes whole, so whoever sees it needs no lock
    exec 9>"$bases/lock"
    flock 9
    [ ! -e "$file" ] || { exec 9>&- && return; }
    made=$(mktemp -d "${TMPDIR:-/tmp}/payring-base.XXXXXX") || return
    chmod 755 "$made" # it becomes a root directory, which is everybody's
    if "$@" "$made" >"$file.log" 2>&1 && tar -C "$made" -cf "$file.part" .; then
        mv "$file.part" "$file"
    fi
    rm -rf "$made" "$file.part"
    exec 9>&-
    [ -e "$file" ]
}

base_is_there() {
    make_base bookworm.tar debootstrapped
}

debootstrapped() {
    debootstrap --variant=minbase bookworm "$1"
}

# Packages of a root come through a cache of ours: the mirror is asked for each once.
in_root() { # ROOT PACKAGE...
    local root="$1" result
    shift
    mkdir -p "$bases/archives/partial" "$root/var/cache/apt/archives"
    mount --bind "$bases/archives" "$root/var/cache/apt/archives" || return
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing starts in a chroot
    chmod 755 "$root/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -q -y -o APT::Keep-Downloaded-Packages=1 \
        -o DPkg::Lock::Timeout=60 --no-install-recommends "$@"
    result=$?
    rm -f "$root/usr/sbin/policy-rc.d"
    umount "$root/var/cache/apt/archives"
    return $result
}

with_systemd() {
    tar -C "$1" -xf "$bases/bookworm.tar" || return
    in_root "$1" update || return
    in_root "$1" install systemd systemd-sysv dbus procps
}

# --- Docker ---------------------------------------------------------------------------------

docker_answers() {
    docker version >/dev/null 2>&1
}

docker_up() {
    if docker_answers; then
        : >"$dir/docker.found"
    else
        ip link show docker0 >/dev/null 2>&1 || : >"$dir/docker.bridge"
        export DOCKER_HOST="unix://$dir/docker.sock"
        setsid dockerd --data-root "$dir/docker-data" --exec-root "$dir/docker-exec" \
            --pidfile "$dir/docker.pid" -H "$DOCKER_HOST" --storage-driver=overlay2 \
            >"$dir/docker.log" 2>&1 </dev/null &
        for _ in $(seq 120); do docker_answers && break || sleep .25; done
        docker_answers || fail "dockerd does not answer: $(tail -n 3 "$dir/docker.log")"
    fi
    docker image inspect debian:bookworm-slim >/dev/null 2>&1 ||
        docker import - debian:bookworm-slim <"$bases/bookworm.tar" >/dev/null ||
        fail 'no debian:bookworm-slim'
    echo "DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}"
}

docker_down() {
    local pid
    pid=$(cat "$dir/docker.pid" 2>/dev/null) || return 0
    kill "$pid"
    for _ in $(seq 240); do [ -d "/proc/$pid" ] && sleep .25 || break; done
    grep -o " $dir[^ ]*" /proc/self/mounts | sort -r | while read -r mounted; do
        umount "$mounted"
    done
    [ ! -e "$dir/docker.bridge" ] || ip link del docker0 2>/dev/null
    for controller in $controllers; do
        find "/sys/fs/cgroup/$controller/docker" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    rm -rf "$dir/docker-data" "$dir/docker-exec"
}

# --- a root with systemd ----------------------------------------------------------------------

root_make() {
    make_base systemd.tar with_systemd || fail "no base: $(tail -n 3 $bases/systemd.tar.log)"
    mkdir -p "$dir/root"
    tar -C "$dir/root" -xf "$bases/systemd.tar" || fail 'no root'
    [ $# -eq 0 ] || in_root "$dir/root" install "$@" >"$dir/root.log" 2>&1 ||
        fail "packages of the root: $(tail -n 3 "$dir/root.log")"
}

root_fetch() {
    in_root "$dir/root" --install-recommends --download-only install "$1" >>"$dir/root.log" 2>&1 || return
    # In there the cache is the root's own.
    cp "$bases"/archives/*.deb "$dir/root/var/cache/apt/archives/"
}

# Where systemd does not run this machine, nobody gives the container a control group of its own.
own_cgroup() {
    local controller
    for controller in $controllers; do
        [ -d "/sys/fs/cgroup/$controller" ] || continue
        mkdir -p "/sys/fs/cgroup/$controller/$name"
        echo "$BASHPID" >"/sys/fs/cgroup/$controller/$name/cgroup.procs"
    done
}

inside() {
    nsenter -t "$(cat "$dir/root.leader")" -m -u -i -p -n -C "$@"
}

is_up() {
    ps -o pid= --ppid "$(cat "$dir/root.pid")" | head -n 1 | tr -d ' ' >"$dir/root.leader"
    [ -s "$dir/root.leader" ] &&
        inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'
}

root_up() {
    local keep=--keep-unit
    # Outlives a reboot, with the processors that a play starts in it.
    ip netns list | grep -q "^$name\b" || ip netns add "$name" || fail "no network namespace"
    ip -n "$name" link set lo up
    [ ! -d /run/systemd/system ] || keep=
    (
        [ -z "$keep" ] || own_cgroup
        # shellcheck disable=SC2086
        exec setsid systemd-nspawn -q -D "$dir/root" --boot --register=no $keep --machine="$name" \
            --network-namespace-path="/run/netns/$name" >>"$dir/root.console" 2>&1 </dev/null
    ) &
    echo $! >"$dir/root.pid"
    for _ in $(seq 120); do is_up && return || sleep .5; [ -d "/proc/$!" ] || break; done
    fail "the root does not come up: $(tail -n 3 "$dir/root.console")"
}

root_down() {
    local pid
    pid=$(cat "$dir/root.pid" 2>/dev/null) || return 0
    inside systemctl poweroff 2>/dev/null
    for _ in $(seq 180); do [ -d "/proc/$pid" ] && sleep .5 || break; done
    [ ! -d "/proc/$pid" ] || { echo 'engine.sh: the root does not stop, killing it' >&2 && kill -KILL "$pid"; }
    root_is_down
}

# The kernel ends all others of its process namespace with the first one.
root_cut() {
    kill -KILL "$(cat "$dir/root.leader")" || fail 'the root is not up'
    for _ in $(seq 60); do [ -d "/proc/$(cat "$dir/root.pid")" ] && sleep .5 || break; done
    root_is_down
}

root_is_down() {
    local controller
    for controller in $controllers; do
        find "/sys/fs/cgroup/$controller/$name" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    rm -f "$dir/root.pid"
}

case $verb in
why-not) why_not "$2" ;;
docker-up) base_is_there && docker_up ;;
docker-down) docker_down ;;
root-make) shift 2 && base_is_there && root_make "$@" ;;
root-fetch) root_fetch "$3" ;;
root-up) root_up ;;
root-sh) inside sh -c "$3" ;;
root-net) shift 2 && exec nsenter --net="/run/netns/$name" "$@" ;;
root-down) root_down ;;
root-cut) root_cut ;;
root-gone) root_down && ip netns del "$name" 2>/dev/null ;;
*) sed -n '2,18p' "$0" && exit 2 ;;
esac
