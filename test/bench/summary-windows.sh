#!/bin/bash
# What a summary costs: random windows over a thousand, a hundred thousand, ten million and a hundred
# million settled rows, in the library's call and as GET /payments-summary on an API's unix socket;
# while nothing happens, and while 20,000 rows a second are appended.
#
#   ROUNDS=5 WINDOWS=2000 test/bench/summary-windows.sh
#   SIZES="1000 100000000"   only these
#
# The head of test/bench/summary/summary_main.c tells how the rows are made (settled at 1,000 a second
# of row time, some of them late) and verified. All sizes are there at once, each a region with an API
# of its own, and take turns within a round, once in this order and once in the other: on a quiet host whoever
# was asked first answered in 35 us and the next in 46, whatever their rows. 1.3 GB of memory are wanted. With
# two processors and more who asks has the first and the APIs the second: on one, or now on one and now on two,
# the same request takes from 25 to 90 us, whatever is asked for.
. "$(dirname "$0")/lib/stage.sh"

sizes=${SIZES:-1000 100000 10000000 100000000}
windows=${WINDOWS:-2000}
declare -A words_to=() answers_of=()

serve() { # ROWS
    mkfifo "$dir/words.$1" "$dir/answers.$1" || give_up 'no FIFO'
    exec {words_to[$1]}<>"$dir/words.$1" {answers_of[$1]}<>"$dir/answers.$1"
    # shellcheck disable=SC2016
    start "rows$1" "${on_one[@]}" env PAYRING_REGION="$PAYRING_REGION.$1" words="$dir/words.$1" answers="$dir/answers.$1" \
        sh -c 'exec "$@" <"$words" >"$answers"' sh \
        "$build/bench-summary" --serve --rows "$1" --windows "$windows" --appending 20000
}

# ask ROWS WORD...: its answer in $answer.
ask() {
    local rows=$1
    shift
    echo "$*" >&"${words_to[$rows]}"
    read -r -t 60 answer <&"${answers_of[$rows]}" || give_up "$rows rows, $*: $(tail -n 3 "$dir/rows$rows.log")"
}

begin() {
    local rows line
    for rows in $sizes; do serve "$rows"; done
    for rows in $sizes; do
        read -r -t 150 line <&"${answers_of[$rows]}" && [ "$line" = ready ] ||
            give_up "$rows rows: $line $(tail -n 3 "$dir/rows$rows.log")"
        start "api$rows" "${on_other[@]}" env PAYRING_REGION="$PAYRING_REGION.$rows" PAYRING_API_SOCKET="$dir/api$rows.sock" \
            "$build/payring-api"
        ready "api$rows" answers 200 --unix-socket "$dir/api$rows.sock" http://payring/payments-summary
    done
}

both() { # ROWS: in the call, then over HTTP
    local library
    ask "$1" library
    library=$answer
    ask "$1" "http $dir/api$1.sock"
    result="{\"library\":$library,\"http\":$answer}"
}

turn() { # ROWS...
    local rows line='' still
    for rows; do
        both "$rows"
        still=$result
        ask "$rows" append
        both "$rows"
        ask "$rows" still
        line="$line,\"rows$rows\":{\"still\":$still,\"appending\":${result%\}},\"rate\":$answer}}"
    done
    echo "{${line#,}}"
}

# Whoever is asked first is asked last as well. The mean of both is told; of what was appended, the less.
round() {
    # shellcheck disable=SC2046,SC2086
    { turn $sizes && turn $(tac -s ' ' <<<"$sizes "); } |
        perl -MJSON::PP -e '
            sub both { my ($one, $other, $name) = @_;
                return { map { $_ => both($one->{$_}, $other->{$_}, $_) } keys %$one } if ref $one;
                return $name eq "appended_per_s" ? ($one < $other ? $one : $other) : ($one + $other) / 2 }
            my @turns = <>;
            @turns == 2 or exit 1;
            print encode_json(both(map { decode_json($_) } @turns)), "\n"'
}

begin
play_rounds round
least=$(echo "$sizes" | awk '{ print $1 }') most=$(echo "$sizes" | awk '{ print $NF }')
arguments=()
for way in still appending; do
    for rows in $sizes; do
        [ "$rows" = "$least" ] ||
            arguments+=(--ratio "http.$way.rows$rows=rows$rows.$way.http.median_us/rows$least.$way.http.median_us")
    done
done
say_figures summary-windows "${arguments[@]}" --setting "windows=$windows" \
    --bar "rows$most.still.library.median_us<=20" --bar "rows$most.appending.library.median_us<=20" \
    --bar "every rows$most.appending.rate.appended_per_s>=19000" \
    --bar "http.still.rows$most<=1.5" --bar "http.appending.rows$most<=1.5"
