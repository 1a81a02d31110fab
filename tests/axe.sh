# For run.sh files whose pages axe-core judges: sets AXE to the file to inject. Needs `target`, and npm, which it installs by apt.
axe_version=4.14.1
if ! command -v npm >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq npm ||
        { echo "missing: apt-get install npm" >&2; exit 1; }
fi
export AXE=$target/axe-core-$axe_version/package/axe.min.js
if [ ! -f "$AXE" ]; then
    mkdir -p "$target/axe-core-$axe_version"
    (cd "$target/axe-core-$axe_version" && npm pack --silent "axe-core@$axe_version" >/dev/null && tar xzf ./*.tgz)
fi
