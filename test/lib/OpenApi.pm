# Judges exchanges by an OpenAPI 3.1 document in JSON, and the document by the exchanges.
#
#   my $api = OpenApi->new($text);     # dies if it is no document that can be judged by
#   $api->judge($exchange);            # as record-http writes them
#   print for $api->findings;          # what was answered and is not documented, ...
#   print for $api->unexercised;       # ... and what is documented and was never answered
#
# Stricter than OpenAPI in one thing: a member that an answer's schema does not name is a finding,
# though clients are told to ignore it. And it goes both ways: each status, content type, header,
# member, type, enum value and boolean value that is documented of an answer must have been seen,
# and each parameter and member of a request body must have been used with success. What was
# refused for its form must not be allowed by the documented schema, or the reference is too wide.
#
# What OpenAPI has no word for is said in extensions, and judged like an operation:
#   x-headers         headers of every answer
#   x-other-methods   of a path: the answer to the methods that it does not have
#   x-other-paths     the answer at any other path
#   x-any-request     what is answered before anybody looked at method and path
package OpenApi;
use strict;
use warnings;
use B;
use JSON::PP;
use Time::Local ();

my @METHODS = qw(get head post put delete options patch trace);

# What is understood of each kind of object. A word that is not here ends the work: a keyword that
# nobody looks at would be a promise that nobody keeps.
my %WORDS = (
    document => [qw(openapi info servers paths components tags x-headers x-other-paths x-any-request)],
    path      => [ @METHODS, qw(summary description parameters x-other-methods) ],
    operation => [qw(operationId summary description tags parameters requestBody responses)],
    response  => [qw(description headers content)],
    header    => [qw(description required schema)],
    parameter => [qw(name in description required schema allowReserved examples)],
    body      => [qw(description required content)],
    media     => [qw(schema examples)],
    schema    => [
        qw($ref type enum const properties required items minItems maxItems pattern minLength
            maxLength minimum maximum exclusiveMinimum multipleOf format title description examples)
    ],
);

