#!/bin/sh
description='docker-compose up --build starts the whole gateway within its limits; the public test finds
no inconsistency; any container may be restarted or killed under load, and no payment is lost.'
engine=docker
. test/deliveries/stage.sh

net='' gateway_at=127.0.0.1:9999 default_at=127.0.0.1:8001 fallback_at=127.0.0.1:8002
services='region api0 api1 worker nginx'
grace_s=15
export COMPOSE_PROJECT_NAME="payring-$(echo "${play_dir##*.}" | tr A-Z a-z)"
export PAYRING_TAG="$COMPOSE_PROJECT_NAME"

compose() {
    if command -v docker-compose >/dev/null; then docker-compose "$@"; else docker compose "$@"; fi
}

id_of() { # SERVICE
    docker ps -a -q --no-trunc --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1"
}


inside=region
ctl() {
    docker exec "$(id_of $inside)" /usr/bin/payringctl "$@"
}

state() { # SERVICE FORMAT
    docker inspect -f "$2" "$(id_of "$1")"
}

answers() {
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 http://$gateway_at/healthz)" = 200 ]
}

is_healthy() {
    [ "$(state "$1" '{{.State.Health.Status}}')" = healthy ]
}

# --- what a container's control group has counted, under either version of control groups ----------

group_file() { # SERVICE CONTROLLER FILE
    local id
    id=$(id_of "$1")
    find "/sys/fs/cgroup/$2" /sys/fs/cgroup -path "*$id*" -name "$3" 2>/dev/null | head -n 1
}

cpu_ms() {
    local file
    file=$(group_file "$1" cpuacct cpuacct.usage)
    if [ -n "$file" ]; then echo $(($(cat "$file") / 1000000)); return; fi
    awk '/^usage_usec/ { print int($2 / 1000) }' "$(group_file "$1" . cpu.stat)"
}

memory_kib() { # SERVICE: the most at once, or what it is where that is not kept
    local file
    for file in memory.max_usage_in_bytes memory.peak memory.current; do
        file=$(group_file "$1" memory $file)
        [ -z "$file" ] || { echo $(($(cat "$file") / 1024)) && return; }
    done
}

# How often, and for how many ms in all, it had to wait because of its limit.
throttled() {
    awk '/^nr_throttled/ { n = $2 } /^throttled_time/ { ms = $2 / 1000000 } /^throttled_usec/ { ms = $2 / 1000 }
        END { print n + 0, "times,", int(ms), "ms" }' "$(group_file "$1" cpu cpu.stat)"
}

leave() {
    compose logs --no-color --tail=200 >"$play_dir/containers.log" 2>&1
    compose down -v --remove-orphans --timeout $grace_s
    docker images -q --filter "reference=*:$PAYRING_TAG" | sort -u | xargs -r docker rmi -f
    engine docker-down
}

# ----------------------------------------------------------------------------------------------

for port in 9999 8001 8002; do
    curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$port/" && give_up "somebody is at port $port already"
done
eval "export $(engine docker-up)" || give_up 'no engine'
: >"$play_dir/posted"

COMPOSE_FILE=compose/docker-compose.yml compose config >"$play_dir/entry.yml" 2>"$play_dir/config.log"
ok 'the entry is what the challenge asks for' test/deliveries/check-compose <"$play_dir/entry.yml"
sed 's/cpus: .*/cpus: 1.0/' "$play_dir/entry.yml" >"$play_dir/greedy.yml"
ok 'and this would find it if not'   not test/deliveries/check-compose <"$play_dir/greedy.yml"

begin_ms=$(now_ms)
ok 'docker-compose up --build'       compose up --build -d
note "up --build: $(($(now_ms) - begin_ms)) ms"
ok 'it answers on its port'          eventually 60 answers
for image in payring payring-balancer payring-processor; do
    bytes=$(docker image inspect -f '{{.Size}}' "$image:$PAYRING_TAG")
    note "$image: $bytes bytes"
    ok "$image has at most 25 MB"    test "$bytes" -le 25000000
done
for service in $services; do
    pid=$(state "$service" '{{.State.Pid}}')
    is "$service is not root"        "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$pid/status")" '10001 10001 10001 10001'
    is "$service has no capability"  "$(awk '/^Cap(Prm|Eff|Bnd)/ { print $2 }' "/proc/$pid/status" | sort -u)" 0000000000000000
    is "$service gets no privileges" "$(awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")" 1
    is "$service has a root of its own to read" "$(awk '$2 == "/" { print substr($4, 1, 3) }' "/proc/$pid/mounts")" ro,
    is "$service may use $(state "$service" '{{.HostConfig.Memory}}') bytes" \
        "$(state "$service" '{{and .HostConfig.Memory .HostConfig.NanoCpus}}' | grep -c '^[1-9]')" 1
