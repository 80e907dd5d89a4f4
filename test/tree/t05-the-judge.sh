#!/bin/sh
description='The comparison of the books, which decides every play, finds what it is there to find.'
. test/lib/tap.sh

a=11111111-1111-4111-8111-111111111111
b=22222222-2222-4222-8222-222222222222
c=33333333-3333-4333-8333-333333333333

# Three payments, one of them with the fallback, all in order.
reset() {
    printf '%s\t1990\t1000000\n%s\t1\t2000000\n' $a $b >"$play_dir/default"
    printf '%s\t500\t3000000\n' $c >"$play_dir/fallback"
    printf '%s\t1990\tSETTLED\tdefault\t1000000\t1000\t0\t1\n' $a >"$play_dir/list"
    printf '%s\t500\tSETTLED\tfallback\t3000000\t1000\t0\t1\n' $c >>"$play_dir/list"
    printf '0\t0\tdefault\t1990\t1000000\n0\t1\tdefault\t1\t2000000\n1\t0\tfallback\t500\t3000000\n' \
        >"$play_dir/rows"
    printf '%s\t19.90\t202\n%s\t1e-2\t202\n%s\t5.00\t202\n' $a $b $c >"$play_dir/posted"
}
compare() {
    test/lib/compare-books --default "$play_dir/default" --fallback "$play_dir/fallback" \
        --list "$play_dir/list" --rows "$play_dir/rows" --posted "$play_dir/posted" "$@"
}
finds() { # what it must say
    if compare >"$play_dir/said" 2>&1; then
        echo 'found nothing'
        return 1
    fi
    grep -q "$1" "$play_dir/said" || {
        cat "$play_dir/said"
        return 1
    }
}
edit() { # file sed-script
    reset
    sed -i "$2" "$play_dir/$1"
}

reset
ok 'nothing where there is nothing'   compare
edit default 2d
ok 'an accepted payment in no book'   finds 'accepted, and in no book'
edit rows 2d
ok 'a payment that was not counted'   finds 'and not counted'
edit rows '$a 1\t1\tdefault\t1\t2000000'
ok 'one that was counted twice'       finds 'counted default 1 2000000, and in no book'
edit fallback "\$a $a\t1990\t9000000"
ok 'one that was charged twice'       finds '2 times in the books'
edit default "s/\t1990\t/\t1991\t/"
ok 'another amount than accepted'     finds 'charged 1991 cents'
ok 'another amount than recorded'     finds '1990 cents with us, 1991'
edit default 's/1000000/1000001/'
ok 'another requestedAt'              finds 'requestedAt 1000000 with us, 1000001'
edit list 's/default/fallback/'
ok 'another processor'                finds 'settled with fallback, and in the book of default'
edit list 's/SETTLED/SENT/'
ok 'something unsettled'              finds 'still SENT'
edit list 's/SETTLED/REJECTED/'
ok 'a rejected one that was charged'  finds 'REJECTED, and in the book'
edit posted 's/202/409/'
ok 'a refused one that was charged'   finds 'accepted were: nothing'
edit posted 1d
ok 'one that nobody posted'           finds 'nobody posted it'
edit posted 's/202/lost/'
ok 'a lost one may have been accepted' compare
edit rows 2d
ok 'a purge excuses what was sent before it' compare --purged-until 2000000
ok '... and nothing after'            not compare --purged-until 1999999
done_testing
