//! A secret, shown once.

use askama::Template;
use axum::response::Response;
use zeroize::Zeroizing;

use crate::{
    client::segment,
    shell::{Section, Shell},
    visit::{Visit, page},
    wire::{Key, KeyWithSecret},
};

/// Why there is a new secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Created,
    Rotated,
}

/// The page with a credential: the one text on it that can be copied.
#[derive(Template)]
#[template(path = "secret.html")]
pub(crate) struct Secret {
    shell: Shell,
    key: Key,
    rotated: bool,
    in_force: bool,
    credential: Zeroizing<String>,
    env: Zeroizing<String>,
    /// Whether it is the user's own.
    is_own: bool,
    /// The host of the panel.
    host: String,
}

impl Secret {
    pub(crate) fn page(visit: &Visit, created: KeyWithSecret, why: Why) -> Response {
        let KeyWithSecret {
            key,
            secret,
            in_force,
        } = created;
        let rotated = why == Why::Rotated;
        let title = if rotated {
            "Secret rotated"
        } else {
            "Key created"
        };
        let credential = Zeroizing::new(format!("{}:{}", key.id, &*secret));
        // Both parts are of letters, digits, `_` and `:`.
        let line = Zeroizing::new(format!("KEYFOB_KEY={}\n", &*credential));
        let env = Zeroizing::new(format!("data:text/plain;charset=utf-8,{}", segment(&line)));
        page(&Self {
            shell: Shell::of(visit, title, Section::Create),
            is_own: visit.is(&key.owner),
            host: visit.host.clone(),
            key,
            rotated,
            in_force,
            credential,
            env,
        })
    }
}
