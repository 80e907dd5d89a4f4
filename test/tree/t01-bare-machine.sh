#!/bin/sh
description='make and make help work where neither compiler nor pkg-config is installed.'
. test/lib/tap.sh

mkdir "$play_dir/bin"
for tool in sh make echo find grep cut sort sed; do
    ln -s "/bin/$tool" "$play_dir/bin/$tool"
done
make=$(command -v make)
for goal in '' help; do
    env -i PATH="$play_dir/bin" "$make" --no-print-directory $goal \
        >"$play_dir/said" 2>"$play_dir/complaints"
    is "make $goal: status"          $? 0
    ok "make $goal tells of run"     grep -q 'make run' "$play_dir/said"
    is "make $goal complains of nothing" "$(cat "$play_dir/complaints")" ''
done
done_testing
