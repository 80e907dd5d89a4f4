# What all stages share: of the cluster plays, of the deliveries and of the benchmarks.

now_ms() {
    date +%s%3N
}

# eventually SECONDS COMMAND...: try until it is true.
eventually() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# Ports that nobody listens on, below those that the kernel gives to clients: a client could take
# one before its server does, and one that connects to a port where nobody listens could even be
# given that very port and be connected to itself.
free_ports() {
    perl -MIO::Socket::INET -e '
        my %free;
        while (keys %free < $ARGV[0]) {
            my $port = 10000 + int rand 20000;
            $free{$port} ||= IO::Socket::INET->new(Listen => 1, ReuseAddr => 1,
                LocalAddr => "0.0.0.0", LocalPort => $port) or delete $free{$port};
        }
        print "@{[ keys %free ]}\n"' "$1"
}
