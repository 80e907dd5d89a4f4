# What compare-books and audit-windows share: amounts as exact cents, and a small HTTP client.
package Books;
use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
our @EXPORT_OK = qw(cents_of http_get read_table);

# A JSON number's text as cents, rounded half to even, by digits alone. undef if it is no number.
# Amounts here stay below 2^53 cents, so that Perl's arithmetic is exact.
sub cents_of {
    my ($text) = @_;
    my ($sign, $whole, $fraction, $exponent) =
        $text =~ /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/
        or return undef;
    $fraction //= '';
    my $digits = $whole . $fraction;
    # The point lies two digits further right: cents.
    my $point = length($whole) + ($exponent // 0) + 2;
    $digits =~ s{^(0*)}{} and $point -= length $1;
    return undef if $point > 18;
    if ($point < 0) { $digits = ('0' x -$point) . $digits; $point = 0 }
    $digits .= '0' x ($point - length $digits) if $point > length $digits;
    my $cents = $point ? substr($digits, 0, $point) : 0;
    my $rest  = substr $digits, $point;
    my $half  = $rest =~ /^5(0*)$/;
    $cents += 1 if ($half && $cents % 2) || (!$half && $rest =~ /^[5-9]/);
    return $sign ? -$cents : $cents + 0;
}

# Lines of TAB-separated fields; "-" reads standard input's file as given. An array of arrays.
sub read_table {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    my @rows;
    while (my $line = <$in>) {
        chomp $line;
        push @rows, [ split /\t/, $line, -1 ] if length $line;
    }
    close $in;
    return \@rows;
}

# GET path from "unix:/path" or "host:port" within the time. (status, body); (0, reason) if there
# was no whole answer.
sub http_get {
    my ($target, $path, $seconds, %headers) = @_;
    # Whoever is killed while we write to him, or answers at the last moment, must not end us.
    local @SIG{qw(PIPE ALRM)} = ('IGNORE') x 2;
    my @answer = eval {
        local $SIG{ALRM} = sub { die "no answer within $seconds s\n" };
        alarm $seconds;
        my $socket =
            $target =~ /^unix:(.+)/
            ? IO::Socket::UNIX->new(Peer => $1)
            : IO::Socket::INET->new(PeerAddr => $target);
        die "connect: $!\n" unless $socket;
        # 1.0: the end of the stream ends the body, nothing is chunked.
        my $request = "GET $path HTTP/1.0\r\nHost: payring\r\n";
        $request .= "$_: $headers{$_}\r\n" for sort keys %headers;
        print {$socket} "$request\r\n" or die "send: $!\n";
        local $/;
        my $reply = <$socket> // '';
        alarm 0;
        $reply =~ m{^HTTP/1\.\d (\d+)[^\n]*\r\n(.*?)\r\n\r\n(.*)$}s or die "short reply\n";
        my ($status, $head, $body) = ($1, $2, $3);
        die "short body\n" if $head =~ /^content-length:\s*(\d+)/mi && length($body) < $1;
        ($status, $body);
    };
    alarm 0;
    return @answer ? @answer : (0, $@ =~ s/\n.*//sr);
}

1;
