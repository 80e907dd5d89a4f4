#!/bin/sh
description='examples'
. test/lib/cluster.sh
export PAYRING_REGION
cluster_start --apis 2 --workers 2 PAYRING_DEADLINE_MS=1000
post_many --count 3 --seed 1
id=4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3
processor default misbehaves error-before "correlationId=$id"
post_payment api0 $id 19.90
eventually 10 sh -c 'build/payringctl payments --pinned --format tsv | grep -q .'
exec 9>&1
run() { echo "\$ payringctl $*"; build/payringctl "$@" 2>&1; echo "[exit $?]"; }
{
run payments --pinned
run payments --pinned --format tsv
run payments --limit 1 --format json
run resolve $id settled --by ann
run resolve $id requeue --by ann --reason "the processor has none of it, ticket 4711"
eventually 10 payment_is api0 $id settled
grep -h payment_resolved "$play_dir"/worker*.log
processor default behaves
run reconcile
run reconcile --sample 2 --format json
insert_elsewhere default $id 19.90 2026-11-28T01:00:00.000Z
run reconcile
run export
run export --output /tmp/ops/payments.csv
run export --format jsonl --from 2026-01-01T00:00:00Z
run drain
run drain --resume
} > /tmp/ops/examples.out 2>&1
ok true true
done_testing
