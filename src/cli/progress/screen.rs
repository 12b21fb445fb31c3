//! Where progress is shown: all bars together, or the lines of a log.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use console::measure_text_width;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::bar::{self, Style};
use super::task::{Figures, Task, lock};
use crate::cli::ci::Groups;
use crate::cli::log::{self, Fields, LogFormat};
use crate::cli::output::{bytes, count};

/// How often a log gets lines: often enough to see that it lives, and that a
/// CI system does not take the job for dead.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Of more caches at once than this, a log gets one line for all.
const MOST_LINES: usize = 4;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Nothing,
    Bars,
    Lines,
}

/// What all tasks of a command share.
#[derive(Debug)]
pub(super) struct Screen {
    form: Form,
    bars: MultiProgress,
    style: Style,
    tasks: Mutex<Vec<Arc<Task>>>,
    /// Held while lines are written, so that none comes after its group's end.
    groups: Mutex<Groups>,
    /// Whether warnings are not told.
    pub(super) keeps_warnings_back: AtomicBool,
}

impl Screen {
    pub(super) fn of_stderr(quiet: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = anstream::stderr().is_terminal();
        let form = match log::format() {
            _ if quiet => Form::Nothing,
            LogFormat::Text if is_terminal && !is_dumb => Form::Bars,
            LogFormat::Text | LogFormat::Json => Form::Lines,
        };
        // indicatif's own idea of colours is never asked: bars bring theirs.
        let has_colors = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        let groups = Groups::of(log::ci().filter(|_| form == Form::Lines));
        let screen = Self::new(form, ProgressDrawTarget::stderr(), bar::of_stderr, groups);
        screen.keeps_warnings_back.store(quiet, Ordering::Relaxed);
        Self { style: Style { has_colors, ..screen.style.clone() }, ..screen }
    }

    pub(super) fn new(
        form: Form,
        target: ProgressDrawTarget,
        width: bar::Width,
        groups: Groups,
    ) -> Self {
        let target = if form == Form::Bars { target } else { ProgressDrawTarget::hidden() };
        Self {
            form,
            bars: MultiProgress::with_draw_target(target),
            style: Style { width, has_colors: false, widest: Arc::new(AtomicUsize::new(0)) },
            tasks: Mutex::default(),
            groups: Mutex::new(groups),
            keeps_warnings_back: AtomicBool::new(false),
        }
    }

    /// Whether it is lines that are shown.
    pub(super) fn is_log(&self) -> bool {
        self.form == Form::Lines
    }

    pub(super) fn add(&self, name: Option<String>) -> Arc<Task> {
        let width = name.as_deref().map_or(0, measure_text_width);
        self.style.widest.fetch_max(width, Ordering::Relaxed);
        let bar = (self.form == Form::Bars)
            .then(|| (self.bars.add(ProgressBar::no_length()), self.style.clone()));
        let task = Arc::new(Task::new(name, bar));
        lock(&self.tasks).push(Arc::clone(&task));
        task
    }

    pub(super) fn remove(&self, task: &Arc<Task>) {
        lock(&self.tasks).retain(|other| !Arc::ptr_eq(other, task));
        task.hide();
        if let Some(bar) = task.bar() {
            self.bars.remove(bar);
        }
    }

