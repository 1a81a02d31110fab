#!/usr/bin/env bash
# Signing in with an OpenID Connect provider that is not ours (oidc-provider-mock, made of Authlib), in Chromium and by plain requests;
# axe-core on the page that shows and sets the link.
#
#   tests/oidc/run.sh
#
# Installs what it needs: the provider from PyPI and axe-core from npm into target/, chromium, chromium-driver and npm by apt. Fails when it cannot: a check that
# could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if ! command -v chromedriver >/dev/null || ! command -v chromium >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq chromium chromium-driver ||
        { echo "missing: apt-get install chromium chromium-driver" >&2; exit 1; }
fi
venv=$target/oidc-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
. "$root/tests/axe.sh"
. "$root/tests/programs.sh"

# Both have to know the other's address before they start.
read -r api issuer driver < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))')
state=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait "${pids[@]}" 2>/dev/null || true; rm -rf "$state"' EXIT

PYTHONWARNINGS=ignore "$venv/bin/python3" "$here/provider.py" --port "$issuer" --require-nonce true \
    --user-claims '{"sub": "ada", "email": "ada@example.org", "email_verified": true, "given_name": "Ada"}' \
    --user-claims '{"sub": "eve", "email": "ada@example.org", "email_verified": false}' >"$state/issuer.log" 2>&1 &
pids+=($!)
chromedriver --port="$driver" >"$state/driver.log" 2>&1 &
pids+=($!)

for url in "http://127.0.0.1:$issuer/jwks" "http://127.0.0.1:$driver/status"; do
    curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-connrefused --output /dev/null "$url" 2>/dev/null ||
        { echo "nothing listens at $url" >&2; cat "$state"/*.log >&2; exit 1; }
done

printf 'a secret of ours' >"$state/secret"
cat >"$state/admin.toml" <<TOML
[api]
address = "127.0.0.1:$api"
[feed]
address = "127.0.0.1:0"
[ops]
address = "127.0.0.1:0"
[oidc]
issuer = "http://127.0.0.1:$issuer"
client_id = "cube"
client_secret_file = "$state/secret"
name = "the mock"
redirect_origin = "http://127.0.0.1:$api"
create_users = true
TOML
admin=("$bin/cube-admin" --config "$state/admin.toml" --state "$state")
export CUBE_ADMIN_PASSWORD=correct-horse-battery
"${admin[@]}" user create --superadmin --username admin >/dev/null
exec {ready}< <(exec "${admin[@]}" serve 2>"$state/log")
pids+=($!)
read -r -t 120 _ <&"$ready" || { echo "cube-admin is not ready" >&2; cat "$state/log" >&2; exit 1; }

python3 "$here/check.py" "http://127.0.0.1:$api" "http://127.0.0.1:$issuer" "http://127.0.0.1:$driver" ||
    { tail -n 20 "$state/issuer.log" "$state/log" >&2; exit 1; }
if grep -q '"level":"ERROR"' "$state/log"; then
    grep '"level":"ERROR"' "$state/log" | head
    echo "cube-admin logged errors" >&2
    exit 1
fi
