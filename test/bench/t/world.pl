# A gateway and both processors in one small process, to hold the public test's program against: what
# it is told to get wrong, the program has to find. Settles everything at once and in memory.
#
#     perl world.pl [WORD...]
#
# Prints "ready GATEWAY_PORT DEFAULT_PORT FALLBACK_PORT"; GET /diary at any of them lists the calls
# that are no payments, a line each: seconds since the gateway's purge, who, method, path, body.
#
# Words: forget=N      every Nth accepted payment is settled nowhere
#        refuse=N      every Nth payment is answered 503
#        wrong=N       the gateway's summaries say N more of the default's payments than there are
#        swap          ... and N fewer of the fallback's
#        fallback=N    every Nth payment goes to the fallback
#        silent        the gateway's summaries are never answered
#        chunked       the processors' answers come in chunks
#        late=MS       the gateway answers a payment after so long
#        token=T       what the processors want (123)
#        stubborn      the processors refuse to change their stage
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

$| = 1;
my %tell = map { my ($k, $v) = split /=/, $_, 2; ($k => $v // 1) } @ARGV;
my @names = qw(gateway default fallback);
my (%who, %server, %in, %settled, @diary, @later);
my ($posts, $began) = (0, time);
my $select = IO::Select->new;
for my $name (@names) {
    my $socket = IO::Socket::INET->new(Listen => 1024, LocalAddr => '127.0.0.1', ReuseAddr => 1)
        or die "listen: $!\n";
    $server{ fileno $socket } = $name;
    $select->add($socket);
    push @{ $tell{ports} }, $socket->sockport;
}
print "ready @{ $tell{ports} }\n";
local $SIG{PIPE} = 'IGNORE';

sub every { my ($n) = @_; return $n && $posts % $n == 0 }

sub settle {
    my ($id) = @_;
    return if every($tell{forget});
    $settled{ every($tell{fallback}) ? 'fallback' : 'default' }{$id} = 1;
    return;
}

sub summary {
    my ($name, $more) = @_;
    my $count = keys(%{ $settled{$name} // {} }) + ($more // 0);
    return sprintf '"totalRequests":%d,"totalAmount":%.2f', $count, $count * 19.90;
}

sub gateway {
    my ($method, $path, $body) = @_;
    if ($path eq '/payments') {
        $posts++;
        return (503, '') if every($tell{refuse});
        settle($body =~ /"correlationId":"([0-9a-f-]{36})","amount":19\.90\}/ ? $1 : die $body);
        return (202, '');
    }
    %settled = (), $began = time, return (200, '') if $path eq '/purge-payments';
    return if $tell{silent};
    my $wrong = $tell{wrong} // 0;
    return (200, sprintf '{"default":{%s},"fallback":{%s}}', summary('default', $wrong),
        summary('fallback', $tell{swap} ? -$wrong : 0));
}

sub processor {
    my ($name, $method, $path, $token) = @_;
    return (401, '') if $token ne ($tell{token} // '123');
    return (200, sprintf '{%s,"totalFee":0,"feePerTransaction":%s}', summary($name),
        $name eq 'default' ? '0.05' : '0.15') if $path =~ m{^/admin/payments-summary};
    return (500, '') if $tell{stubborn} && $path =~ /configurations/;
    return (200, '{"message":"done"}');
}

sub answer {
    my ($client, $name, $method, $path, $token, $body) = @_;
    if ($path eq '/diary') {
        syswrite $client, reply(200, join '', @diary);
        return;
    }
    push @diary, sprintf "%.2f %s %s %s %s\n", time - $began, $name, $method, $path, $body
        if $path ne '/payments';
    my ($status, $text) = $name eq 'gateway'
        ? gateway($method, $path, $body) : processor($name, $method, $path, $token);
    return unless $status;
    my $bytes = reply($status, $text, $tell{chunked} && $name ne 'gateway');
    if ($tell{late} && $path eq '/payments') { push @later, [ time + $tell{late} / 1000, $client, $bytes ] }
    else { syswrite $client, $bytes }
    return;
}

sub reply {
    my ($status, $text, $chunked) = @_;
    return sprintf "HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
        $status, length $text, $text if $chunked && length $text;
    return sprintf "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", $status, length $text, $text;
}

sub hear {
    my ($client) = @_;
    my $fd = fileno $client;
    if (!sysread $client, $in{$fd}, 65536, length $in{$fd}) {
        $select->remove($client);
        delete $in{$fd};
        close $client;
        return;
    }
    while ($in{$fd} =~ /^(\S+) (\S+) HTTP.*?\r\n\r\n/s) {
        my ($method, $path, $head) = ($1, $2, $&);
        my $size = $head =~ /content-length: *(\d+)/i ? $1 : 0;
        last if length $in{$fd} < length($head) + $size;
        my $token = $head =~ /X-Rinha-Token: *(\S+)/i ? $1 : '';
        substr $in{$fd}, 0, length $head, '';
        answer($client, $who{$fd}, $method, $path, $token, substr $in{$fd}, 0, $size, '');
    }
    return;
}

while (1) {
    for my $socket ($select->can_read(@later ? 0.001 : undef)) {
        my $name = $server{ fileno $socket };
        if (!$name) { hear($socket); next }
        my $client = $socket->accept or next;
        $in{ fileno $client } = '';
        $who{ fileno $client } = $name;
        $select->add($client);
    }
    while (@later && $later[0][0] <= time) {
        my (undef, $client, $bytes) = @{ shift @later };
        syswrite $client, $bytes if defined fileno $client;
    }
}
