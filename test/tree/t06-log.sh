#!/bin/sh
description='What the daemons say goes through the log: an event and pairs of key=%x, and nothing that
could be a body or a secret.'
. test/lib/tap.sh

# events FILE...: "place event format" of each use of the log, its format put together.
events() {
    perl -0777 -ne '
        s{/\*.*?\*/|//[^\n]*}{$& =~ tr/\n//cdr}gse;
        while (/\bLOG_(?:ERROR|WARN|INFO|DEBUG|AT)\(((?:[^()";]|"(?:[^"\\]|\\.)*"|\((?:[^()]|\([^()]*\))*\))*)\);/g) {
            my ($use, $line) = ($1, 1 + substr($_, 0, $-[0]) =~ tr/\n//);
            my $text = q("(?:[^"\\\\\\\\]|\\\\\\\\.)*"|PRI[a-z0-9]+);
            my ($event, $rest) = $use =~ /\A\s*("[^"]*")\s*(?:,(.*))?\z/s or die "$ARGV:$line: $use\n";
            my $format = "";
            $rest //= "";
            $format .= $1 =~ s/\APRI.*/x/r =~ tr/"//dr while $rest =~ s/\A\s*("[^"]*"|PRI\w+)//;
            print "$ARGV:$line ", $event =~ tr/"//dr, " $format\n";
        }' "$@"
}
# odd FILE...: those that are not in the style.
odd() {
    events "$@" | grep -vE '^[^ ]+ [a-z][a-z_]*( [A-Za-z_]+=([^ %=,]+|[^ %=]*%[^ ,]+))* ?$'
    events "$@" | grep -iE '(body|token|secret|password|payload|header)[a-z_]*='
}

# shellcheck disable=SC2046
rooms() { find "$@" -name '*.c' | sort; }

cat >"$play_dir/bad.c" <<'C'
LOG_INFO("Two Words", "a=%d", 1);
LOG_INFO("x", "a %d", 1);
LOG_INFO("x", "said: %s", text);
LOG_INFO("x", "a=%" PRIu64 ", b=%d", f(1, g(2)), 2);
LOG_INFO("x", "shared_secret=%s", secret);
C
printf 'LOG_INFO("x", "a=%%" PRIu64\n  " b=%%s:%%s",\n  f(1, g(2)), ");", 3);\nLOG_INFO("y");\n' >"$play_dir/good.c"
is 'this test can fail'              "$(odd "$play_dir/bad.c" | wc -l)" 5
is 'and knows what is good'          "$(odd "$play_dir/good.c")" ''
is '... and sees all of it'          "$(events "$play_dir/good.c" | wc -l)" 2
is 'and sees every use'              "$(events $(rooms api worker shm common) | wc -l)" \
    "$(cat $(rooms api worker shm common) | grep -cE '^ *LOG_(ERROR|WARN|INFO|DEBUG)\(')"
is 'every use is in the style'       "$(odd $(rooms api worker shm common))" ''
# undocumented FILE...: the events above debug that OPERATING.md does not tell.
undocumented() {
    local event
    grep -ohE '\bLOG_(ERROR|WARN|INFO)\("[a-z_]+"' "$@" | cut -d '"' -f 2 | sort -u | while read -r event; do
        grep -qE "\`$event\`|event=$event" docs/OPERATING.md || echo "$event"
    done
}
is 'an event that nobody tells of is found' "$(undocumented "$play_dir/good.c")" "$(printf 'x\ny')"
is 'OPERATING.md tells of every event'   "$(undocumented $(rooms api worker shm common))" ''
is 'nothing else is written to stderr by a daemon' \
    "$(grep -nE '\b(stderr\b|STDERR_FILENO\b|perror\(|puts\(|v?printf\()' \
        $(rooms api worker common | grep -vE '^worker/(ctl_.*|payringctl_main)\.c$') |
        grep -v '^common/log.c:.*STDERR_FILENO')" ''
done_testing
