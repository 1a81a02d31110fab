#!/usr/bin/env bash
# Load with faults and reloads, and whether it all adds up: prints a JSON summary, fails if something did not hold.
#   loadtest/soak.sh --seconds 600                          builds first
#   loadtest/soak.sh --seconds 20 --bin-dir target/release  takes the programs that are there
# More flags: cube-soak --help.
set -euo pipefail

bin_dir=
for ((at = 1; at <= $#; at++)); do
    case "${!at}" in
        --bin-dir) next=$((at + 1)); bin_dir=${!next:?--bin-dir wants a directory} ;;
        --bin-dir=*) bin_dir=${!at#--bin-dir=} ;;
    esac
done
if [ -z "$bin_dir" ]; then
    root=$(cd "$(dirname "$0")/.." && pwd)
    (cd "$root" && cargo build --release --quiet -p cube-proxy && cargo build --release --quiet -p cube-loadtest --bin cube-soak)
    bin_dir=${CARGO_TARGET_DIR:-$root/target}/release
fi
exec "$bin_dir/cube-soak" "$@"
