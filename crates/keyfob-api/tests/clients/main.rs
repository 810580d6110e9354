//! Published clients, installed from their registries, against the control plane on the loopback
//! interface.
//!
//! They need Python with `venv`, and Node.js with npm. Without them the tests print a message and
//! pass, unless `CI=true` is set.

#[path = "../http/fixture.rs"]
#[expect(
    dead_code,
    reason = "here the clients send the requests, not the tests"
)]
mod fixture;
mod generated;
mod node;
mod pydo;
mod python;
mod schemathesis;
mod served;
