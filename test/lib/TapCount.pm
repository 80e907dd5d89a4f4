# Runs TAP programs, in one or more rounds, and adds up what they really said.
package TapCount;
use strict;
use warnings;
use TAP::Harness;
use TAP::Parser::Aggregator;

# cmocka 1.1.5 says "not ok N # SKIP", which is a failure to everyone else.
my @CMOCKA = ('bash', '-o', 'pipefail', '-c',
    q("$0" | sed -u 's/^not ok \\([0-9]* # SKIP\\)/ok \\1/'));

sub new {
    my ($class) = @_;
    return bless { passed => 0, failed => 0, broken => [], skipped => [] }, $class;
}

# One round. A program is a path, or [name, command, argument...] to give it a readable name.
sub run {
    my ($self, $jobs, @programs) = @_;
    return unless @programs;
    my %command = map { ref $_ ? ($_->[0] => [ @$_[ 1 .. $#$_ ] ]) : ($_ => [$_]) } @programs;
    my @names = map { ref $_ ? $_->[0] : $_ } @programs;
    local $ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';
    local @ENV{qw(ASAN_OPTIONS TSAN_OPTIONS)} = ('abort_on_error=0', 'halt_on_error=1');
    my $harness = TAP::Harness->new({
        jobs     => $jobs,
        timer    => 1,
        failures => 1,
        exec     => sub { $_[1] =~ m{/unit/} ? [ @CMOCKA, $_[1] ] : $command{ $_[1] } },
    });
    $harness->callback(made_parser => sub { $self->_watch(@_) });
    my $aggregate = TAP::Parser::Aggregator->new;
    $aggregate->start;
    $harness->aggregate_tests($aggregate, map { [ $_, $_ ] } @names);
    $aggregate->stop;
    $self->_add($_, $aggregate->parsers($_)) for @names;
    return;
}

sub _watch {
    my ($self, $parser, $job) = @_;
    my $program = $job->[1];
    $parser->callback(
        test => sub {
            my ($test) = @_;
            return unless $test->has_skip;
            my $what = join ': ', grep { length } $test->description, $test->explanation;
            push @{ $self->{skipped} }, "$program: $what";
        }
    );
    return;
}

sub _add {
    my ($self, $name, $parser) = @_;
    push @{ $self->{skipped} }, "$name: " . $parser->skip_all if $parser->skip_all;
    $self->{passed} += $parser->passed - $parser->skipped;
    $self->{failed} += $parser->failed;
    # Said nothing wrong and yet is not well: a bad exit, a missing or unfinished plan.
    push @{ $self->{broken} }, $name
        if !$parser->failed && ($parser->exit || $parser->wait || $parser->parse_errors);
    return;
}

# Prints the sum; the caller's exit status.
sub report {
    my ($self) = @_;
    my $failed = $self->{failed} + @{ $self->{broken} };
    print "\n";
    print "skipped: $_\n" for @{ $self->{skipped} };
    print "broken (died, or its plan is not kept): $_\n" for @{ $self->{broken} };
    my $skipped = @{ $self->{skipped} };
    print "$self->{passed} passed, $failed failed", ($skipped ? ", $skipped skipped" : ''), "\n";
    return $failed || !$self->{passed} ? 1 : 0;
}

1;
