#!/bin/sh
description='Requests that come all at once, so that an API finds them in one turn of its loop and serves
payments together: each has the answer that is its own, also beside bad ones, copies and questions, and
who has hung up meanwhile harms nobody.'
. test/lib/cluster.sh

cluster_start --apis 1 --workers 1
known=$(new_id)
ok 'one payment is there already'   post_payment api0 "$known" 19.90
ok 'and settled'                    eventually 5 counter_is unsettled 0

# Sixty clients have connected and been answered once, then all of them ask while the API stands
# still; then it goes on. Prints a client's kind and what it was answered, a line each; what was
# posted goes to the posters' lines.
kill_process api0 STOP
eventually 5 stands_still api0
perl -MIO::Socket::UNIX -e '
    my ($path, $pid, $posted_file, $known) = @ARGV;
    $SIG{PIPE} = "IGNORE";
    $SIG{ALRM} = sub { die "no end of it\n" };
    alarm 20;
    open my $random, "<", "/proc/sys/kernel/random/uuid" or die;
    sub new_id { seek $random, 0, 0; my $id = <$random>; chomp $id; return $id }
    sub post {
        my $body = shift;
        return "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    }
    sub payment { return post(qq({"correlationId":"$_[0]","amount":$_[1]})) }
    my %text_of = (
        new    => sub { payment($_[0]{id} = new_id(), $_[0]{amount} = "7.05") },
        copy   => sub { payment($_[0]{id} = $known, $_[0]{amount} = "19.90") },
        other  => sub { payment($known, "19.91") },
        bad    => sub { post(qq({"correlationId":"$known"})) },
        asks   => sub { "GET /payments-summary HTTP/1.1\r\nHost: x\r\n\r\n" },
        seeks  => sub { "GET /payments/$known HTTP/1.1\r\nHost: x\r\n\r\n" },
        two    => sub { payment($_[0]{id} = new_id(), $_[0]{amount} = "3.10") . payment($known, "19.91") },
        leaves => sub { payment($_[0]{id} = new_id(), $_[0]{amount} = "0.01") },
    );
    my @kinds = ((("new") x 4, "copy", "other", "bad", "asks", "seeks", "two", "leaves", "leaves") x 5);
    my @clients = map { { kind => $_ } } @kinds;
    for (@clients) {
        $_->{text}   = $text_of{ $_->{kind} }->($_);
        $_->{socket} = IO::Socket::UNIX->new(Peer => $path) || die "$path: $!";
    }
    my $answers = sub { # CLIENT N: their statuses
        my ($client, $n) = @_;
        my ($all, @statuses) = ("");
        while (@statuses < $n) {
            sysread($client->{socket}, $all, 4096, length $all) or push @statuses, "closed" and last;
            while ($all =~ /^HTTP\/1\.1 (\d+) .*?\r\n\r\n/s) {
                my ($status, $head) = ($1, $&);
                my $size = length($head) + ($head =~ /^content-length: (\d+)/im ? $1 : 0);
                last if length $all < $size;
                push @statuses, $status;
                substr $all, 0, $size, "";
            }
        }
        return join " ", @statuses;
    };
    my $everybody = sub { syswrite $_->{socket}, $_[0] // $_->{text} for @clients };
    kill "CONT", $pid;
    $everybody->("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    $answers->($_, 1) eq "200" or die "not connected" for @clients;
    kill "STOP", $pid;
    select undef, undef, undef, 0.01 until `cat /proc/$pid/stat` =~ /\) T /;
    $everybody->();
    close $_->{socket} for grep { $_->{kind} eq "leaves" } @clients;
    kill "CONT", $pid;
    open my $posted, ">>", $posted_file or die;
    for (@clients) {
        my $status = $_->{kind} eq "leaves" ? "lost" : $answers->($_, $_->{kind} eq "two" ? 2 : 1);
        print "$_->{kind} $status\n";
        print $posted "$_->{id}\t$_->{amount}\t", $status =~ s/ .*//r, "\n" if $_->{id};
    }
' "$play_dir/api0.sock" "$(cat "$play_dir/api0.pid")" "$play_dir/posted" "$known" >"$play_dir/answers"
kill_process api0 CONT

is 'each has its own answer' "$(sort "$play_dir/answers" | uniq -c | sed 's/^ *//')" '5 asks 200
5 bad 400
5 copy 202
10 leaves lost
20 new 202
5 other 409
5 seeks 200
5 two 202 409'
ok 'the books agree'                books_agree_within 10
ok 'and random windows'             windows_agree
done_testing
