#!/bin/sh
# oha against a running demo: JSON, new connections, and streams. Reads the line that `cargo demo --json` prints.
#
#   cargo install oha --locked
#   cargo demo-release --json --pace-us 0 > demo.json &
#   loadtest/oha.sh demo.json [SECONDS] [CALLERS]
#
# Prints a line for each scenario, and fails if any request did: everything must be a whole answer of status 200. `OHA` names another
# program. Latencies here are those of a client that shares the machine; for loss and one-way delay use cube-stream.
set -eu

demo=${1:?the file with the line of cargo demo --json}
seconds=${2:-10}
callers=${3:-64}
oha=${OHA:-oha}

member() {
    python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())[sys.argv[2]])' "$demo" "$1"
}
url="$(member origin)/proxy/$(member domain)/v1/chat/completions"
pat=$(member pat)
model=$(member model)

# What oha says, on one line; its own exit status is 0 whatever the answers were.
tell() {
    python3 -c '
import json, sys
name, said = sys.argv[1], json.load(sys.stdin)
statuses, errors = said["statusCodeDistribution"], said["errorDistribution"]
p50, p99 = (said["latencyPercentiles"][p] * 1e3 for p in ("p50", "p99"))
rate = said["summary"]["requestsPerSec"]
print(f"{name:<30} {rate:>9.0f} /s   p50 {p50:>7.2f} ms   p99 {p99:>7.2f} ms   {statuses} {errors or str()}")
sys.exit(set(statuses) != {"200"} or bool(errors))
' "$1"
}

# Requests that are under way at the end are waited for (-w), so that none of them looks like a failure.
run() {
    name=$1
    body=$2
    shift 2
    "$oha" --no-tui --output-format json -z "${seconds}s" -w -c "$callers" -m POST -T application/json \
        -H "Authorization: Bearer $pat" -d "$body" "$@" "$url" | tell "$name"
}

run 'JSON, kept-alive' "{\"model\":\"$model\",\"messages\":[]}"
run 'JSON, a new connection each' "{\"model\":\"$model\",\"messages\":[]}" --disable-keepalive
run 'streams of 100, flat out' "{\"model\":\"$model\",\"messages\":[],\"stream\":true}" -H 'x-mock-events: 100' -H 'x-mock-pace-us: 0'
run 'streams of 40, 25 ms apart' "{\"model\":\"$model\",\"messages\":[],\"stream\":true}" \
    -H 'x-mock-events: 40' -H 'x-mock-pace-us: 25000'
