//! The server's log, on the standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    exit::Exit,
    failure::Failure,
    settings::{LogForm, ServerSettings},
};

pub(crate) fn start(settings: &ServerSettings) -> Result<(), Failure> {
    let filter = EnvFilter::new(&settings.log);
    // It reports every start, also if there was nothing to migrate. A filter can still name it.
    let filter = match "refinery_core=warn".parse() {
        Ok(quiet) if !settings.log.contains("refinery_core") => filter.add_directive(quiet),
        _ => filter,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let started = match settings.log_form {
        LogForm::Json => registry.with(lines.json()).try_init(),
        LogForm::Text => registry
            .with(lines.with_ansi(io::stderr().is_terminal()))
            .try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("log: {error}")))
}
