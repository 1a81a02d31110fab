#!/usr/bin/env bash
# Authentication callbacks with real programs:
#   1. the example callback of the Cube API Server's page, under uvicorn, and that page's tables by curl;
#   2. the E2B SDK, and a WebSocket client, through the passthrough listener;
#   3. cube-admin as the callback: of cube-proxy's listener, and of nginx by auth_request.
#
# Needs: Python 3 with venv, curl, nginx (apt-get install nginx). Fails when anything is missing: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
command -v nginx >/dev/null || { echo "missing: nginx. Install it: apt-get install nginx" >&2; exit 1; }

venv=$target/callback-venv
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
. "$root/tests/programs.sh"

dir=$(mktemp -d)
pids=()
end() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
fail() { echo "FAILED: $*" >&2; tail -n 5 "$dir"/*.log >&2 2>/dev/null || true; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
# Starts a program that says its address in its first line; the line is in $said.
start() { # name, command…
    local name=$1
    shift
    exec {out}< <(exec "$@" 2>"$dir/$name.log")
    pids+=($!)
    read -r -t 120 said <&"$out" || fail "$name says nothing"
}
until_up() { # url
    for _ in $(seq 600); do curl --silent --output /dev/null "$1" && return; sleep 0.1; done
    fail "$1 is not up"
}
status() { # method, url, fields…
    local method=$1 url=$2
    shift 2
    curl --silent --output "$dir/body" --write-out '%{http_code}' --request "$method" $([ "$method" = HEAD ] && echo --head) "$@" "$url"
}
expect() { # status, method, url, curl's options…
    local wanted=$1 seen
    shift
    seen=$(status "$@")
    [ "$seen" = "$wanted" ] || fail "$*: $seen and not $wanted: $(cat "$dir/body")"
    checked=$((checked + 1))
}
expect_body() { [ "$(cat "$dir/body")" = "$1" ] || fail "the body is $(cat "$dir/body") and not $1"; }
checked=0

# A proxy with a passthrough listener before an API; its address is in $proxy.
start_proxy() { # name, origin, settings…
    printf '[listener]\naddress = "127.0.0.1:0"\n[ops]\naddress = "127.0.0.1:0"\n[cores]\ncount = 1\n[passthrough]\naddress = "127.0.0.1:0"\norigins = ["%s"]\n' \
        "$2" >"$dir/$1.toml"
    start "$1" env "${@:3}" "$bin/cube-proxy" --config "$dir/$1.toml"
    proxy=http://$(field passthrough <<<"$said")
}

start api python3 "$here/sandbox_api.py"
api=$said

echo "== the example callback, by curl"
port=$(free_port)
"$venv/bin/uvicorn" --app-dir "$here" --host 127.0.0.1 --port "$port" --log-level warning seed_callback:app 2>"$dir/uvicorn.log" &
uvicorn=$!
pids+=("$uvicorn")
until_up "http://127.0.0.1:$port/"
start_proxy seeded "$api" AUTH_CALLBACK_URL="http://127.0.0.1:$port/verify"
for method in GET HEAD POST PUT PATCH DELETE; do
    expect 200 $method "$proxy/templates/my-tmpl" -H "Authorization: Bearer secret-key-1"
    expect 200 $method "$proxy/templates/my-tmpl" -H "X-API-Key: secret-key-2"
    read_only=$([[ $method =~ ^(GET|HEAD)$ ]] && echo 200 || echo 401)
    expect "$read_only" $method "$proxy/templates/my-tmpl" -H "Authorization: Bearer readonly-key-1"
    expect "$read_only" $method "$proxy/templates/my-tmpl" -H "X-API-Key: readonly-key-1"
    expect 401 $method "$proxy/templates/my-tmpl" -H "X-API-Key: nonsense"
    expect 401 $method "$proxy/templates/my-tmpl"
done
expect 401 GET "$proxy/sandboxes"
expect_body "{\"code\":401,\"message\":\"Missing authentication: provide 'Authorization: Bearer <token>' or 'X-API-Key: <key>'\"}"
expect 401 DELETE "$proxy/sandboxes" -H "X-API-Key: readonly-key-1"
expect_body '{"code":401,"message":"Authentication rejected by callback"}'
# Bearer first, if both are there; and nobody speaks for the proxy.
expect 200 DELETE "$proxy/templates/a" -H "Authorization: Bearer secret-key-1" -H "X-API-Key: readonly-key-1"
expect 401 DELETE "$proxy/templates/a" -H "Authorization: Bearer readonly-key-1" -H "X-API-Key: secret-key-1"
expect 401 DELETE "$proxy/templates/a" -H "X-API-Key: readonly-key-1" -H "X-Request-Method: GET"
expect 200 GET "$proxy/health"
expect_body '{"status": "ok"}'

echo "== the E2B SDK"
cd "$here"
export E2B_API_URL=$proxy E2B_API_KEY=secret-key-1 E2B_HTTP_VERSION=1.1 PROXY=$proxy SANDBOX_API=$api PYTHONDONTWRITEBYTECODE=1
"$venv/bin/python" -m unittest --quiet test_sdk || fail "the SDK"

echo "== a WebSocket client"
seeded=$proxy
start echo "$venv/bin/python" "$here/echo_server.py"
start_proxy sockets "$said" AUTH_CALLBACK_URL="http://127.0.0.1:$port/verify"
PROXY=$proxy "$venv/bin/python" -m unittest --quiet test_socket || fail "the WebSocket client"

kill "$uvicorn"
wait "$uvicorn" 2>/dev/null || true
expect 500 GET "$seeded/sandboxes" -H "X-API-Key: secret-key-1"
grep --quiet '^{"code":500,"message":"Auth callback unreachable: ' "$dir/body" || fail "$(cat "$dir/body")"
start_proxy open "$api"
expect 200 DELETE "$proxy/templates/a"

echo "== cube-admin as the callback"
cat >"$dir/admin.toml" <<'TOML'
[api]
address = "127.0.0.1:0"
[feed]
address = "127.0.0.1:0"
[ops]
address = "127.0.0.1:0"
[[auth_verify.rules]]
methods = ["GET", "HEAD"]
path = "/templates/**"
operation = "llm_read"
domain = "sandboxes"
[[auth_verify.rules]]
path = "/templates/**"
operation = "llm_delete"
domain = "sandboxes"
TOML
export CUBE_ADMIN_PASSWORD=correct-horse-battery
admin=("$bin/cube-admin" --config "$dir/admin.toml" --state "$dir/state")
"${admin[@]}" user create --superadmin --username admin >/dev/null
start admin "${admin[@]}" serve
admin_url=$(field api <<<"$said")
call() { # path credential body
    curl --silent --show-error --fail "$admin_url$1" -H "Authorization: Bearer $2" -H 'Content-Type: application/json' -d "$3"
}
token=$(call /users/tokens/issue none "{\"username\":\"admin\",\"password\":\"$CUBE_ADMIN_PASSWORD\"}" | field access_token)
domain=$(call /domains "$token" '{"name":"sandboxes","route":"sandboxes"}' | field id)
pat() { # name, operations…
    local scopes=() operation
    for operation in "${@:2}"; do
        scopes+=("{\"entity_type\":\"domains\",\"domain_id\":\"$domain\",\"entity_id\":\"$domain\",\"operation\":\"$operation\"}")
    done
    call /pats "$token" "{\"name\":\"$1\",\"duration\":\"1h\",\"scopes\":[$(IFS=,; echo "${scopes[*]}")]}" | field secret
}
reader=$(pat reader llm_read)
writer=$(pat writer llm_read llm_delete)

port=$(free_port)
sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$port|" -e "s|@API@|$api|" -e "s|@ADMIN@|$admin_url|" "$here/nginx.conf.in" >"$dir/nginx.conf"
nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/nginx-error.log" &
pids+=($!)
until_up "http://127.0.0.1:$port/"
start_proxy verified "$api" AUTH_CALLBACK_URL="$admin_url/auth/verify"
for through in "403 http://127.0.0.1:$port" "401 $proxy"; do
    no=${through%% *} at=${through#* }
    expect 200 GET "$at/templates/my-tmpl?x=1" -H "Authorization: Bearer $reader"
    expect "$no" DELETE "$at/templates/my-tmpl" -H "Authorization: Bearer $reader"
    expect 200 DELETE "$at/templates/my-tmpl" -H "Authorization: Bearer $writer"
    expect 200 DELETE "$at/templates/my-tmpl" -H "X-API-Key: $writer"
    expect "$no" GET "$at/nodes" -H "Authorization: Bearer $writer"
    expect 401 GET "$at/templates/my-tmpl" -H "Authorization: Bearer nonsense"
    expect 401 GET "$at/templates/my-tmpl"
    # What a caller says of its request is not believed.
    expect "$no" DELETE "$at/templates/my-tmpl" -H "Authorization: Bearer $reader" -H "X-Original-Method: GET"
    expect "$no" DELETE "$at/templates/my-tmpl" -H "Authorization: Bearer $reader" -H "X-Request-Method: GET" -H "X-Request-Path: /templates/a"
done
echo "callback: $checked answers by curl, and the SDK and WebSocket tests, are as they should be"
