//! The search for keys, as it is sent without script: a text with a secret in it must not get into an address.

use axum::response::{IntoResponse, Redirect};

use crate::{
    client::query,
    form::Form,
    secret_text::without_secrets,
    shell::Notice,
    visit::{Answer, Visit},
};

/// Goes to the keys that a form searches for.
pub(crate) async fn submit(visit: Visit, Form(fields): Form) -> Answer {
    let clean: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name, without_secrets(value), value))
        .collect();
    let kept = clean
        .iter()
        .map(|(name, clean, value)| (*name, clean.as_deref().unwrap_or(value)));
    let to = format!("/keys{}", query(kept));
    if clean.iter().any(|(_, clean, _)| clean.is_some()) {
        let notice = Notice::failed("The secret was left out of the search").line(
            "The identifier is enough to find a key. The secret is in no address, and in no log.",
        );
        return Ok(visit.done(&to, notice));
    }
    Ok(Redirect::to(&to).into_response())
}
