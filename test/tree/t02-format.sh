#!/bin/sh
description='Every C file is in the shape of .clang-format, every script is free of errors that can
be seen without running it.'
. test/lib/tap.sh

ok 'the shape of .clang-format' make --no-print-directory format-check
for script in $(grep -rlE '^#!/bin/(ba)?sh' test compose .ci | sort); do
    case $(head -n 1 "$script") in
    *bash) ok "$script" bash -n "$script" ;;
    *) ok "$script" sh -n "$script" ;;
    esac
done
done_testing
