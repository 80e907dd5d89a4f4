#!/bin/sh
description='docker-compose up --build starts the whole gateway within its limits; the public test finds
no inconsistency; any container may start first, be restarted, killed and missing under load, in
production all of them at once, and no payment is lost.'
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

ids_of_all() {
    for service in $services; do id_of $service; done
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

# How often it had to wait because of its limit, and for how many ms in all.
throttled() {
    awk '/^nr_throttled/ { n = $2 } /^throttled_time/ { ms = $2 / 1000000 } /^throttled_usec/ { ms = $2 / 1000 }
        END { print n + 0, int(ms) }' "$(group_file "$1" cpu cpu.stat)"
}

# What the kernel holds it to, bytes and billionths of a CPU.
held_to() { # SERVICE
    local file
    for file in memory.limit_in_bytes memory.max; do
        file=$(group_file "$1" memory $file)
        [ -z "$file" ] || { cat "$file" && break; }
    done
    file=$(group_file "$1" cpu cpu.cfs_quota_us)
    if [ -n "$file" ]; then
        echo "$(cat "$file")" "$(cat "${file%quota_us}period_us")"
    else
        cat "$(group_file "$1" . cpu.max)"
    fi | awk '{ printf "%.0f\n", $1 * 1000000000 / $2 }'
}

leave() {
    compose logs --no-color --tail=200 >"$play_dir/containers.log" 2>&1
    compose down -v --remove-orphans --timeout $grace_s
    [ -z "${processors:-}" ] || docker rm -f $processors
    [ -z "${network:-}" ] || docker network rm $network
    docker images -q --filter "reference=*:$PAYRING_TAG" | sort -u | xargs -r docker rmi -f
    engine docker-down
}

# ----------------------------------------------------------------------------------------------

for port in 9999 8001 8002; do
    curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$port/" && give_up "somebody is at port $port already"
done
eval "export $(engine docker-up)" || give_up 'no engine'
note "docker-compose $(docker-compose version --short 2>&1), engine $(docker version -f '{{.Server.Version}}')"
note "docker compose v2: $(docker compose version --short 2>/dev/null || echo 'no plugin here, no package in Debian 12'): not tried"
note "control groups: version $(docker info -f '{{.CgroupVersion}}'); the other one is not tried"

COMPOSE_FILE=compose/docker-compose.yml compose config >"$play_dir/entry.yml" 2>"$play_dir/config.log"
ok 'the entry is what the challenge asks for' test/deliveries/check-compose <"$play_dir/entry.yml"
sed 's/cpus: .*/cpus: 1.0/' "$play_dir/entry.yml" >"$play_dir/greedy.yml"
ok 'and this would find it if not'   not test/deliveries/check-compose <"$play_dir/greedy.yml"

begin_ms=$(now_ms)
ok 'docker-compose up --build, as in the README' eval "$(readme 'docker-compose up')"
note "up --build: $(($(now_ms) - begin_ms)) ms"
ok 'it answers on its port, as there' eval "$(readme 'curl -i --retry') | grep '200 OK'"
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
    limits=$(state "$service" '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}')
    ok "$service is limited ($limits)" expr "$limits" : '[1-9][0-9]* [1-9][0-9]*$'
    is "and the kernel holds it to that" "$(held_to "$service" | xargs)" "$limits"
done
for service in $services; do
    ok "$service is healthy"         eventually 60 is_healthy "$service"
done

# --- the public test, under the limits ------------------------------------------------------------

for service in $services; do
    eval "before_$service='$(cpu_ms "$service") $(throttled "$service")'"
    note "$service, to begin with: $(cpu_ms "$service") ms of CPU, held back times and ms: $(throttled "$service")"
done
seconds=${PAYRING_RINHA_SECONDS:-60}
public_test() {
    build/rinha --seconds "$seconds" >"$play_dir/score"
}
ok "the public test in $seconds s"   public_test
sed 's/^/# /' "$play_dir/score"
for service in $services; do
    eval "set -- \$before_$service" "$(cpu_ms "$service") $(throttled "$service")"
    note "$service: $(($4 - $1)) ms of CPU, at most $(memory_kib "$service") KiB, held back $(($5 - $2)) times, $(($6 - $3)) ms"
done
number() {
    grep -o "\"$1\": *[0-9]*" "$play_dir/score" | head -n 1 | tr -dc 0-9
}
is 'no inconsistency'                "$(number inconsistencies)" 0
ok 'payments were accepted'           test "$(number accepted)" -gt $((seconds * seconds * 2))
ok 'and earn something'              test "$(number score)" -gt 0

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

# By the engine, which then leaves it down until told otherwise; the others do what they did before.
survives_absence() {
    docker kill "$(id_of "$1")" && while_missing "$1" && docker start "$(id_of "$1")" && flows
}

while_missing() {
    case $1 in
    nginx) not answers ;;
    *) flows ;;
    esac
}

