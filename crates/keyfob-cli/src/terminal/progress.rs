//! How far long work has come: shown where somebody watches, and nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar, or a count where the end is not known. It goes when this goes.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Work of so many steps. Nothing is drawn unless the standard error is a terminal.
    pub(crate) fn of(steps: u64, what: &'static str) -> Self {
        Self::draw(
            ProgressBar::new(steps),
            "{msg} [{bar:32}] {pos}/{len} {eta}",
            what,
        )
    }

    /// Work whose end is not known.
    pub(crate) fn open(what: &'static str) -> Self {
        let progress = Self::draw(
            ProgressBar::no_length(),
            "{spinner} {msg} {human_pos}",
            what,
        );
        progress.0.enable_steady_tick(Duration::from_millis(120));
        progress
    }

    fn draw(bar: ProgressBar, template: &str, what: &'static str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        Self(bar)
    }

    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
