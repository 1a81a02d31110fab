#!/usr/bin/env bash
# The life of a PAT by curl: user, domain, role, deployment, model, PAT; a stream with it; the role taken away and given back; revoked.
# Prints how long each change took to be in force.
#
#   tests/lifecycle/run.sh                            builds and starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/lifecycle/run.sh   uses one that runs already: the line it printed
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json)
    demo_pid=$!
    trap 'kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true' EXIT
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
fi
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
of_demo() { field "$1" <<<"$CUBE_DEMO"; }
origin=$(of_demo origin) # one origin: the proxy passes what is not inference on to admin
upstream=$(of_demo upstream)
model=$(of_demo model)
name=life$RANDOM

call() { # method path credential body
    curl --silent --show-error --fail-with-body -X "$1" "$origin$2" -H "Authorization: Bearer $3" \
        -H 'Content-Type: application/json' ${5:+-H "$5"} -d "$4"
}
log_in() { call POST /users/tokens/issue none "{\"username\":\"$1\",\"password\":\"$2\"}" | field access_token; }
status() { # credential
    curl --silent --output /dev/null --write-out '%{http_code}' "$origin/proxy/$name/v1/chat/completions" \
        -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
        -d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
}
now_ms() { date +%s%3N; }
becomes() { # status, what
    local start seen
    start=$(now_ms)
    until seen=$(status "$pat") && [ "$seen" = "$1" ]; do
        if [ $(($(now_ms) - start)) -gt 10000 ]; then echo "$2: $seen and not $1" >&2; exit 1; fi
    done
    echo "$2: $1 after $(($(now_ms) - start)) ms (a question takes some 10 ms)"
}

admin=$(log_in "$(of_demo user)" "$(of_demo password)")
eve=$(call POST /users "$admin" "{\"credentials\":{\"username\":\"$name\",\"secret\":\"password of $name\"}}" | field id)
domain=$(call POST /domains "$admin" "{\"name\":\"$name\",\"route\":\"$name\"}" | field id)
role=$(call POST "/domains/$domain/roles" "$admin" \
    "{\"role_name\":\"caller\",\"optional_actions\":[\"llm_chat_completions\",\"llm_read\"],\"optional_members\":[\"$eve\"]}" | field id)
call POST /api/v1/deployments "$admin" "{\"name\":\"$name\",\"dialect\":\"openai\",\"endpoints\":[{\"url\":\"$upstream\"}]}" >/dev/null
call POST "/api/v1/domains/$domain/models" "$admin" "{\"name\":\"$model\",\"deployment\":\"$name\"}" >/dev/null
token=$(log_in "$name" "password of $name")
made=$(call POST /pats "$token" "{\"name\":\"one scope\",\"duration\":\"1h\",\"scopes\":[{\"entity_type\":\"domains\",
    \"domain_id\":\"$domain\",\"entity_id\":\"$domain\",\"operation\":\"llm_chat_completions\"}]}")
pat=$(field secret <<<"$made")
id=$(field id <<<"$made")
becomes 200 "a PAT with one scope"

curl --silent --no-buffer "$origin/proxy/$name/v1/chat/completions" -H "Authorization: Bearer $pat" \
    -H 'Content-Type: application/json' -d "{\"model\":\"$model\",\"stream\":true,\"messages\":[]}" | grep --quiet '^data: \[DONE\]'
echo "a completion streams to its end"
# The operation that its role has and its scopes have not.
models=$(curl --silent --output /dev/null --write-out '%{http_code}' "$origin/proxy/$name/v1/models" -H "Authorization: Bearer $pat")
[ "$models" = 403 ] || { echo "listing models without the scope: $models and not 403" >&2; exit 1; }

call POST "/domains/$domain/roles/$role/members/delete" "$admin" "{\"members\":[\"$eve\"]}"
becomes 403 "the role taken away"
call POST "/domains/$domain/roles/$role/members" "$admin" "{\"members\":[\"$eve\"]}" >/dev/null
becomes 200 "the role given back"
call PATCH "/pats/$id/secret/revoke" "$token" "{}" "Prefer: wait=5"
last=$(status "$pat")
[ "$last" = 401 ] || { echo "the first request after a revocation that waited: $last and not 401" >&2; exit 1; }
echo "revoked, and waited for: the next request is 401"
