//! Progress on stderr: bars on a terminal, a line every few seconds elsewhere.
//!
//! A command that does one thing shows it as the [`Display`] itself; one that
//! carries several caches at once has a [`Cache`] for each, which bears its name.

mod bar;
mod screen;
mod task;
mod warning;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use larder::progress::{Phase, Progress, Warning};

use super::log::{self, Fields};
use screen::{Screen, Ticker};
use task::Task;

pub(super) use task::Json;
pub(super) use warning::describe;

/// Shows progress and warnings of a command.
#[derive(Debug)]
pub(super) struct Display {
    screen: Arc<Screen>,
    main: Arc<Task>,
    /// Writes lines, where there are no bars.
    _ticker: Option<Ticker>,
}

/// Shows progress and warnings of one of several caches, until it is dropped.
#[derive(Debug)]
pub(super) struct Cache {
    screen: Arc<Screen>,
    task: Arc<Task>,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let screen = Arc::new(Screen::of_stderr(quiet));
        Self::on(screen)
    }

    fn on(screen: Arc<Screen>) -> Self {
        let main = screen.add(None);
        let ticker = screen.is_log().then(|| Ticker::start(Arc::clone(&screen))).flatten();
        Self { screen, main, _ticker: ticker }
    }

    /// The part of the display that is for the cache of this name. Its bar is
    /// there from the first phase on until it is dropped.
    pub(super) fn cache(&self, name: &str) -> Cache {
        // What happens from now on happens to caches with names.
        self.main.hide();
        let task = self.screen.add(Some(name.to_owned()));
        Cache { screen: Arc::clone(&self.screen), task }
    }

    /// Has warnings told although all else is not.
    pub(super) fn show_warnings(&mut self) {
        self.screen.keeps_warnings_back.store(false, Ordering::Relaxed);
    }

    /// Removes all bars and pauses the lines, each until it begins something again.
    pub(super) fn clear(&self) {
        self.screen.clear();
    }

    /// Prints, without tearing the bars: they are out of the way meanwhile, and
    /// a group of a CI system's log is closed. All bars wait for `print`, which must
    /// not tell warnings or progress itself.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.screen.suspend(print)
    }

    /// Tells of something that stops nothing.
    pub(super) fn warn_that(&self, text: impl std::fmt::Display) {
        self.screen.warn(|| log::warning(None, text, &Fields::Note));
    }
}

impl Progress for Display {
    fn begin(&self, phase: Phase, files: u64, bytes: u64) {
        self.main.begin(phase, files, bytes);
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.main.advance(files, bytes);
    }

    fn warn(&self, warning: Warning) {
        self.screen.warn(|| log::warning(None, describe(&warning), &warning));
    }
}

impl Progress for Cache {
    fn begin(&self, phase: Phase, files: u64, bytes: u64) {
        self.task.begin(phase, files, bytes);
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.task.advance(files, bytes);
    }

    fn warn(&self, warning: Warning) {
        let (name, text) = (self.task.name(), describe(&warning));
        self.screen.warn(|| log::warning(name, text, &warning));
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.screen.remove(&self.task);
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    use super::*;
    use crate::cli::ci::Groups;
    use screen::Form;

    #[test]
    fn many_caches_do_not_wait_for_each_other_for_ever() {
        let terminal = InMemoryTerm::new(24, 80);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let screen = Screen::new(Form::Bars, target, || 80, Groups::of(None));
        let display = Display::on(Arc::new(screen));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let display = &display;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let cache = display.cache(&format!("cache-{number}"));
                        for phase in [Phase::Walk, Phase::Save] {
                            cache.begin(phase, 10, 1_000);
                            (0..10).for_each(|_| cache.advance(1, 100));
                            display.suspend(|| ());
                        }
                        display.screen.warn(|| ());
                    }
                    display.clear();
                });
            }
        });
        drop(display);
        assert_eq!(terminal.contents(), "");
    }
}
