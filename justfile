# The recipes that CI runs. `just` without a name lists them.

set shell := ["bash", "-euc"]

# One folder for everything compiled: the workspaces beside the library's share much with it.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")

_list:
    @just --list

# Formatting of every workspace
fmt:
    cargo fmt --all --check
    for manifest in fuzz/Cargo.toml tools/*/Cargo.toml; do cargo fmt --check --manifest-path "$manifest"; done

# Scripts
scripts:
    shellcheck .ci/run .ci/minimal-versions fuzz/run-all tools/constant-time/run tools/public-api/run tools/public-api/rustdoc

# Spelling
typos:
    typos

# Licences, bans and sources of what we build on; of our tools' packages all but the licences
deny:
    cargo deny check bans licenses sources
    for manifest in fuzz/Cargo.toml tools/*/Cargo.toml; do cargo deny --manifest-path "$manifest" check --allow duplicate bans sources; done

# Lints, with every feature
clippy:
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    cargo clippy --manifest-path tools/public-api/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/constant-time/Cargo.toml --release --all-targets --locked -- -D warnings
    cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/loom/Cargo.toml --release --locked -- -D warnings

# Lints, with every combination of the core's features
features:
    cargo hack clippy --feature-powerset --package keyfob --locked -- -D warnings
    cargo test --locked --features rustcrypto --lib --test zero_alloc

# The public API is the one listed in tools/public-api/
api:
    tools/public-api/run

# List the public API anew
api-update:
    tools/public-api/run --update

# Documentation without warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked

# All tests, as the README says
test:
    cargo test --workspace --locked

# The oldest versions that the libraries ask for are enough
minimal-versions:
    .ci/minimal-versions

# The job of the README, and the examples that fail if a promise is broken
examples:
    cargo run --release --locked --example quickstart
    cargo run --release --locked --example rotate
    cargo run --release --locked --example leaver
    cargo run --release --locked --example custom_store

# The program as it is released, with its manual pages and completions, in target/dist
release:
    cargo build --release --locked --package keyfob-cli
    mkdir -p "$CARGO_TARGET_DIR/dist"
    cp "$CARGO_TARGET_DIR/release/keyfob" packaging/keyfob.service packaging/keyfob.toml "$CARGO_TARGET_DIR/dist"
    "$CARGO_TARGET_DIR/release/keyfob" man --out "$CARGO_TARGET_DIR/dist/man"
    for shell in bash zsh fish; do "$CARGO_TARGET_DIR/release/keyfob" completions "$shell" > "$CARGO_TARGET_DIR/dist/keyfob.$shell"; done

# Both benchmarks, for a look
bench:
    cargo bench --bench verify --locked -- --quick
    cargo bench --bench table --locked -- --quick
    cargo bench --bench table --locked --features rustcrypto -- --quick

# The figures of the README, measured anew: on a machine that does nothing else
figures:
    cargo bench --bench table --locked -- --write README.md

# No jump, no address and no time depends on a secret; `--long` takes minutes
constant-time *arguments:
    tools/constant-time/run {{arguments}}

# Keyfob beside what one would take in its place; by hand, it compiles much
compare *arguments:
    cargo test --release --locked --manifest-path tools/compare/Cargo.toml
    cargo run --release --locked --manifest-path tools/compare/Cargo.toml -- {{arguments}}

# The orders in which readers of the table and its writer can meet
models:
    cargo run --release --locked --manifest-path tools/loom/Cargo.toml

# Every fuzz target for this many seconds
fuzz seconds="20":
    fuzz/run-all {{seconds}}

# Mutants of the part that decides; by hand, most of an hour
mutants *arguments:
    CARGO_PROFILE_DEV_DEBUG=0 cargo mutants {{arguments}}
