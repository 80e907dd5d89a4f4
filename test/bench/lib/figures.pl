#!/usr/bin/perl
# figures.pl NAME [--ratio NAME=PATH/PATH]... [--bar BAR]... [--setting NAME=VALUE]... <ROUNDS
#
# What a benchmark says in the end. ROUNDS is a JSON object a line, one for each round, all of one
# shape; a PATH leads to a number in it: gateway.cpu_us. Printed is one line of JSON: of every number
# the median of the rounds and its lowest and highest, the ratios (made within each round, then
# likewise), the bars and whether they are met, the machine, the date and the commit. What lies below
# "notes" in a round is kept in the rounds alone.
#
# A BAR is NAME<=NUMBER or NAME>=NUMBER: the median of a ratio or of a PATH; with "every " before it,
# each round's. A table for people goes to standard error.
#
# Status 0: every bar is met; 1: one is not; 2: there are no figures.
use strict;
use warnings;
use JSON::PP;
use POSIX qw(strftime uname);

my $json = JSON::PP->new->canonical->allow_nonref;
my (%settings, @ratios, @bars);
my $name = shift // give_up('whose figures?');

sub give_up { print STDERR 'figures: ', @_, "\n"; exit 2 }

while (@ARGV) {
    my ($option, $value) = splice @ARGV, 0, 2;
    give_up("$option: of what?") if !defined $value;
    if ($option eq '--ratio' && $value =~ m{^([\w.-]+)=([\w.-]+)/([\w.-]+)$}) {
        push @ratios, { name => $1, of => $2, to => $3 };
    } elsif ($option eq '--bar' && $value =~ /^(every )?([\w.-]+)(<=|>=)([\d.]+)$/) {
        push @bars, { every => $1, name => $2, way => $3, bar => $4 + 0 };
    } elsif ($option eq '--setting' && $value =~ /^(\w+)=(.*)$/s) {
        my ($key, $text) = ($1, $2);
        $settings{$key} = $text =~ /^-?\d+(\.\d+)?$/ ? $text + 0 : $text;
    } else {
        give_up("$option $value: what is that?");
    }
}

# Every number in a round by its path. Texts and lists are no figures.
sub flatten {
    my ($value, $path, $into) = @_;
    if (ref $value eq 'HASH') {
        for my $key (keys %$value) {
            flatten($value->{$key}, $path eq '' ? $key : "$path.$key", $into) if $key ne 'notes';
        }
    } elsif (!ref $value && defined $value && $value =~ /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/) {
        $into->{$path} = $value + 0;
    }
    return $into;
}

sub rounded { my ($x) = @_; return sprintf('%.5g', $x) + 0 if abs $x < 10000; return sprintf('%.0f', $x) + 0 }

sub spread {
    my @v = sort { $a <=> $b } @_;
    my $median = @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
    return { median => rounded($median), min => rounded($v[0]), max => rounded($v[-1]) };
}

# --- the rounds -----------------------------------------------------------------------------
my @rounds;
while (my $line = <STDIN>) {
    my $round = eval { decode_json($line) } or give_up("round " . (@rounds + 1) . " is no JSON: $line");
    push @rounds, flatten($round, '', {});
}
give_up('there is no round') if !@rounds;

my (%values, %is_ratio);
for my $n (0 .. $#rounds) {
    my $round = $rounds[$n];
    for my $ratio (@ratios) {
        my ($of, $to) = map { $round->{ $ratio->{$_} } // give_up("round ", $n + 1, " has no $ratio->{$_}") } qw(of to);
        give_up("round ", $n + 1, ": $ratio->{to} is 0") if $to == 0;
        $round->{ $ratio->{name} } = $of / $to;
        $is_ratio{ $ratio->{name} } = 1;
    }
    push @{ $values{$_} }, $round->{$_} for keys %$round;
}
for my $path (keys %values) {
    give_up("$path is not in every round") if @{ $values{$path} } != @rounds;
}
my %spreads = map { $_ => spread(@{ $values{$_} }) } keys %values;

sub meets { my ($bar, $value) = @_; return $bar->{way} eq '<=' ? $value <= $bar->{bar} : $value >= $bar->{bar} }

my $all_met = 1;
my @judged = map {
    my $bar = $_;
    my $spread = $spreads{ $bar->{name} } // give_up("there is no $bar->{name} to hold against a bar");
    my $is = $bar->{every} ? $spread->{ $bar->{way} eq '<=' ? 'max' : 'min' } : $spread->{median};
    my $met = meets($bar, $is);
    $all_met &&= $met;
    { of => $bar->{name}, must_be => $bar->{way}, bar => $bar->{bar}, is => $is,
        in => $bar->{every} ? 'every round' : 'the median', met => $met ? JSON::PP::true : JSON::PP::false };
} @bars;

# --- where and of what ----------------------------------------------------------------------
sub first_line { my ($command) = @_; my $line = qx($command 2>/dev/null) // ''; $line =~ s/\n.*//s; return $line }

sub machine {
    my ($model) = do { open my $in, '<', '/proc/cpuinfo' or give_up("/proc/cpuinfo: $!"); map { /^model name\s*: (.*)/ ? $1 : () } <$in> };
    return { cpus => first_line('nproc') + 0, model => $model // 'unknown', kernel => (uname)[2] };
}

# Changes to what is not tracked are not of the commit, and do not count.
sub commit {
    my $commit = first_line('git rev-parse --short=12 HEAD') || 'unknown';
    return first_line('git status --porcelain --untracked-files=no') eq '' ? $commit : "$commit and changes";
}

# By hand, for the order that people read it in.
my @line = (
    [ benchmark => $name ], [ rounds => scalar @rounds ], [ commit => commit() ],
    [ date => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime) ], [ machine => machine() ],
    %settings ? [ settings => \%settings ] : (),
    [ figures => { map { $_ => $spreads{$_} } grep { !$is_ratio{$_} } keys %spreads } ],
    [ ratios => { map { $_ => $spreads{$_} } grep { $is_ratio{$_} } keys %spreads } ],
    [ bars => \@judged ], [ met => $all_met ? JSON::PP::true : JSON::PP::false ]);
print '{', join(',', map { $json->encode($_->[0]) . ':' . $json->encode($_->[1]) } @line), "}\n";

my %bar_of = map { $_->{of} => $_ } @judged;
printf STDERR "%-44s %12s %12s %12s\n", "$name, " . @rounds . ' rounds', 'median', 'lowest', 'highest';
for my $path (sort { ($is_ratio{$a} // 0) <=> ($is_ratio{$b} // 0) || $a cmp $b } keys %spreads) {
    my $bar = $bar_of{$path};
    printf STDERR "%-44s %12s %12s %12s%s\n", $path, @{ $spreads{$path} }{qw(median min max)},
        $bar ? "  $bar->{must_be} $bar->{bar} " . ($bar->{met} ? 'met' : 'MISSED') : '';
}
exit($all_met ? 0 : 1);
