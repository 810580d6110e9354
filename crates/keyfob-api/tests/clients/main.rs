//! Clients that others wrote, from their registry, against the control plane on loopback.
//!
//! They need Python with `venv`. Without it the tests say so and pass, unless `CI=true` is set.

#[path = "../http/fixture.rs"]
#[expect(dead_code, reason = "here the clients ask, not the tests by hand")]
mod fixture;
mod pydo;
mod python;
mod schemathesis;
mod served;
