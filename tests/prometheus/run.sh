#!/usr/bin/env bash
# Prometheus itself: the example settings of config/ scrape a running proxy and admin, every alert can be evaluated and none fires; each
# alert fires when it should (promtool), and docs/OPERATIONS.md has a section for it.
#
#   tests/prometheus/run.sh                            starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/prometheus/run.sh   uses one that runs already: the line it printed
#
# Installs Debian's prometheus by apt. Fails when it cannot: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends prometheus ||
        { echo "missing: apt-get install prometheus" >&2; exit 1; }
fi

alerts=$(sed -n 's/^ *- alert: //p' "$root/config/alerts.yml")
for alert in $alerts; do
    grep -q "alertname: $alert\$" "$here/alerts.test.yml" || { echo "$alert is not tested" >&2; exit 1; }
    grep -q "^### $alert\$" "$root/docs/OPERATIONS.md" || { echo "docs/OPERATIONS.md says nothing of $alert" >&2; exit 1; }
done
promtool test rules "$here/alerts.test.yml"

scratch=$(mktemp -d)
pids=()
end() {
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap end EXIT
if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json)
    pids+=($!)
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
fi
of_demo() { python3 -c 'import json,sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$CUBE_DEMO" "$1"; }
ops=$(of_demo ops) admin_ops=$(of_demo admin_ops)

cp "$root/config/alerts.yml" "$scratch/alerts.yml"
sed -e "s|127.0.0.1:9464|${ops#http://}|; s|127.0.0.1:9465|${admin_ops#http://}|; s|: 15s|: 1s|" "$root/config/prometheus.yml" \
    >"$scratch/prometheus.yml"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/data" --web.listen-address="127.0.0.1:$port" \
    --log.level=warn 2>"$scratch/log" &
pids+=($!)

for stream in true false; do
    curl --silent --show-error --fail --output /dev/null "$(of_demo origin)/proxy/$(of_demo domain)/v1/chat/completions" \
        -H "Authorization: Bearer $(of_demo pat)" -H 'Content-Type: application/json' \
        -d "{\"model\":\"$(of_demo model)\",\"stream\":$stream,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
done
python3 "$here/check.py" "http://127.0.0.1:$port" || { cat "$scratch/log" >&2; exit 1; }
