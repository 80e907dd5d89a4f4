# Send what stands on standard input over one connection and tell what comes back:
# all bytes received, then a line "-- reset", "-- closed" or "-- silent" (nothing
# more within the time limit). Arguments: port, seconds to wait.
use strict;
use warnings;
use Errno qw(ECONNRESET);
use IO::Socket::INET;

my ($port, $seconds) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
    or die "connect: $!\n";
local $SIG{PIPE} = 'IGNORE';
{ local $/; $socket->print(scalar <STDIN>); $socket->flush; }

my $end = time + $seconds;
my $how = 'silent';
while ((my $left = $end - time) > 0) {
    my $bits = '';
    vec($bits, fileno $socket, 1) = 1;
    next unless select $bits, undef, undef, $left;
    my $got = sysread $socket, my $buffer, 65536;
    if (!defined $got) { $how = $! == ECONNRESET ? 'reset' : "error: $!"; last }
    if ($got == 0) { $how = 'closed'; last }
    print $buffer;
}
print "\n-- $how\n";