# Its network is gone, its books are not.
survives_without_processor() { # SERVICE
    local its
    its=$(state "$1" '{{range $name, $network := .NetworkSettings.Networks}}{{$name}}{{end}}')
    docker network disconnect "$its" "$(id_of "$1")" && flows &&
        docker network connect --alias "$1" "$its" "$(id_of "$1")" && flows
}

region_id() {
    ctl show --plain | sed -n 's/^region.id //p'
}

region_before=$(region_id)
load_start
for processor in payment-processor-default payment-processor-fallback; do
    ok "absence of $processor"       survives_without_processor "$processor"
done
for service in $services; do
    beside "$service"
    ok "docker restart of $service"  survives_restart "$service"
    ok "crash of $service"           survives_crash "$service"
    ok "absence of $service"         survives_absence "$service"
done
inside=region
ok 'the load ends'                   load_stop
note "load: $(tail -n 1 "$play_dir/poster.log")"
ok 'the books agree, id by id'       books_agree_within 120
ok 'so do the windows'               windows_agree
is 'it is the same region'           "$(region_id)" "$region_before"

# --- stop -----------------------------------------------------------------------------------------

for service in nginx api1 api0 worker region; do
    begin_ms=$(now_ms)
    docker stop -t $grace_s "$(id_of $service)" >"$play_dir/stop"
    took_ms=$(($(now_ms) - begin_ms))
    is "$service ends of TERM"       "$(state $service '{{.State.ExitCode}}')" 0
    ok "within its time ($took_ms ms)" test "$took_ms" -lt $((grace_s * 1000))
done
ok 'down, as in the README'          eval "$(readme 'docker-compose down')"
for kind in container network volume; do
    all=; [ $kind != container ] || all=-a
    is "leaves no $kind"             "$(docker $kind ls $all -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")" ''
done

# --- for production: the last comes first -----------------------------------------------------------

export COMPOSE_FILE=compose/docker-compose.yml:compose/production.yml
export PAYRING_QUARANTINE_MS=3000 # nothing sleeps at these processors for longer
nothing_posted
compose config >"$play_dir/production.yml" 2>"$play_dir/config.log"
ok 'the file for production is what it says' test/deliveries/check-compose production <"$play_dir/production.yml"
docker network inspect payment-processor >"$play_dir/network" 2>&1 ||
    network=$(docker network create payment-processor)

# Not of the project, so that their books outlive `down`.
processor_start() { # NAME PORT FEE
    docker run -d --network payment-processor --network-alias "payment-processor-$1" -p "$2:8080" \
        "payring-processor:$PAYRING_TAG" --name "$1" --fee "$3" --listen 0.0.0.0:8080 >"$play_dir/id.$1" ||
        give_up 'no processor'
    processors="${processors:-} $(cat "$play_dir/id.$1")"
}

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
processor_start default 8001 0.05
processor_start fallback 8002 0.15
ok 'settled when they come'          eventually 90 is_settled "$late"
ok 'the books agree'                 books_agree_within 30
is 'purging is off'                  "$(curl -s -o /dev/null -w '%{http_code}' -X POST http://$gateway_at/purge-payments)" 403
is 'it comes back after a reboot'    "$(state api0 '{{.HostConfig.RestartPolicy.Name}}')" always

# --- for production: down and up under load ---------------------------------------------------------

made_of_the_journal() {
    docker logs "$(id_of region)" 2>&1 |
        grep -E 'made of the journal in /var/lib/payring: .* [1-9][0-9]* payments that have not ended'
}
region_before=$(region_id)
ok 'the processors are slow'         slow
load_start
ok 'many wait'                       eventually 60 wait_for_settling 500
ok 'down'                            compose down
is 'leaves no container'             "$(ids_of_all)" ''
ok 'up'                              compose up -d
ok 'it answers'                      eventually 60 answers
ok 'the region is another one'       test "$(region_id)" != "$region_before"
ok 'made of the journal, with what had not ended' made_of_the_journal
note "$(docker logs "$(id_of region)" 2>&1 | grep 'made of the journal')"
ok 'payments flow'                   flows
ok 'the load ends'                   load_stop
ok 'the processors are well'         well
ok 'everything acknowledged is settled once: the books agree' books_agree_within 120
ok 'and counted once: so do the windows' windows_agree

# --- for production: everybody dies at once, and each comes first -----------------------------------

for first in $services; do
    docker kill $(ids_of_all) >"$play_dir/kill"
    is "$first first: nobody runs"   "$(docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")" ''
    docker start "$(id_of $first)" >"$play_dir/start"
    is 'it stays by itself'          "$(state $first '{{.State.Running}}')" true
    docker start $(ids_of_all) >"$play_dir/start"
    ok 'all come, and it answers'    eventually 60 answers
    late=$(new_id)
    ok 'it accepts'                  post "$late"
    ok 'and settles'                 eventually 60 is_settled "$late"
done
ok 'no region had forgotten what was before' books_agree_within 30
ok 'nor its sums'                    windows_agree
ok 'the region is in order'          ctl check
ok 'the journal is whole'            ctl journal
ok 'down, with what is on disk'      compose down -v
done_testing
