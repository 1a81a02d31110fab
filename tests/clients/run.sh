#!/usr/bin/env bash
# Runs the real openai and ollama Python clients against the demo (proxy and sample model server).
#
#   tests/clients/run.sh                      builds and starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/clients/run.sh   uses one that runs already: the line it printed
#
# Fails when anything is missing, be it Python, the packages or the demo: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

venv=$target/clients-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json)
    demo_pid=$!
    trap 'kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true' EXIT
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
fi
export CUBE_DEMO
cd "$here"
"$venv/bin/python" -W error::ResourceWarning -m unittest --verbose test_openai test_ollama
