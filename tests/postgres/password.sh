# Sourced by run.sh, with $scratch, $programs, $port, $bin and run() set: a password goes to a server that lets nobody in without it, nor without
# TLS, and only to who can show the right certificate; no message shows it.
password="pass word/of?the&database"
printf '%s\n' 'hostssl cube cube all scram-sha-256' 'host cube cube all reject' >"$scratch/first"
cat "$scratch/data/pg_hba.conf" >>"$scratch/first"
cat "$scratch/first" >"$scratch/data/pg_hba.conf"
run "$programs/pg_ctl" -D "$scratch/data" reload >/dev/null
ask() { run "$programs/psql" -h "$scratch" -p "$port" -U postgres -qAtX -v ON_ERROR_STOP=1 "$@"; }
ask -c "CREATE ROLE cube LOGIN PASSWORD '$password'" -c "CREATE DATABASE cube OWNER cube"
"$bin/cube-proxy" dev-cert --dir "$scratch/others" >/dev/null

# Makes the first superadmin; what is said is left in $said.
first_superadmin() { # parameters of the URL, password
    said=$(CUBE_ADMIN_DATABASE="postgres://cube@127.0.0.1:$port/cube?$1" PGPASSWORD="$2" CUBE_ADMIN_PASSWORD="a long pass phrase" \
        "$bin/cube-admin" --state "$scratch/state" user create --username root --superadmin 2>&1)
}
expect_refusal() { # what, parameters, password, what is to be said
    if first_superadmin "$2" "$3"; then echo "$1: let in" >&2; exit 1; fi
    case $said in *"$3"* | *"$password"*) echo "$1: the password is shown: $said" >&2; exit 1 ;; esac
    grep --quiet --ignore-case "$4" <<<"$said" || { echo "$1: $said" >&2; exit 1; }
}
verified="sslmode=verify-full&sslrootcert=$scratch/tls/ca.pem"
expect_refusal "another authority" "sslmode=verify-full&sslrootcert=$scratch/others/ca.pem" "$password" certificate
expect_refusal "no TLS" sslmode=disable "$password" "pg_hba.conf rejects"
expect_refusal "another password" "$verified" "another password" "password authentication failed"
first_superadmin "$verified" "$password" || { echo "$said" >&2; exit 1; }
[ "$(ask -d cube -c 'SELECT username FROM users WHERE superadmin')" = root ] || { echo "no superadmin in the database" >&2; exit 1; }
echo "a password over TLS, checked both ways"
