#!/usr/bin/env bash
# SCIM from outside: scim2-tester's checks and the request sequences of Entra and Okta, against a running cube-admin and with an API key
# made for it.
#
#   tests/scim/run.sh
#
# Fails when anything is missing, be it Python, a package or the program: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

venv=$target/scim-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
. "$root/tests/programs.sh"

state=$(mktemp -d)
export CUBE_ADMIN_PASSWORD=correct-horse-battery CUBE_ADMIN_CREDENTIALS=$state/login.json
printf '[api]\naddress = "127.0.0.1:0"\n[feed]\naddress = "127.0.0.1:0"\n[ops]\naddress = "127.0.0.1:0"\n' >"$state/admin.toml"
admin=("$bin/cube-admin" --config "$state/admin.toml" --state "$state")
"${admin[@]}" user create --superadmin --username admin >/dev/null
exec {ready}< <(exec "${admin[@]}" serve 2>"$state/log")
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$state"' EXIT
read -r -t 120 line <&"$ready" || { echo "cube-admin is not ready" >&2; cat "$state/log" >&2; exit 1; }
CUBE_ADMIN_API=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["api"])' "$line")
export CUBE_ADMIN_API

"${admin[@]}" login admin >/dev/null
key=$("${admin[@]}" api-key create --name scim --duration 1h --scope scim | grep -o 'cak_[A-Za-z0-9_-]*')
"$venv/bin/python" "$here/check.py" "$CUBE_ADMIN_API/api/scim/v2" "$key"
if grep -q '"level":"ERROR"' "$state/log"; then
    grep '"level":"ERROR"' "$state/log" | head
    echo "cube-admin logged errors" >&2
    exit 1
fi
