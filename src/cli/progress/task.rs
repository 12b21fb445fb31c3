//! What one piece of work has done so far: its bar, and what a log says of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use larder::progress::Phase;
use serde::Serialize;

use super::bar::Style;
use crate::cli::output::{bytes, count};

/// How often a bar moves by itself, so that it is seen to live.
const TICK: Duration = Duration::from_millis(100);

/// The figures of the phase that is going on. What is not known is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    /// Whether there is anything to show.
    pub(super) is_shown: bool,
    pub(super) phase: &'static str,
    began: Instant,
    pub(super) files: u64,
    pub(super) all_files: u64,
    pub(super) bytes: u64,
    pub(super) all_bytes: u64,
}

/// One piece of work, with a name if there are others beside it.
#[derive(Debug)]
pub(super) struct Task {
    name: Option<String>,
    /// Never held while the bar is called, which reads them itself.
    figures: Arc<Mutex<Figures>>,
    /// On terminals alone.
    bar: Option<(ProgressBar, Style)>,
}

/// What programs read of it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Json {
    phase: &'static str,
    files: u64,
    all_files: u64,
    bytes: u64,
    all_bytes: u64,
    seconds: f64,
}

impl Task {
    pub(super) fn new(name: Option<String>, bar: Option<(ProgressBar, Style)>) -> Self {
        let figures = Figures {
            // Where there is a name there is a beginning.
            is_shown: name.is_none(),
            phase: "starting",
            began: Instant::now(),
            files: 0,
            all_files: 0,
            bytes: 0,
            all_bytes: 0,
        };
        Self { name, figures: Arc::new(Mutex::new(figures)), bar }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref().map(|(bar, _)| bar)
    }

    pub(super) fn figures(&self) -> Figures {
        *lock(&self.figures)
    }

    pub(super) fn begin(&self, phase: Phase, files: u64, bytes: u64) {
        *lock(&self.figures) = Figures {
            is_shown: true,
            phase: in_words(phase),
            began: Instant::now(),
            files: 0,
            all_files: files,
            bytes: 0,
            all_bytes: bytes,
        };
        if let Some((bar, style)) = &self.bar {
            let figures = Arc::clone(&self.figures);
            bar.set_style(style.of(self.name.clone(), bytes > 0, move || *lock(&figures)));
            bar.reset();
            bar.set_length(bytes);
            bar.enable_steady_tick(TICK);
        }
    }

    pub(super) fn advance(&self, files: u64, bytes: u64) {
        {
            let mut figures = lock(&self.figures);
            figures.files += files;
            figures.bytes += bytes;
        }
        if let Some(bar) = self.bar() {
            bar.inc(bytes);
        }
    }

    /// Removes the bar, until something begins again.
    pub(super) fn hide(&self) {
        lock(&self.figures).is_shown = false;
        if let Some(bar) = self.bar() {
            bar.finish_and_clear();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Walk => "looking at files",
        Phase::Save => "saving",
        Phase::Compare => "comparing",
        Phase::Restore => "restoring",
        Phase::Verify => "verifying",
        Phase::Mark => "reading manifests",
        Phase::Index => "indexing",
        Phase::Repack => "repacking",
        Phase::Plain => "writing plain objects",
    }
}

impl Figures {
    /// A line for a log.
    pub(super) fn line(&self) -> String {
        let elapsed = self.began.elapsed();
        let mut line = format!("{} …", self.phase);
        // Writing to a text does not fail.
        if self.all_files > 0 {
            let _ = write!(line, " {} of {} files,", count(self.files), count(self.all_files));
        }
        if self.all_bytes > 0 {
            let rate = rate(self.bytes, elapsed);
            let (done, all) = (bytes(self.bytes), bytes(self.all_bytes));
            let _ = write!(line, " {done} of {all}, {}/s", bytes(rate));
        } else {
            let _ = write!(line, " {:.0} s", elapsed.as_secs_f64());
        }
        line
    }

    pub(super) fn json(&self) -> Json {
        Json {
            phase: self.phase,
            files: self.files,
            all_files: self.all_files,
            bytes: self.bytes,
            all_bytes: self.all_bytes,
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

/// Bytes per second.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people, and no time is shorter than a millisecond"
)]
fn rate(bytes: u64, elapsed: Duration) -> u64 {
    (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known() {
        let began = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let check = |files: u64, bytes: u64, expected: &str| {
            let figures = Figures {
                is_shown: true,
                phase: "restoring",
                began,
                files: files / 2,
                all_files: files,
                bytes: bytes / 2,
                all_bytes: bytes,
            };
            assert_eq!(figures.line(), expected);
        };
        check(0, 0, "restoring … 10 s");
        check(3_000, 0, "restoring … 1,500 of 3,000 files, 10 s");
        let line = Figures {
            is_shown: true,
            phase: "restoring",
            began,
            files: 1_500,
            all_files: 3_000,
            bytes: 0,
            all_bytes: 2_000_000,
        };
        assert_eq!(line.line(), "restoring … 1,500 of 3,000 files, 0 B of 2.00 MB, 0 B/s");
    }
}
