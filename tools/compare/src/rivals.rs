//! The rivals, each used as its documentation says by somebody who wants what Keyfob gives.
//!
//! Tables are plain maps without a lock, which is the best that can be said of them: a service
//! that revokes while it serves puts a lock around them, as [`straw_man::Locked`] does.

mod api_keys;
mod argon2id;
mod biscuit;
mod jwt;
mod keyfob;
mod paseto;
mod prefixed;
mod straw_man;

use crate::rival::Rival;

/// All rivals, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Rival>> {
    vec![
        Box::new(keyfob::Keyfob::text()),
        Box::new(keyfob::Keyfob::header()),
        Box::new(straw_man::Unlocked::default()),
        Box::new(straw_man::Locked::default()),
        Box::new(prefixed::Prefixed::new()),
        Box::new(api_keys::ApiKeys::cached()),
        Box::new(jwt::Jwt::hs256()),
        Box::new(paseto::Local::new()),
        Box::new(jwt::Jwt::eddsa()),
        Box::new(jwt::Jwt::es256()),
        Box::new(paseto::Public::new()),
        Box::new(biscuit::Signed::new()),
        Box::new(argon2id::Argon2id::default()),
        Box::new(api_keys::ApiKeys::plain()),
    ]
}