sub new {
    my ($class, $text) = @_;
    my $document = JSON::PP->new->utf8->allow_bignum->decode($text);
    my $self = bless { document => $document, findings => [], seen => {}, to_see => {} }, $class;
    ($document->{openapi} // '') =~ /\A3\.1\.\d+\z/ or die "openapi: this is no OpenAPI 3.1\n";
    length($document->{info}{$_} // '') or die "info: no $_\n" for qw(title version);
    $self->_list;
    return $self;
}

sub findings { return @{ $_[0]{findings} } }

sub unexercised {
    my ($self) = @_;
    return map { "never seen: $_" } grep { !$self->{seen}{$_} } sort keys %{ $self->{to_see} };
}

sub _finding { my ($self, $text) = @_; push @{ $self->{findings} }, $text; return }
sub _see     { my ($self, $what) = @_; $self->{seen}{$what} = 1;           return }
sub _expect  { my ($self, $what) = @_; $self->{to_see}{$what} = 1;         return }

# --- the document --------------------------------------------------------------------------------

sub _known {
    my ($kind, $object, $where) = @_;
    ref $object eq 'HASH' or die "$where: this is no object\n";
    for my $word (sort keys %$object) {
        grep { $_ eq $word } @{ $WORDS{$kind} } or die "$where: $word is not understood in a $kind\n";
    }
    return;
}

sub _other_methods {
    my ($self, $path) = @_;
    my $found = $self->{document}{paths}{$path}{'x-other-methods'} // die "$path: no x-other-methods\n";
    return ($self->_resolve($found, $path))[0];
}

# What a $ref points at, and where that is. Of components only: all that is referred to has a name.
sub _resolve {
    my ($self, $object, $where) = @_;
    return ($object, $where) unless ref $object eq 'HASH' && exists $object->{'$ref'};
    my $ref = $object->{'$ref'};
    my ($kind, $name) = $ref =~ m{\A#/components/([\w-]+)/(\w+)\z} or die "$where: $ref is no place\n";
    my $found = $self->{document}{components}{$kind}{$name} // die "$where: there is no $ref\n";
    $self->{used}{"$kind/$name"} = 1;
    return ($found, $name);
}

# The whole document, once: its form, and everything that has to be seen.
sub _list {
    my ($self) = @_;
    my $document = $self->{document};
    _known('document', $document, 'document');
    my %ids;
    for my $path (sort keys %{ $document->{paths} }) {
        my $item = $document->{paths}{$path};
        _known('path', $item, $path);
        for my $method (grep { $item->{$_} } @METHODS) {
            my $id = $item->{$method}{operationId} // die "$path: $method has no operationId\n";
            die "$path: $id is there already\n" if $ids{$id}++;
        }
        $self->_list_operation($item->{$_}, uc($_) . " $path") for grep { $item->{$_} } @METHODS;
        $self->_list_operation($self->_other_methods($path), "other methods of $path");
    }
    $self->_list_operation($document->{'x-other-paths'}, 'other paths');
    $self->_list_operation($document->{'x-any-request'}, 'any request');
    $self->_list_headers($document->{'x-headers'}, 'any answer');
    my %kinds;
    for my $kind (sort keys %{ $document->{components} }) {
        $kinds{$_}++ and die "components: $_ is there twice\n" for keys %{ $document->{components}{$kind} };
        for my $name (sort keys %{ $document->{components}{$kind} }) {
            $self->{used}{"$kind/$name"} or die "components: nobody refers to $kind/$name\n";
        }
    }
    return;
}

sub _list_operation {
    my ($self, $operation, $name) = @_;
    _known('operation', $operation, $name);
    length($operation->{description} // $operation->{summary} // '') or die "$name: says nothing\n";
    my %of_path = map { $_ => 1 } $name =~ /\{(\w+)\}/g;
    for my $parameter ($self->_parameters($operation, $name)) {
        $self->_list_parameter($parameter, $name);
        delete $of_path{ $parameter->{name} } if $parameter->{in} eq 'path';
    }
    die "$name: {$_} is no parameter\n" for $operation->{operationId} ? sort keys %of_path : ();
    if (my $body = $operation->{requestBody}) {
        _known('body', $body, $name);
        $self->_list_content($body->{content}, "body of $name");
    }
    %{ $operation->{responses} // {} } or die "$name: no responses\n";
    for my $status (sort keys %{ $operation->{responses} }) {
        my ($response, $at) = $self->_resolve($operation->{responses}{$status}, "$name $status");
        _known('response', $response, $at);
        length($response->{description} // '') or die "$at: says nothing\n";
        $self->_list_headers($response->{headers} // {}, "$name $status");
        $self->_expect("$name $status $_") for keys %{ $response->{content} // { nothing => 1 } };
        $self->_list_content($response->{content} // {}, $at);
    }
    return;
}

sub _parameters {
    my ($self, $operation, $name) = @_;
    return map { ($self->_resolve($_, $name))[0] } @{ $operation->{parameters} // [] };
}

sub _list_parameter {
    my ($self, $parameter, $name) = @_;
    _known('parameter', $parameter, $name);
    my $at = "$name: $parameter->{name}";
    $parameter->{in} =~ /\A(?:path|query)\z/ or die "$at: in $parameter->{in} is not understood\n";
    $self->_list_schema($parameter->{schema}, "parameter $parameter->{name}");
    $self->_list_examples($parameter, $at);
    $self->_expect("$at is used");
    return;
}

sub _list_headers {
    my ($self, $headers, $name) = @_;
    for my $header (sort keys %$headers) {
        my ($object, $at) = $self->_resolve($headers->{$header}, $name);
        _known('header', $object, $at);
        $self->_list_schema($object->{schema}, "header $header");
        $self->_expect("$name: header $header");
    }
    return;
}

sub _list_content {
    my ($self, $content, $name) = @_;
    for my $type (sort keys %$content) {
        _known('media', $content->{$type}, $name);
        $self->_list_schema($content->{$type}{schema}, "$name");
        $self->_list_examples($content->{$type}, $name);
    }
    return;
}

# The examples of a reference are what people copy.
sub _list_examples {
    my ($self, $object, $name) = @_;
    for my $example (sort keys %{ $object->{examples} // {} }) {
        my @wrong = $self->_violations($object->{schema}, $object->{examples}{$example}{value},
            $name, { closed => 1 });
        die "$name: example $example: $wrong[0]\n" if @wrong;
    }
    return;
}

sub _list_schema {
    my ($self, $schema, $at) = @_;
    _known('schema', $schema, $at);
    if (exists $schema->{'$ref'}) {
        my ($found, $name) = $self->_resolve($schema, $at);
        $self->_list_schema($found, $name) unless $self->{listed}{$name}++;
    }
    my @types = _types($schema);
    $self->_expect("$at is $_") for @types > 1 ? @types : ();
    $self->_expect("$at is $_") for map { ("@types" eq 'boolean' ? qw(true false) : ()) } 1;
    $self->_expect(qq($at is "$_")) for @{ $schema->{enum} // [] };
    for my $member (sort keys %{ $schema->{properties} // {} }) {
        $self->_expect("$at.$member");
        $self->_list_schema($schema->{properties}{$member}, "$at.$member");
    }
    $self->_list_schema($schema->{items}, "$at\[]") if $schema->{items};
    return;
}

# --- one exchange --------------------------------------------------------------------------------

sub judge {
    my ($self, $exchange) = @_;
    my $answer = $exchange->{answer};
    my $what   = join ' ', map { $_ // '(raw)' } @$exchange{qw(method target)};
    my ($path, $item, %in_path) = $self->_find_path($exchange->{target});
    my ($name, $operation)      = $self->_find_operation($exchange, $path, $item);
    ($name, my $response) =
        $self->_find_response($what, $answer, [ $name, $operation ],
            [ 'any request', $self->{document}{'x-any-request'} ]);
    return unless $response;
    my @wrong = (
        $self->_judge_headers($answer, $response, "$name $answer->{status}"),
        $self->_judge_body($exchange, $response, "$name $answer->{status}"),
    );
    push @wrong, _judge_allow($answer, $item) if $answer->{status} == 405;
    push @wrong, $self->_judge_request($exchange, $operation, $name, \%in_path)
        if $name ne 'any request' && $operation->{operationId};
    $self->_finding("$what: $answer->{status}: $_") for @wrong;
    return;
}

# A path without a parameter goes before one with it.
sub _find_path {
    my ($self, $target) = @_;
    my $paths = $self->{document}{paths};
    my $bare = ($target // '') =~ s/\?.*//sr;
    return ($bare, $paths->{$bare}) if $paths->{$bare};
    for my $path (sort grep { /\{/ } keys %$paths) {
        my @names   = $path =~ /\{(\w+)\}/g;
        my $pattern = quotemeta($path) =~ s/\\\{\w+\\\}/([^\/]+)/gr;
        my @values  = $bare =~ /\A$pattern\z/ or next;
        my %in_path;
        @in_path{@names} = @values;
        return ($path, $paths->{$path}, %in_path);
    }
    return ($bare, undef);
}

sub _find_operation {
    my ($self, $exchange, $path, $item) = @_;
    return ('any request', $self->{document}{'x-any-request'}) unless defined $exchange->{method};
    return ('other paths', $self->{document}{'x-other-paths'}) unless $item;
    my $operation = $item->{ lc $exchange->{method} };
    return ("$exchange->{method} $path", $operation) if $operation;
    return ("other methods of $path", $self->_other_methods($path));
}

sub _header {
    my ($answer, $name) = @_;
    return map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $answer->{headers} };
}

sub _media_type {
    my ($answer) = @_;
    my ($type) = _header($answer, 'content-type');
    return defined $type ? lc $type =~ s/\s*;.*//sr : 'nothing';
}

sub _find_response {
    my ($self, $what, $answer, @places) = @_;
    my $type = _media_type($answer);
    for my $place (@places) {
        my ($name, $operation) = @$place;
        my $found = $operation->{responses}{ $answer->{status} } // next;
        my ($response) = $self->_resolve($found, $name);
        next unless exists(($response->{content} // { nothing => 1 })->{$type});
        $self->_see("$name $answer->{status} $type");
        return ($name, $response);
    }
    $self->_finding("$what: $answer->{status} with $type is not documented");
    return;
}

sub _judge_headers {
    my ($self, $answer, $response, $name) = @_;
    my %places = ('any answer' => $self->{document}{'x-headers'}, $name => $response->{headers} // {});
    my (%documented, @wrong);
    for my $place (sort keys %places) {
        for my $header (sort keys %{ $places{$place} }) {
            my ($object) = $self->_resolve($places{$place}{$header}, $place);
            $documented{ lc $header } = 1;
            my @values = _header($answer, $header);
            push @wrong, "no header $header" if !@values && $object->{required};
            push @wrong, "header $header twice" if @values > 1;
            for my $value (@values) {
                $self->_see("$place: header $header");
                push @wrong, $self->_judge_text($object->{schema}, $value, "header $header");
            }
        }
    }
    for my $header (map { $_->[0] } @{ $answer->{headers} }) {
        push @wrong, "header $header is not documented"
            unless $documented{ lc $header } || lc $header eq 'content-type';
    }
    return @wrong;
}

# A text from outside JSON by the schema of what it stands for.
sub _judge_text {
    my ($self, $schema, $text, $at) = @_;
    my $is_number = grep { $_ eq 'integer' } _types($schema);
    my $value = $is_number && $text =~ /\A-?\d+\z/ ? $text + 0 : $text;
    return $self->_violations($schema, $value, $at, { see => 1 });
}

sub _judge_body {
    my ($self, $exchange, $response, $name) = @_;
    my $answer = $exchange->{answer};
    my ($length) = _header($answer, 'content-length');
    if (($exchange->{method} // '') eq 'HEAD') {
        return length $answer->{body} ? ('HEAD got a body') : ();
    }
    my @wrong;
    push @wrong, "Content-Length is $length, the body has " . length $answer->{body}
        if defined $length && $length != length $answer->{body};
    my $type = _media_type($answer);
    return (@wrong, length $answer->{body} ? ('a body without a type') : ()) if $type eq 'nothing';
    my ($value, $why) = ($answer->{body});
    if ($type eq 'application/json') {
        ($value, $why) = _decode($answer->{body});
        return (@wrong, "the body is no JSON: $why") if defined $why;
    }
    my (undef, $at) = $self->_resolve($self->_response_node($exchange, $name), $name);
    return (@wrong,
        $self->_violations($response->{content}{$type}{schema}, $value, $at, { see => 1, closed => 1 }));
}

# As the document has it, with its $ref: that names it.
sub _response_node {
    my ($self, $exchange, $name) = @_;
    my ($of, $status) = $name =~ /\A(.*) (\d+)\z/;
    my $document = $self->{document};
    return $document->{'x-any-request'}{responses}{$status} if $of eq 'any request';
    return $document->{'x-other-paths'}{responses}{$status} if $of eq 'other paths';
    my $path = $of =~ s/\A(?:other methods of|[A-Z]+) //r;
    return $self->_other_methods($path)->{responses}{$status} if $of =~ /\Aother/;
    return $document->{paths}{$path}{ lc $exchange->{method} }{responses}{$status};
}

sub _judge_allow {
    my ($answer, $item) = @_;
    my $said       = join ', ', sort map { split /\s*,\s*/ } _header($answer, 'allow');
    my $documented = join ', ', sort map { uc } grep { $item->{$_} } @METHODS;
    return $said eq $documented ? () : ("Allow says $said, documented are $documented");
}

# --- what was asked ------------------------------------------------------------------------------

# A 400 that names a field must be for something that the schema does not allow; all other answers
# are for something that it does.
sub _judge_request {
    my ($self, $exchange, $operation, $name, $in_path) = @_;
    my $answer = $exchange->{answer};
    my ($said) = $exchange->{method} eq 'HEAD' ? () : _decode($answer->{body});
    my $field = $answer->{status} == 400 && ref $said eq 'HASH' ? $said->{field} : undef;
    return if $answer->{status} == 400 && !defined $field;
    my (undef, $query) = split /\?/, $exchange->{target}, 2;
    my @wrong;
    for my $parameter ($self->_parameters($operation, $name)) {
        my @values = $parameter->{in} eq 'path' ? $in_path->{ $parameter->{name} }
            : _in_query($query // '', $parameter->{name});
        next unless @values == 1 && defined $values[0];
        push @wrong, $self->_judge_given($parameter->{schema}, $values[0],
            "parameter $parameter->{name}", ($field // '') eq $parameter->{name});
        $self->_see("$name: $parameter->{name} is used") if $answer->{status} == 200;
    }
    if (my $body = $operation->{requestBody}) {
        my ($value, $why) = _decode($exchange->{body} // '');
        my $schema = $body->{content}{'application/json'}{schema};
        # What is wrong with the body as a whole may be what no schema can say.
        push @wrong, $self->_judge_given($schema, $value, "body of $name", defined $field)
            if !defined $why && ($field // '') ne 'body';
        push @wrong, 'what is no JSON was taken' if defined $why && !defined $field;
    }
    return @wrong;
}

sub _judge_given {
    my ($self, $schema, $value, $at, $was_refused) = @_;
    my @wrong = $self->_violations($schema, $value, $at, { see => !$was_refused });
    return @wrong ? () : ("$at was refused, but its schema allows it") if $was_refused;
    return map { "was taken, but $_" } @wrong;
}

# The decoded values; undef for one that cannot be decoded.
sub _in_query {
    my ($query, $name) = @_;
    my @values;
    for my $pair (split /&/, $query) {
        my ($key, $value) = split /=/, $pair, 2;
        next unless ($key // '') eq $name;
        $value //= '';
        push @values, $value =~ /%(?![0-9A-Fa-f]{2})/ ? undef
            : $value =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger;
    }
    return @values;
}

# --- schemas -------------------------------------------------------------------------------------

# (value), or (undef, why not). Numbers that a double cannot hold keep their digits.
sub _decode {
    my ($text) = @_;
    my $value = eval { JSON::PP->new->utf8->allow_nonref->allow_bignum->decode($text) };
    return $@ ? (undef, $@ =~ s/ at \S+ line .*//sr) : ($value);
}

sub _types {
    my ($schema) = @_;
    my $type = $schema->{type} // return;
    return ref $type ? @$type : $type;
}

# Before anything prints it: perl may take a number that was printed for a string.
sub _type_of {
    my ($value) = @_;
    return 'null' unless defined $value;
    return { HASH => 'object', ARRAY => 'array', 'JSON::PP::Boolean' => 'boolean' }->{ ref $value }
        // ($value->is_int ? 'integer' : 'number')
        if ref $value;
    my $flags = B::svref_2object(\$value)->FLAGS;
    return 'string' if $flags & B::SVf_POK || !($flags & (B::SVf_IOK | B::SVf_NOK));
    return $value == int $value ? 'integer' : 'number';
}

# What is wrong with a value: a list of texts. $how->{see}: note what of the schema was met.
# $how->{closed}: members that are not documented are wrong.
sub _violations {
    my ($self, $schema, $value, $at, $how) = @_;
    my $type = _type_of($value);
    my @wrong;
    if (exists $schema->{'$ref'}) {
        my ($found, $name) = $self->_resolve($schema, $at);
        push @wrong, $self->_violations($found, $value, $name, $how);
    }
    my @types = _types($schema);
    return (@wrong, "$at is $type, not @types")
        if @types && !grep { $_ eq $type || $_ eq 'number' && $type eq 'integer' } @types;
    push @wrong, _wrong_value($schema, $value, $type, $at);
    if ($how->{see}) {
        $self->_see("$at is $type");
        $self->_see("$at is " . ($value ? 'true' : 'false')) if $type eq 'boolean';
        $self->_see(qq($at is "$value")) if $schema->{enum};
    }
    push @wrong, $self->_wrong_members($schema, $value, $at, $how) if $type eq 'object';
    push @wrong, $self->_wrong_items($schema, $value, $at, $how)   if $type eq 'array';
    return @wrong;
}

sub _wrong_members {
    my ($self, $schema, $value, $at, $how) = @_;
    my $properties = $schema->{properties} // {};
    my @wrong = map { "$at has no $_" } grep { !exists $value->{$_} } @{ $schema->{required} // [] };
    for my $member (sort keys %$value) {
        if ($properties->{$member}) {
            $self->_see("$at.$member") if $how->{see};
            push @wrong, $self->_violations($properties->{$member}, $value->{$member}, "$at.$member", $how);
        } elsif ($how->{closed} && !exists $schema->{'$ref'}) {
            push @wrong, "$at.$member is not documented";
        }
    }
    return @wrong;
}

sub _wrong_items {
    my ($self, $schema, $value, $at, $how) = @_;
    my @wrong;
    push @wrong, "$at has fewer than $schema->{minItems} items" if @$value < ($schema->{minItems} // 0);
    push @wrong, "$at has more than $schema->{maxItems} items"
        if @$value > ($schema->{maxItems} // @$value);
    push @wrong, map { $self->_violations($schema->{items}, $_, "$at\[]", $how) } @$value
        if $schema->{items};
    return @wrong;
}

sub _wrong_value {
    my ($schema, $value, $type, $at) = @_;
    my @wrong;
    push @wrong, qq($at is "$value", none of @{ $schema->{enum} })
        if $schema->{enum} && !grep { $_ eq ($value // '') } @{ $schema->{enum} };
    push @wrong, qq($at is "$value", not $schema->{const})
        if exists $schema->{const} && $schema->{const} ne ($value // '');
    push @wrong, _wrong_text($schema, $value, $at)   if $type eq 'string';
    push @wrong, _wrong_number($schema, $value, $at) if $type eq 'integer' || $type eq 'number';
    return @wrong;
}

my %FORMATS = (
    'uuid'      => sub { $_[0] =~ /\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/i },
    'date-time' => \&_is_date_time,
    'int32'     => sub { 1 },
    'int64'     => sub { 1 },
);

sub _wrong_text {
    my ($schema, $value, $at) = @_;
    my @wrong;
    push @wrong, qq($at is "$value", not like $schema->{pattern})
        if defined $schema->{pattern} && $value !~ /$schema->{pattern}/;
    push @wrong, "$at is too short" if length $value < ($schema->{minLength} // 0);
    push @wrong, "$at is too long"  if length $value > ($schema->{maxLength} // length $value);
    if (my $format = $schema->{format}) {
        my $check = $FORMATS{$format} // die "$at: format $format is not understood\n";
        push @wrong, qq($at is "$value", no $format) unless $check->($value);
    }
    return @wrong;
}

sub _wrong_number {
    my ($schema, $value, $at) = @_;
    my @wrong;
    push @wrong, "$at is $value, below $schema->{minimum}"
        if defined $schema->{minimum} && $value < $schema->{minimum};
    push @wrong, "$at is $value, not above $schema->{exclusiveMinimum}"
        if defined $schema->{exclusiveMinimum} && $value <= $schema->{exclusiveMinimum};
    push @wrong, "$at is $value, above $schema->{maximum}"
        if defined $schema->{maximum} && $value > $schema->{maximum};
    push @wrong, "$at is $value, no multiple of $schema->{multipleOf}"
        if defined $schema->{multipleOf}
        && !(Math::BigFloat->new("$value") / Math::BigFloat->new("$schema->{multipleOf}"))->is_int;
    return @wrong;
}

# RFC 3339, with days that exist and without leap seconds.
sub _is_date_time {
    my ($text) = @_;
    my ($year, $month, $day, $hour, $minute, $second, $zone) = $text =~
        /\A(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-]\d\d:\d\d))\z/ or return 0;
    return 0 if $year == 0 || defined $zone && $zone !~ /\A[+-](?:[01]\d|2[0-3]):[0-5]\d\z/;
    return defined eval {
        Time::Local::timegm_modern($second, $minute, $hour, $day, $month - 1, $year);
    };
}

1;