    pub(super) fn clear(&self) {
        let tasks = lock(&self.tasks).clone();
        tasks.iter().for_each(|task| task.hide());
        lock(&self.groups).close();
    }

    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        // Nothing that is told in between may lie in a folded group.
        let mut groups = lock(&self.groups);
        groups.close();
        self.bars.suspend(print)
    }

    pub(super) fn warn(&self, print: impl FnOnce()) {
        if !self.keeps_warnings_back.load(Ordering::Relaxed) {
            self.suspend(print);
        }
    }

    /// Tells a log how far the work is, in a line for each cache or one for all.
    fn tick(&self, tell: impl Fn(Option<&str>, &str, &Fields)) {
        // Before the tasks are looked at: one that is hidden stays so.
        let mut groups = lock(&self.groups);
        let shown = self.shown();
        if shown.is_empty() {
            return;
        }
        groups.open();
        if log::format() == LogFormat::Text && shown.len() > MOST_LINES {
            let figures = shown.iter().map(|(_, figures)| *figures).collect::<Vec<_>>();
            return tell(None, &line_of_all(&figures), &Fields::Note);
        }
        for (task, figures) in shown {
            tell(task.name(), &figures.line(), &Fields::Progress(figures.json()));
        }
    }

    /// The tasks that are at work, and how far they are.
    fn shown(&self) -> Vec<(Arc<Task>, Figures)> {
        let tasks = lock(&self.tasks).clone();
        let figures = tasks.into_iter().map(|task| {
            let figures = task.figures();
            (task, figures)
        });
        figures.filter(|(_, figures)| figures.is_shown).collect()
    }
}

/// One line for many.
fn line_of_all(all: &[Figures]) -> String {
    let sum = |of: fn(&Figures) -> u64| all.iter().map(of).fold(0, u64::saturating_add);
    format!(
        "{} caches … {} of {} files, {} of {}",
        all.len(),
        count(sum(|one| one.files)),
        count(sum(|one| one.all_files)),
        bytes(sum(|one| one.bytes)),
        bytes(sum(|one| one.all_bytes)),
    )
}

