# Sourced: who runs on which processor, as prefixes of a command in arrays.
#
# A request goes from nginx to an API and back. On a machine of two or three processors these share
# one ($front), and all others have the rest ($back): there, what waits for a processor is what p99 is
# made of, and what settles is in no hurry (docs/TESTING.md, The public test's score). Where it is
# allowed, $front is also first in line.
read -ra processors <<<"$(taskset -cp $$ | sed 's/.*: *//' |
    perl -ne 'print join " ", map { /(\d+)-(\d+)/ ? $1 .. $2 : $_ } split /,/')"
front=() back=()
case ${#processors[@]} in
2 | 3)
    front=(taskset -c "${processors[0]}")
    back=(taskset -c "$(IFS=,; echo "${processors[*]:1}")")
    ;;
esac
[ "$(nice -n -10 nice 2>/dev/null)" != -10 ] || front+=(nice -n -10)
