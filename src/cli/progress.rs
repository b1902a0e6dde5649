//! Progress bars, for work that takes over about a second, on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Ui;

/// Progress over a number of bytes.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    what: &'static str,
    shown: bool,
}

/// How long work goes on before it shows.
const PATIENCE: Duration = Duration::from_millis(800);

impl Progress {
    pub(crate) fn new(ui: &Ui, what: &'static str) -> Self {
        let bar = ui.progress.then(ProgressBar::hidden);
        Self { bar, begun: Instant::now(), what, shown: false }
    }

    /// `done` of `total` bytes are done; a total of 0 is not known.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if !self.shown && self.begun.elapsed() > PATIENCE {
            self.shown = true;
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let template = match total {
                0 => "{msg} {bytes} ({bytes_per_sec})",
                _ => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
            };
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message(self.what);
        }
        bar.set_length(total.max(done));
        bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
