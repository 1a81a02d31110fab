#!/usr/bin/env bash
# cube-admin on PostgreSQL: a password over TLS, its tests, each with a database of its own, and those of two replicas on one database.
#
#   tests/postgres/run.sh                                        starts a server of its own, gone afterwards
#   CUBE_TEST_DATABASE=postgres://… tests/postgres/run.sh        uses one whose databases nobody needs: URL of one, without `?`
#
# Installs Debian's postgresql by apt. Fails when it cannot: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if [ -z "${CUBE_TEST_DATABASE:-}" ]; then
    server() { find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -1; }
    if [ -z "$(server)" ]; then
        as_root=$([ "$(id -u)" = 0 ] || echo sudo)
        $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends postgresql ||
            { echo "missing: apt-get install postgresql" >&2; exit 1; }
    fi
    programs=$(dirname "$(server)")
    scratch=$(mktemp -d)
    # It does not run as root.
    run() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
    . "$root/tests/programs.sh"
    "$bin/cube-proxy" dev-cert --dir "$scratch/tls" >/dev/null
    [ "$(id -u)" != 0 ] || chown -R postgres "$scratch"
    end() {
        run "$programs/pg_ctl" -D "$scratch/data" -m immediate stop >/dev/null 2>&1 || true
        rm -rf "$scratch"
    }
    trap end EXIT
    cd "$scratch"
    run "$programs/initdb" -D "$scratch/data" -U postgres -A trust -E UTF8 --no-sync >/dev/null
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    run "$programs/pg_ctl" -D "$scratch/data" -l "$scratch/log" -w -t 120 \
        -o "-k $scratch -h 127.0.0.1 -p $port -c fsync=off -c max_connections=400 \
            -c ssl=on -c ssl_cert_file=$scratch/tls/proxy.pem -c ssl_key_file=$scratch/tls/proxy.key" start >/dev/null ||
        { cat "$scratch/log" >&2; exit 1; }
    . "$here/password.sh"
    export CUBE_TEST_DATABASE="postgres://postgres@127.0.0.1:$port/postgres"
fi

cd "$root"
# As `cargo test` built them for the whole workspace: nothing is built anew.
cargo test --workspace --quiet --lib -- store:: app::replay
cargo test --workspace --quiet --test api -- --include-ignored
