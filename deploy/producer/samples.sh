#!/bin/bash
# Reviews, tickets and log lines for the console producer, a record a line: headers, key and value,
# parted by tabs. Each has a W3C trace context, so that it can be followed from here to the tagged
# output; every twentieth is odd and becomes a dead letter.
#
#   samples.sh TEXTS        TEXTS: src/demo/texts.txt, a kind and a text a line
#
# RATE: records a second (default 20; 0: as fast as possible). COUNT: end after so many (default: never).
set -euo pipefail
texts=${1:?usage: samples.sh TEXTS}
rate=${RATE:-20}
count=${COUNT:-0}
pause=
[ "$rate" = 0 ] || pause=$(awk -v rate="$rate" 'BEGIN { printf "%.4f", 1 / rate }')

mapfile -t lines < <(grep -v '^#' "$texts" | cut -d' ' -f2-)
hex() { printf '%08x' "$SRANDOM"; }

id=0
while [ "$count" = 0 ] || [ "$id" -lt "$count" ]; do
    text=${lines[id * 37 % ${#lines[@]}]}
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    case $((id % 80)) in
        19) value="{\"id\": $id, \"text\": \"\"}" ;;
        39) value="{\"id\": $id, \"body\": \"$text\"}" ;;
        59) value="{\"id\": $id, \"text\": \"cut o" ;;
        79) value="{\"id\": $id, \"text\": 404}" ;;
        *) value="{\"id\": $id, \"text\": \"$text\"}" ;;
    esac
    printf 'traceparent:00-%s%s%s%s-%s%s-01\tcustomer-%d\t%s\n' \
        "$(hex)" "$(hex)" "$(hex)" "$(hex)" "$(hex)" "$(hex)" $((id % 23)) "$value"
    id=$((id + 1))
    [ -z "$pause" ] || sleep "$pause"
done