/// The thread that writes lines every few seconds, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Ticker {
    /// Nothing, if the system gives no thread for it: then no lines are written.
    pub(super) fn start(screen: Arc<Screen>) -> Option<Self> {
        let (sender, ended) = bounded(0);
        let write = move || {
            while ended.recv_timeout(LINES_EVERY) == Err(RecvTimeoutError::Timeout) {
                screen.tick(|name, line, fields| log::info(name, line, fields));
            }
            lock(&screen.groups).close();
        };
        let thread = std::thread::Builder::new().spawn(write).ok()?;
        Some(Self(Some((sender, thread))))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            // Its only way to fail is a panic in formatting a line.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;
    use larder::progress::Phase;

    use super::*;
    use crate::cli::ci::CiLog;

    /// A screen of 40 columns, and what is seen on it.
    fn screen() -> (Screen, InMemoryTerm) {
        let terminal = InMemoryTerm::new(10, 40);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        (Screen::new(Form::Bars, target, || 40, Groups::of(None)), terminal)
    }

    /// What is seen once every bar was drawn anew.
    fn seen(screen: &Screen, terminal: &InMemoryTerm) -> String {
        for (task, _) in screen.shown() {
            // Time enough for the limit of how often a screen is drawn.
            std::thread::sleep(Duration::from_millis(60));
            task.bar().expect("a terminal has bars").tick();
        }
        let steady = |line: &str| match line.strip_suffix("s left") {
            Some(rest) => {
                format!("{}Ns left\n", rest.trim_end_matches(|c: char| c.is_ascii_digit()))
            }
            None => format!("{line}\n"),
        };
        terminal.contents().lines().map(steady).collect()
    }

    #[test]
    fn bars_of_several_caches_stand_in_columns() {
        let (screen, terminal) = screen();
        let main = screen.add(None);
        main.hide();
        let npm = screen.add(Some("npm".to_owned()));
        let cargo = screen.add(Some("cargo-home".to_owned()));
        npm.begin(Phase::Restore, 10, 3_000_000);
        npm.advance(5, 1_500_000);
        cargo.begin(Phase::Save, 10, 8_000_000_000);
        insta::assert_snapshot!(seen(&screen, &terminal), @"
        npm        restoring █████░░░░░  Ns left
        cargo-home saving ░░░░░░░░    0 B/8.0 GB
        ");
        // Results come above, and leave no pieces of bars.
        screen.suspend(|| terminal_line(&terminal, "restored ruby: 3 files"));
        insta::assert_snapshot!(seen(&screen, &terminal), @"
        restored ruby: 3 files
        npm        restoring █████░░░░░  Ns left
        cargo-home saving ░░░░░░░░    0 B/8.0 GB
        ");
        screen.remove(&npm);
        insta::assert_snapshot!(seen(&screen, &terminal), @"
        restored ruby: 3 files
        cargo-home saving ░░░░░░░░    0 B/8.0 GB
        ");
        screen.remove(&cargo);
        screen.clear();
        assert_eq!(seen(&screen, &terminal), "restored ruby: 3 files\n");
        // Something begins again.
        main.begin(Phase::Verify, 10, 1_000);
        insta::assert_snapshot!(seen(&screen, &terminal), @"
        restored ruby: 3 files
        verifying ░░░░░░░    0 B/1.0 kB
        ");
        screen.clear();
        assert_eq!(seen(&screen, &terminal), "restored ruby: 3 files\n");
    }

    fn terminal_line(terminal: &InMemoryTerm, text: &str) {
        use indicatif::TermLike as _;
        terminal.write_line(text).expect("memory can be written");
    }

    /// What a log is told of a screen at one tick.
    fn lines(screen: &Screen) -> Vec<String> {
        let lines = Mutex::new(vec![]);
        screen.tick(|name, line, _| {
            // Without the seconds, of which there may be more on a slow machine.
            let line = line
                .strip_suffix(" s")
                .and_then(|line| line.rsplit_once(' '))
                .map_or(line, |(line, _)| line);
            lock(&lines).push(format!("{}: {line}", name.unwrap_or("-")));
        });
        lock(&lines).clone()
    }

    #[test]
    fn a_log_speaks_of_what_is_at_work() {
        let screen =
            Screen::new(Form::Lines, ProgressDrawTarget::hidden(), || 40, Groups::of(None));
        let main = screen.add(None);
        assert_eq!(lines(&screen), ["-: starting …"]);
        main.hide();
        let npm = screen.add(Some("npm".to_owned()));
        assert_eq!(lines(&screen), [""; 0], "no cache has begun");
        npm.begin(Phase::Walk, 0, 0);
        assert_eq!(lines(&screen), ["npm: looking at files …"]);
        main.begin(Phase::Mark, 9, 0);
        main.advance(3, 0);
        let both = ["-: reading manifests … 3 of 9 files,", "npm: looking at files …"];
        assert_eq!(lines(&screen), both);
        screen.clear();
        assert_eq!(lines(&screen), [""; 0], "all is cleared");
        npm.begin(Phase::Save, 3, 30);
        let more: Vec<_> = (1..=MOST_LINES).map(|n| screen.add(Some(n.to_string()))).collect();
        for task in &more {
            task.begin(Phase::Save, 3, 30);
            task.advance(1, 10);
        }
        assert_eq!(lines(&screen), ["-: 5 caches … 4 of 15 files, 40 B of 150 B"]);
        more.iter().for_each(|task| screen.remove(task));
        screen.remove(&npm);
        assert_eq!(lines(&screen), [""; 0], "they are gone");
    }

    #[test]
    fn only_progress_is_in_a_group() {
        let github = CiLog::Github.system(|_| None);
        let groups = Groups::silent(github);
        let screen = Screen::new(Form::Lines, ProgressDrawTarget::hidden(), || 40, groups);
        let check = |expected: (bool, u32)| {
            let groups = lock(&screen.groups);
            assert_eq!((groups.is_open(), groups.number()), expected);
        };
        let task = screen.add(Some("npm".to_owned()));
        lines(&screen);
        check((false, 0));
        task.begin(Phase::Save, 3, 30);
        lines(&screen);
        lines(&screen);
        check((true, 1));
        screen.warn(|| ());
        check((false, 1));
        lines(&screen);
        check((true, 2));
        screen.suspend(|| ());
        check((false, 2));
        lines(&screen);
        screen.clear();
        check((false, 3));
        lines(&screen);
        check((false, 3));
    }
}
