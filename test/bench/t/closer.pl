#!/usr/bin/perl
# A server of one connection at a time that ends each in another way, in turn: with an answer that
# says so, some time after an answer that does not, and under the request.
#
#   closer.pl SOCKET      says "ready" when it listens
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path) = @ARGV;
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "$path: $!\n";
$| = 1;
print "ready\n";
my @ways = qw(tell later cut);
while (my $client = $listener->accept) {
    my $way = shift @ways;
    push @ways, $way;
    my $heard = '';
    until ($heard =~ /\r\n\r\n.*\}/s) { sysread $client, $heard, 4096, length $heard or last }
    my $header = $way eq 'tell' ? "Connection: close\r\n" : '';
    syswrite $client, "HTTP/1.1 202 Accepted\r\n${header}Content-Length: 0\r\n\r\n" if $way ne 'cut';
    select undef, undef, undef, 0.005 if $way eq 'later';    # before the next request is due
    close $client;
}
