//! Showing a new credential, once.

use keyfob::manage::CreatedKey;
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyReads, KeyView},
    settings::Form,
    terminal,
};

/// Writes the credential to the standard output: alone on its line (`table`), as `NAME=value`
/// (`env`) or in an object (`json`). Everything else about the key goes to the standard error.
///
/// Nothing is read from the store: a failure would lose the secret.
pub(super) fn show(
    cx: &CommandContext,
    created: CreatedKey,
    reads: &KeyReads,
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
    let key = reads.view(cx, &key);
    let text = credential.expose();
    let shown = match cx.terminal.form() {
        Form::Json => terminal::json(&New {
            credential: text,
            key,
        }),
        Form::Env => terminal::line(format_args!("KEYFOB_KEY_ID={id}\nKEYFOB_KEY={text}")),
        Form::Table => {
            cx.terminal.note(format_args!("{done}"));
            cx.terminal.note_table(key.details());
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
