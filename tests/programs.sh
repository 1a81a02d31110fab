# Sourced by the tests of this folder, with $root and $target set: puts into $bin where the programs are that a test runs.
# CUBE_BIN_DIR names programs that are there already, as .ci/check does: it has them from `cargo test`, whose features of shared crates are
# not quite those of `cargo build`, so that each would build most of them again for the other.
if [ -n "${CUBE_BIN_DIR:-}" ]; then
    bin=$(realpath "$CUBE_BIN_DIR")
else
    (cd "$root" && cargo build --quiet --workspace --bins)
    bin=$target/debug
fi
