#!/bin/sh
# oha against a running demo: JSON, streams, and new connections. Reads the line that `cargo demo --json` prints.
#
#   cargo install oha --locked
#   cargo demo-release --json > demo.json &
#   loadtest/oha.sh demo.json [SECONDS] [CALLERS]
#
# Latencies here are those of a client that shares the machine; for loss and one-way delay use cube-stream.
set -eu

demo=${1:?the file with the line of cargo demo --json}
seconds=${2:-10}
callers=${3:-64}

member() {
    python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())[sys.argv[2]])' "$demo" "$1"
}
url="$(member origin)/proxy/$(member domain)/v1/chat/completions"
pat=$(member pat)
model=$(member model)

run() {
    name=$1
    body=$2
    shift 2
    printf '\n== %s\n' "$name"
    oha --no-tui -z "${seconds}s" -c "$callers" -m POST -T application/json \
        -H "Authorization: Bearer $pat" -d "$body" "$@" "$url"
}

run 'JSON, kept-alive' "{\"model\":\"$model\",\"messages\":[]}"
run 'JSON, a new connection each' "{\"model\":\"$model\",\"messages\":[]}" --disable-keepalive
run 'streams of 100 events, flat out' "{\"model\":\"$model\",\"messages\":[],\"stream\":true}" -H 'x-mock-events: 100'
run 'streams of 40 events, 25 ms apart' "{\"model\":\"$model\",\"messages\":[],\"stream\":true}" \
    -H 'x-mock-events: 40' -H 'x-mock-pace-us: 25000'
