//! Progress of long work, shown on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar, or a count if the end is not known. It is removed on drop.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Work with this number of steps.
    pub(crate) fn of(steps: u64, what: &'static str) -> Self {
        Self::draw(
            ProgressBar::new(steps),
            "{msg} [{bar:32}] {pos}/{len} {eta}",
            what,
        )
    }

    /// Work with an unknown number of steps.
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
