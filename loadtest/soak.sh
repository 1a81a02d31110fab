#!/bin/sh
# The soak with programs that are there (--bin-dir DIR) or are built first. Other arguments go to cube-soak.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
directory=
previous=
for argument in "$@"; do
    [ "$previous" = --bin-dir ] && directory=$argument
    previous=$argument
done
if [ -z "$directory" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml" -p cube-proxy --bin cube-proxy
    exec cargo run --release --quiet --manifest-path "$root/Cargo.toml" -p cube-loadtest --bin cube-soak -- "$@"
fi
exec "$directory/cube-soak" "$@"
