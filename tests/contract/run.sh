#!/usr/bin/env bash
# Holds cube-admin to its own description (OpenAPI), with generated requests that fit it and requests that do not: as a superadmin, as
# a user with rights in nothing but one domain, and as nobody. Every check of schemathesis is on.
#
#   tests/contract/run.sh [EXAMPLES [SEED]]      examples per operation of the random phase, 10 by default
#
# Without a SEED the random phase asks the same every time, so that a change is judged by what it changed. `run.sh 100 $RANDOM` looks
# further; what it finds becomes a test in admin/tests/api.
#
# Fails when anything is missing, be it Python, the package or the program: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
examples=${1:-10}
seed=${2:-1}

venv=$target/contract-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
. "$root/tests/programs.sh"

state=$(mktemp -d)
export CUBE_ADMIN_PASSWORD=correct-horse-battery
cat >"$state/admin.toml" <<'TOML'
[api]
address = "127.0.0.1:0"
[feed]
address = "127.0.0.1:0"
[ops]
address = "127.0.0.1:0"
[login]
attempts_max = 1000000
[pats]
per_user_max = 1000000
TOML
admin=("$bin/cube-admin" --config "$state/admin.toml" --state "$state")
"${admin[@]}" user create --superadmin --username admin >/dev/null
exec {ready}< <(exec "${admin[@]}" serve 2>"$state/log")
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$state"' EXIT
read -r -t 120 line <&"$ready" || { echo "cube-admin is not ready" >&2; cat "$state/log" >&2; exit 1; }
api=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["api"])' "$line")

call() { # method path credential body
    curl --silent --show-error --fail -X "$1" "$api$2" -H "Authorization: Bearer $3" -H 'Content-Type: application/json' -d "$4"
}
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
log_in() { call POST /users/tokens/issue none "{\"username\":\"$1\",\"password\":\"$2\"}" | field access_token; }

superadmin=$(log_in admin "$CUBE_ADMIN_PASSWORD")
call POST /users "$superadmin" '{"credentials":{"username":"ada","secret":"password-of-ada"}}' >/dev/null
ada=$(log_in ada password-of-ada)
call POST /domains "$ada" '{"name":"alpha","route":"alpha"}' >/dev/null

cd "$state" # where schemathesis keeps what it found
run() { # credential, phases
    local more=()
    if [ -n "$1" ]; then
        # What ends the login that is tested with is tried without one, and with one in admin/tests/api.
        more=(--exclude-path-regex '^/users/(tokens/|secret)' -H "Authorization: Bearer $1")
    fi
    "$venv/bin/st" --config-file "$here/schemathesis.toml" run "$api/openapi.json" --checks all --phases "$2" -n "$examples" --seed "$seed" \
        --continue-on-failure --warnings off "${more[@]}"
}
echo "as a superadmin"
run "$superadmin" examples,coverage,fuzzing
echo "as another user"
run "$ada" coverage,fuzzing
echo "as nobody"
run "" coverage
if grep -q '"level":"ERROR"' "$state/log"; then
    grep '"level":"ERROR"' "$state/log" | head
    echo "cube-admin logged errors" >&2
    exit 1
fi
