#!/bin/sh
description='An API without descriptors for new clients goes on serving those it has, at rest, and
takes the others when there are some again; a worker without them waits, and loses nothing.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1
# may_open NAME N: so many descriptors more than it has open now. The limit is one of their numbers.
may_open() {
    local pid limit=0 free=0
    pid=$(cat "$play_dir/$1.pid")
    while [ -e "/proc/$pid/fd/$limit" ] || [ "$((free += 1))" -le "$2" ]; do
        limit=$((limit + 1))
    done
    prlimit --pid "$pid" --nofile="$limit:"
}

# One client that is there already, and ten who come when there is room for two. Each has been told
# by the kernel that it is connected, and has asked.
cat >"$play_dir/crowd.pl" <<'PERL'
use IO::Socket::UNIX;
my ($path, $dir) = @ARGV;
$SIG{ALRM} = sub { exit 1 };
alarm 30;
sub comes { IO::Socket::UNIX->new(Peer => $path) or die }
sub asks { syswrite $_[0], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" }
sub hears {
    my $answer;
    sysread($_[0], $answer, 4096) && $answer =~ m{^HTTP\S* 200} or exit 1;
}
sub note { open my $file, '>', "$dir/$_[0]" or die }
sub await { select undef, undef, undef, 0.02 until -e "$dir/$_[0]" }
my $old = comes();
asks($old), hears($old), note('old');
await('narrow');
my @new = map { comes() } 1 .. 10;
asks($_) for @new;
hears($new[$_]) for 0, 1;
asks($old), hears($old), note('served');
hears($new[$_]) for 2 .. 9;
PERL
perl "$play_dir/crowd.pl" "$play_dir/api0.sock" "$play_dir" &
echo $! >"$play_dir/crowd.pid"
ok 'a client is there'               eventually 5 test -e "$play_dir/old"
ok 'room for two more'               may_open api0 2
: >"$play_dir/narrow"
ok 'it is served, beside the crowd'  eventually 5 test -e "$play_dir/served"
ok 'the API says so'                 eventually 5 grep -q 'event=accept_paused' "$play_dir/api0.log"
ok 'once'                            same "$(grep -c 'event=accept_paused' "$play_dir/api0.log")" 1
ok 'it is at rest'                   cpu_is_idle api0
ok 'room again'                      may_open api0 64
ok 'everybody is served'             wait "$(cat "$play_dir/crowd.pid")"
ok 'it is counted'                   eventually 5 counter_at_least api.accept_paused 1

# No connection to a processor yet, but for those that ask for their health.
ok 'a worker without room'           may_open worker0 0
id=$(new_id)
ok 'accepted'                        post_payment api0 "$id" 19.90
ok 'more of them'                    post_many --count 50 --seed 91
not_settled() {
    summary_has api0 default 0 0.00 && summary_has api0 fallback 0 0.00
}
ok 'none is settled'                 stays 2 not_settled
ok 'it is at rest'                   cpu_is_idle worker0
ok 'room again'                      may_open worker0 64
ok 'settled'                         eventually 15 payment_is api0 "$id" settled
ok 'the books agree'                 books_agree_within 15
ok 'the windows agree'               windows_agree
done_testing
