#!/bin/sh
description='The plays call the programs of the tree that plays, so that a sanitizer sees all that happens.'
. test/lib/tap.sh

ok 'there are plays'               test "$(ls test/cluster/t*.sh | wc -l)" -gt 30
is 'a program of another tree'     "$(grep -nE '(^|[^$A-Za-z./"])build/(payring|processor|poster)' \
    test/cluster/*.sh test/lib/cluster.sh)" ''
done_testing