done
for service in $services; do
    ok "$service is healthy"         eventually 60 is_healthy "$service"
done

# --- the public test, shortened, under the limits -----------------------------------------------

for service in $services; do
    eval "cpu_before_$service=$(cpu_ms "$service")"
done
seconds=${PAYRING_RINHA_SECONDS:-20}
public_test() {
    build/rinha --seconds "$seconds" >"$play_dir/score"
}
ok "the public test in $seconds s"   public_test
sed 's/^/# /' "$play_dir/score"
for service in $services; do
    eval "before=\$cpu_before_$service"
    note "$service: $(($(cpu_ms "$service") - before)) ms of CPU, at most $(memory_kib "$service") KiB, held back $(throttled "$service")"
done
number() {
    grep -o "\"$1\": *[0-9]*" "$play_dir/score" | head -n 1 | tr -dc 0-9
}
is 'no inconsistency'                "$(number inconsistencies)" 0
ok 'payments were accepted'           test "$(number accepted)" -gt 100

# --- under load ---------------------------------------------------------------------------------

for at in $default_at $fallback_at; do admin $at POST purge-payments >"$play_dir/answer"; done
curl -s -o /dev/null -X POST "http://$gateway_at/purge-payments"

beside() { # SERVICE: who else may look into the region
    inside=region
    [ "$1" != region ] || inside=worker
}

survives_restart() {
    docker restart -t $grace_s "$(id_of "$1")" && eventually 30 flows
}

came_again() { # SERVICE PID
    [ "$(state "$1" '{{.State.Running}} {{.State.Pid}}')" != "true $2" ] &&
        [ "$(state "$1" '{{.State.Running}}')" = true ]
}

# As when it crashes: its restart policy brings it back.
survives_crash() {
    local pid
    pid=$(state "$1" '{{.State.Pid}}')
    kill -KILL "$pid" && eventually 30 came_again "$1" "$pid" && flows
}

# By the engine, which then leaves it down until told otherwise.
survives_kill() {
    docker kill "$(id_of "$1")" && docker start "$(id_of "$1")" && flows
}

region_id() {
    ctl show --plain | sed -n 's/^region.id //p'
}

region_before=$(region_id)
load_start
for service in $services; do
    beside "$service"
    ok "docker restart of $service"  survives_restart "$service"
    ok "crash of $service"           survives_crash "$service"
    ok "docker kill of $service"     survives_kill "$service"
done
inside=region
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the books agree, id by id'       books_agree_within 90
is 'it is the same region'           "$(region_id)" "$region_before"

# --- stop and start -------------------------------------------------------------------------------

for service in nginx api1 api0 worker region; do
    begin_ms=$(now_ms)
    docker stop -t $grace_s "$(id_of $service)" >"$play_dir/stop"
    took_ms=$(($(now_ms) - begin_ms))
    is "$service ends of TERM"       "$(state $service '{{.State.ExitCode}}')" 0
    ok "within its time ($took_ms ms)" test "$took_ms" -lt $((grace_s * 1000))
done
ok 'down'                            compose down -v --timeout $grace_s
for kind in container network volume; do
    all=; [ $kind != container ] || all=-a
    is "leaves no $kind"             "$(docker $kind ls $all -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")" ''
done

# --- start order, with the file for production ------------------------------------------------------

export COMPOSE_FILE=compose/docker-compose.yml:compose/production.yml:compose/with-processors.yml
: >"$play_dir/posted"
ok 'production: created'             compose up --no-start
for service in nginx worker api1 api0; do docker start "$(id_of $service)" >"$play_dir/start"; done
tries() {
    [ "$(state "$1" '{{.RestartCount}}')" -ge 1 ]
}
ok 'an API without a region tries'   eventually 60 tries api0
ok 'so does a worker'                eventually 60 tries worker
docker start "$(id_of region)" >"$play_dir/start"
ok 'the region comes last: all answer' eventually 90 answers
late=$(new_id)
ok 'accepted without any processor'  post "$late"
for service in payment-processor-default payment-processor-fallback; do
    docker start "$(id_of $service)" >"$play_dir/start"
done
ok 'settled when they come'          eventually 60 is_settled "$late"
ok 'the books agree'                 books_agree_within 30
is 'purging is off'                  "$(curl -s -o /dev/null -w '%{http_code}' -X POST http://$gateway_at/purge-payments)" 403
is 'it comes back after a reboot'    "$(state api0 '{{.HostConfig.RestartPolicy.Name}}')" always
done_testing
