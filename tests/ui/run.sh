#!/usr/bin/env bash
# The pages in Debian's Chromium, through the demo's proxy: the life of a PAT, roles, the playground, wrong inputs, forged forms, sessions
# that end; and axe-core on every page, light and dark.
#
#   tests/ui/run.sh                            builds and starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/ui/run.sh   uses one that runs already: the line it printed
#
# Installs what it needs: chromium, chromium-driver and npm by apt, axe-core from npm into target/. Fails when it cannot.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if ! command -v chromedriver >/dev/null || ! command -v chromium >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq chromium chromium-driver ||
        { echo "missing: apt-get install chromium chromium-driver" >&2; exit 1; }
fi
. "$root/tests/axe.sh"

cd "$root"
cargo test --quiet --workspace --test browser --no-run
if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json)
    demo_pid=$!
    trap 'kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true' EXIT
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
fi
export CUBE_DEMO
# One window at a time: two of them would wait for each other's processor.
cargo test --quiet --workspace --test browser -- --test-threads 1
