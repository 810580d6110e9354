# The recipes that CI runs. `just` without a name lists them.

set shell := ["bash", "-euc"]

# One folder for everything compiled: the workspaces of the tools share much with the library's.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")
# Where .ci/install puts prebuilt tools.
export PATH := justfile_directory() / "target/tools/bin" + ":" + env("PATH")

_list:
    @just --list

# Check the formatting of every workspace
fmt:
    cargo fmt --all --check
    for manifest in fuzz/Cargo.toml tools/*/Cargo.toml examples/*/Cargo.toml; do cargo fmt --check --manifest-path "$manifest"; done

# Lint the scripts
scripts:
    @.ci/need shellcheck
    shellcheck .ci/install .ci/minimal-versions .ci/need .ci/run fuzz/run-all tools/constant-time/run tools/public-api/run tools/public-api/rustdoc

# Check spelling
typos:
    @.ci/need typos
    typos

# Check licences, bans and sources of dependencies; of the tools' dependencies bans and sources
deny:
    @.ci/need cargo-deny
    cargo deny --workspace check bans licenses sources
    for manifest in fuzz/Cargo.toml tools/*/Cargo.toml examples/*/Cargo.toml; do cargo deny --manifest-path "$manifest" check --allow duplicate bans sources; done

# Lint everything, with every feature
clippy:
    @.ci/need cc c++
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/controls/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/public-api/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/constant-time/Cargo.toml --all-targets --locked -- -D warnings
    cargo clippy --manifest-path tools/loom/Cargo.toml --locked -- -D warnings

# Lint and test every combination of the core's features, and the program without NATS
features:
    @.ci/need cc cargo-hack
    cargo hack clippy --feature-powerset --package keyfob --locked -- -D warnings
    # With the program, whose tests need most of what `just test` compiles: less is compiled twice.
    cargo test --locked --package keyfob --package keyfob-cli --features keyfob/rustcrypto --lib --test zero_alloc
    cargo clippy --package keyfob-cli --no-default-features --locked -- -D warnings

# Compare the public API with the listings in tools/public-api/
api:
    tools/public-api/run

# Write the listings of the public API again
api-update:
    tools/public-api/run --update

# Build the documentation without warnings
doc:
    @.ci/need cc
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked

# Run all tests, as the README says
test:
    @.ci/need cc
    cargo test --workspace --locked

# Build and test with the oldest versions that the manifests allow
minimal-versions:
    .ci/minimal-versions

# Run the examples that end by themselves; each fails if a promise is broken
examples:
    @.ci/need cc
    # Built as `just test` builds them, so that nothing is compiled twice.
    cargo build --workspace --examples --locked
    for example in quickstart rotate leaver custom_store "axum_app --once"; do echo "== $example"; "$CARGO_TARGET_DIR"/debug/examples/$example; done

# Build the example in Pingora, and run its test with a real backend
pingora:
    @.ci/need cc cmake
    cargo test --locked --manifest-path examples/pingora/Cargo.toml

# Build the program for distribution, with manual pages and completions, in target/keyfob
release:
    #!/usr/bin/env bash
    set -euo pipefail
    .ci/need cc
    cargo build --profile dist --locked --package keyfob-cli
    files=$CARGO_TARGET_DIR/keyfob
    mkdir -p "$files"
    cp "$CARGO_TARGET_DIR/dist/keyfob" packaging/keyfob.service packaging/keyfob.toml "$files"
    "$files/keyfob" man --out "$files/man"
    for shell in bash zsh fish; do "$files/keyfob" completions "$shell" >"$files/keyfob.$shell"; done

brief := "CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16"

# Run both benchmarks briefly, to see that they run; the figures need the profile `bench` as it is
bench:
    @.ci/need cc
    {{brief}} cargo bench --bench verify --bench table --locked -- --quick
    {{brief}} cargo bench --bench table --locked --features rustcrypto -- --quick

# Measure the figures of the README again; the machine must do nothing else
figures:
    @.ci/need cc
    cargo bench --bench table --locked -- --write README.md

# Check that no jump, address or time depends on a secret; `--long` takes minutes
constant-time *arguments:
    tools/constant-time/run {{arguments}}

# Measure Keyfob and its alternatives; not part of CI, it compiles much
compare *arguments:
    @.ci/need cc
    cargo test --release --locked --manifest-path tools/compare/Cargo.toml
    cargo run --release --locked --manifest-path tools/compare/Cargo.toml -- {{arguments}}

# Try the interleavings of the index's readers and its writer with loom
models:
    @.ci/need cc
    cargo run --release --locked --manifest-path tools/loom/Cargo.toml

# Play this many seeds of the simulation of replication; CI plays 1,000 with the tests
simulate seeds="100000" *arguments:
    @.ci/need cc
    cargo run --release --locked --package keyfob-simulation -- --seeds {{seeds}} {{arguments}}

# Run every fuzz target for this many seconds
fuzz seconds="20":
    fuzz/run-all {{seconds}}

# Test the tests of the decision modules with mutants; not part of CI, all of them take a night
mutants *arguments:
    @.ci/need cc cargo-mutants
    # The baseline would be run in one package, which does not have all of these tests. A loop without end
    # takes more than five minutes.
    CARGO_PROFILE_DEV_DEBUG=0 cargo mutants --baseline skip --timeout 300 {{arguments}}

# Remove each control of SECURITY.md once and show that its tests fail; not part of CI, it takes an hour
controls *threats:
    @.ci/need cc
    cargo run --quiet --locked --manifest-path tools/controls/Cargo.toml -- {{threats}}
