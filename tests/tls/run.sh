#!/usr/bin/env bash
# TLS of the demo's proxy, as scanners and clients see it: sslscan and testssl.sh (Debian), sslyze and the openai SDK (PyPI), curl.
#
#   tests/tls/run.sh                          builds and starts `cube-demo --json` itself
#   CUBE_DEMO='{"origin":…}' tests/tls/run.sh   uses one that runs already: the line it printed
#
# Fails when anything is missing: a check that could not run did not pass.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

if ! command -v sslscan >/dev/null || ! command -v testssl >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq sslscan testssl.sh; } >/dev/null 2>&1 ||
        { echo "missing: apt-get install sslscan testssl.sh" >&2; exit 1; }
fi
venv=$target/tls-venv
[ -x "$venv/bin/sslyze" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check \
    --requirement "$here/requirements.txt"; }

if [ -z "${CUBE_DEMO:-}" ]; then
    . "$root/tests/programs.sh"
    exec {demo}< <(exec "$bin/cube-demo" --no-build --json --port 0 --https-port 0 --ops-port 0 --admin-port 0 --admin-ops-port 0)
    demo_pid=$!
    scratch=$(mktemp -d)
    trap 'kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true; rm -rf "$scratch"' EXIT
    read -r -t 120 CUBE_DEMO <&"$demo" || { echo "cube-demo --json printed nothing within 120 s" >&2; exit 1; }
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
fi
export CUBE_DEMO
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
of_demo() { field "$1" <<<"$CUBE_DEMO"; }
https=$(of_demo https)
ca=$(of_demo ca)
pat=$(of_demo pat)
alias=$(of_demo domain)
model=$(of_demo model)
at=${https#https://}

echo "curl -k …/v1/models and /users with a PAT"
domain=$(curl --silent --show-error --fail -k "$https/domains" -H "Authorization: Bearer $pat" |
    python3 -c 'import json,sys; print(next(d["id"] for d in json.load(sys.stdin)["domains"] if d["route"] == sys.argv[1]))' "$alias")
for name in "$domain" "$alias"; do
    curl --silent --show-error --fail -k "$https/proxy/$name/v1/models" -H "Authorization: Bearer $pat" | grep --quiet "\"$model\""
done
curl --silent --show-error --fail -k "$https/users" -H "Authorization: Bearer $pat" | grep --quiet '"users"'
echo "curl that believes the authority, and only then"
curl --silent --fail --cacert "$ca" "$https/health" >/dev/null
! curl --silent "$https/health" >/dev/null 2>&1 || { echo "curl believed a stranger" >&2; exit 1; }
plain=$(curl --silent --output /dev/null --write-out '%{http_code}' "http://$at/proxy/$domain/v1/models" -H "Authorization: Bearer $pat")
[ "$plain" = 400 ] || { echo "plain HTTP on the TLS port: $plain and not 400" >&2; exit 1; }

echo "the openai SDK with the authority"
SSL_CERT_FILE=$ca "$venv/bin/python" "$here/openai_https.py"
echo "the certificate is replaced under 200 streams of it"
SSL_CERT_FILE=$ca "$venv/bin/python" "$here/replaced.py" "$bin/cube-proxy" dev-cert --dir "$(dirname "$ca")"

echo "sslscan"
sslscan --xml="$scratch/sslscan.xml" --no-colour "$at" >/dev/null
echo "sslyze against Mozilla's intermediate profile"
"$venv/bin/sslyze" --quiet --json_out="$scratch/sslyze.json" "$at" >/dev/null || true
echo "testssl.sh"
testssl --quiet --color 0 --fast --protocols --server-defaults --vulnerable --jsonfile "$scratch/testssl.json" "$at" >/dev/null 2>&1 || true
python3 "$here/judge.py" "$scratch"
