//! All output: tables and notes for people, JSON for programs.
//!
//! The result of a command is written to the standard output; notes, warnings, progress and errors
//! to the standard error.

mod count;
mod progress;
mod table_view;
mod visible;

use std::{
    fmt,
    io::{self, Write},
};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::{failure::Failure, settings::Form};

pub(crate) use count::count;
pub(crate) use progress::Progress;
pub(crate) use table_view::{TableView, Tone};
pub(crate) use visible::visible;

/// Writes the output of a command in a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    form: Form,
}

impl Terminal {
    pub(crate) fn new(form: Form) -> Self {
        Self { form }
    }

    pub(crate) fn form(self) -> Form {
        self.form
    }

    /// Writes a result: the value as JSON, or as the table that `table` makes of it.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> TableView,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Json => json(value),
            Form::Table => {
                let mut out = anstream::stdout().lock();
                let colours = out.current_choice() != ColorChoice::Never;
                Ok(table(value).write(&mut out, colours)?)
            }
            Form::Env => Err(no_env()),
        }
    }

    /// Writes a result of one sentence.
    pub(crate) fn say<T: Serialize>(
        self,
        value: &T,
        text: fmt::Arguments<'_>,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Json => json(value),
            Form::Table => line(text),
            Form::Env => Err(no_env()),
        }
    }

    /// Writes a note to the standard error, not in JSON format.
    pub(crate) fn note(self, text: fmt::Arguments<'_>) {
        if self.form != Form::Json {
            tell(Style::new(), "", text);
        }
    }

    /// Writes a hint about what to do next, in table format only.
    pub(crate) fn hint(self, text: fmt::Arguments<'_>) {
        if self.form == Form::Table {
            tell(HINT, "hint: ", text);
        }
    }

    /// Writes a table to the standard error, in table format only.
    pub(crate) fn note_table(self, table: TableView) {
        if self.form == Form::Table {
            let mut out = anstream::stderr().lock();
            let colours = out.current_choice() != ColorChoice::Never;
            // A closed standard error is not an error.
            let _ = table.write(&mut out, colours);
        }
    }

    /// Writes why the command failed.
    pub(crate) fn fail(self, failure: &Failure) {
        let (message, hint) = (failure.message(), failure.next_step());
        if message.is_empty() {
            return;
        }
        if self.form == Form::Json {
            #[derive(Serialize)]
            struct Report<'a> {
                error: &'static str,
                message: &'a str,
                hint: Option<&'a str>,
            }
            let report = Report {
                error: failure.exit().word(),
                message: &message,
                hint: hint.as_deref(),
            };
            let text = serde_json::to_string(&report).unwrap_or_default();
            return tell(Style::new(), "", format_args!("{text}"));
        }
        tell(ERROR, "error: ", format_args!("{message}"));
        if let Some(hint) = hint {
            tell(HINT, "hint: ", format_args!("{hint}"));
        }
    }
}

/// Writes a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Writes a value as one line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Writes a warning, in every format.
pub(crate) fn warn(text: fmt::Arguments<'_>) {
    tell(WARNING, "warning: ", text);
}

/// Writes a line of a result.
pub(crate) fn line(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes bytes unchanged, for files that are written to the standard output.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn tell(style: Style, head: &str, text: fmt::Arguments<'_>) {
    // A closed standard error is not an error.
    let _ = writeln!(anstream::stderr().lock(), "{style}{head}{style:#}{text}");
}

/// The error for a command whose output is not a new credential.
pub(crate) fn no_env() -> Failure {
    Failure::usage("`--output env` is only for `keys create`, `keys rotate` and `serve`")
        .hint("use `--output json`")
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
