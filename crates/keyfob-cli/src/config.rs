//! `keyfob config show`

use clap::Subcommand;
use keyfob::key::PepperId;
use serde::Serialize;

use crate::{
    failure::Failure,
    settings::{Listed, Settings},
    terminal::{TableView, Terminal, Tone, visible},
};

/// Show the settings.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting, its value and its source: flag, environment, file or default
    Show,
}

#[derive(Serialize)]
struct Shown<'a> {
    /// The configuration file that is in force.
    file: Option<String>,
    settings: &'a [Listed],
    peppers: Vec<PepperView>,
}

#[derive(Serialize)]
struct PepperView {
    number: u8,
    from: String,
    current: bool,
}

impl Config {
    pub(crate) fn run(self, settings: &Settings, terminal: Terminal) -> Result<(), Failure> {
        let Self::Show = self;
        let current = settings.peppers.current_id().map(PepperId::get);
        let peppers = settings.pepper_sources.iter();
        let shown = Shown {
            file: settings
                .file
                .as_ref()
                .map(|path| path.display().to_string()),
            settings: &settings.listed,
            peppers: peppers
                .map(|(number, from)| PepperView {
                    number: *number,
                    from: from.clone(),
                    current: current == Some(*number),
                })
                .collect(),
        };
        terminal.note(format_args!(
            "configuration file: {}",
            visible(shown.file.as_deref().unwrap_or("none"))
        ));
        terminal.answer(&shown, |shown| {
            let mut table = TableView::new(["SETTING", "VALUE", "FROM"], "");
            for listed in shown.settings {
                table.row([
                    (listed.name.clone(), Tone::Plain),
                    (listed.value.clone(), Tone::Plain),
                    (listed.origin.to_string(), Tone::Dim),
                ]);
            }
            for pepper in &shown.peppers {
                let current = if pepper.current { "current" } else { "old" };
                table.row([
                    (format!("pepper {}", pepper.number), Tone::Plain),
                    (current.to_owned(), Tone::Plain),
                    (pepper.from.clone(), Tone::Dim),
                ]);
            }
            table
        })
    }
}
