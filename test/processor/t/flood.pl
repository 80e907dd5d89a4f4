# Send so many POST /payments at the same time, each over its own connection,
# and count the answers: one line "status count" each, by status.
# Arguments: port, how many, a number of 4 hexadecimal digits for the ids.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($port, $count, $series) = @ARGV;
my $select = IO::Select->new;
for my $n (1 .. $count) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
        or die "connect $n: $!\n";
    my $body = sprintf '{"correlationId":"%s0000-0000-4000-8000-%012x","amount":1.00,'
        . '"requestedAt":"2025-07-15T12:34:56.789Z"}', $series, $n;
    $socket->print("POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");
    $socket->flush;
    $select->add($socket);
}
my %answers;
while ($select->count) {
    my @ready = $select->can_read(15) or last;
    for my $socket (@ready) {
        my $got = sysread $socket, my $answer, 4096;
        my ($status) = ($got ? $answer : '') =~ m{^HTTP/1\.1 (\d+)};
        $answers{$status // 'none'}++;
        $select->remove($socket);
    }
}
$answers{silent} = $select->count if $select->count;
print "$_ $answers{$_}\n" for sort keys %answers;
