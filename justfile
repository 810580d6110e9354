# The recipes that CI runs. `just` without a name lists them.

_list:
    @just --list

# Formatting of the workspace and of the fuzz targets
fmt:
    cargo fmt --all --check
    cargo fmt --check --manifest-path fuzz/Cargo.toml

# Lints, with every feature and with none
clippy:
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    cargo clippy --no-default-features --locked -- -D warnings

# All tests, as the README says
test:
    cargo test --workspace --locked

# The core in every combination of its features
features:
    cargo hack check --feature-powerset --package keyfob --locked

# Documentation without warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked

# Licences, bans and sources of what we build on
deny:
    cargo deny check bans licenses sources

# Spelling
typos:
    typos

# Every fuzz target for this many seconds
fuzz seconds="20":
    fuzz/run-all {{seconds}}

# What a verification costs, as ratios
bench:
    cargo bench --bench verify --locked

# The job of the README, and the examples that fail if a promise is broken
examples:
    cargo run --release --locked --example quickstart
    cargo run --release --locked --example rotate
    cargo run --release --locked --example leaver
    cargo run --release --locked --example custom_store
