//! Showing a new credential, once.

use keyfob::manage::CreatedKey;
use serde::Serialize;

use crate::{command_context::CommandContext, failure::Failure, settings::Form, terminal};

use super::{KeyView, views};

/// Writes the credential to the standard output: alone on its line (`table`), as `NAME=value`
/// (`env`) or in an object (`json`). Everything else about the key goes to the standard error.
pub(super) async fn show(
    cx: &CommandContext,
    created: CreatedKey,
    done: &str,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct New<'a> {
        credential: &'a str,
        #[serde(flatten)]
        key: KeyView,
    }
    let (credential, key) = created.into_parts();
    let id = cx.format().key_id(key.id);
    // A failure to read more about the key must not prevent showing the secret.
    let view = views(cx, &[key]).await.ok().and_then(|mut keys| keys.pop());
    let text = credential.expose();
    let shown = match (cx.terminal.form(), view) {
        (Form::Json, Some(key)) => terminal::json(&New {
            credential: text,
            key,
        }),
        (Form::Json, None) => terminal::json(&serde_json::json!({ "credential": text, "id": id })),
        (Form::Env, _) => terminal::line(format_args!("KEYFOB_KEY_ID={id}\nKEYFOB_KEY={text}")),
        (Form::Table, view) => {
            cx.terminal.note(format_args!("{done}"));
            if let Some(view) = view {
                cx.terminal.note_table(view.details());
            }
            cx.terminal
                .note(format_args!("the credential, shown only once:"));
            terminal::line(format_args!("{text}"))
        }
    };
    shown.map_err(|failure| {
        let message = format!("the key {id} is {done}, but its credential could not be written");
        Failure::new(failure.exit(), message).hint(format!(
            "use `keyfob keys rotate {id}` to replace its secret"
        ))
    })?;
    cx.terminal.hint(format_args!(
        "send it as `Authorization: Bearer`, or as user name and password (`curl -u`)"
    ));
    Ok(())
}
