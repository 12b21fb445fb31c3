//! Progress on stderr: a bar on a terminal, a line every few seconds elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use larder::progress::{Phase, Progress, Warning};
use larder::relpath::display;

/// How often a log gets a line: often enough to see that it lives, and that a
/// CI system does not take the job for dead.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress and warnings.
#[derive(Debug)]
pub(super) struct Display {
    state: Arc<Mutex<State>>,
    /// Dropped to end the thread that writes lines.
    lines: Option<(Sender<()>, JoinHandle<()>)>,
    /// Whether warnings are kept back.
    quiet: bool,
}

#[derive(Debug)]
struct State {
    /// Whether there is anything to show.
    is_shown: bool,
    bar: ProgressBar,
    phase: &'static str,
    began: Instant,
    files: u64,
    all_files: u64,
    bytes: u64,
    all_bytes: u64,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            // Hides itself where stderr is no terminal.
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        };
        let state = State {
            is_shown: true,
            bar,
            phase: "starting",
            began: Instant::now(),
            files: 0,
            all_files: 0,
            bytes: 0,
            all_bytes: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let is_log = !quiet && !anstream::stderr().is_terminal();
        let lines = is_log.then(|| {
            let (sender, ended) = bounded(0);
            let state = Arc::clone(&state);
            let thread = std::thread::spawn(move || {
                while ended.recv_timeout(LINE_EVERY) == Err(RecvTimeoutError::Timeout) {
                    let state = lock(&state);
                    if state.is_shown {
                        anstream::eprintln!("{}", state.line());
                    }
                }
            });
            (sender, thread)
        });
        Self { state, lines, quiet }
    }

    /// Has warnings told although all else is not.
    pub(super) fn show_warnings(&mut self) {
        self.quiet = false;
    }

    /// Removes the bar and pauses the lines, until something begins again.
    pub(super) fn clear(&self) {
        let mut state = lock(&self.state);
        state.is_shown = false;
        state.bar.finish_and_clear();
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.lines.take() {
            drop(sender);
            // Its only way to fail is a panic in formatting a line.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn line(&self) -> String {
        let elapsed = self.began.elapsed().as_secs_f64();
        if self.all_bytes == 0 {
            return format!("{} … {elapsed:.0} s", self.phase);
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rate = (self.bytes as f64 / elapsed) as u64;
        format!(
            "{} … {} of {} files, {} of {}, {}/s",
            self.phase,
            HumanCount(self.files),
            HumanCount(self.all_files),
            DecimalBytes(self.bytes),
            DecimalBytes(self.all_bytes),
            DecimalBytes(rate),
        )
    }
}

impl Progress for Display {
    fn begin(&self, phase: Phase, files: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.phase = match phase {
            Phase::Walk => "looking at files",
            Phase::Save => "saving",
            Phase::Compare => "comparing",
            Phase::Restore => "restoring",
            Phase::Verify => "verifying",
            Phase::Mark => "reading manifests",
            Phase::Index => "indexing",
            Phase::Repack => "repacking",
            Phase::Plain => "writing plain objects",
        };
        state.is_shown = true;
        state.began = Instant::now();
        (state.files, state.all_files) = (0, files);
        (state.bytes, state.all_bytes) = (0, bytes);
        let template = if bytes == 0 {
            "{spinner} {prefix} {elapsed}"
        } else {
            "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} \
             {msg} files, {eta} left"
        };
        let style = ProgressStyle::with_template(template).expect("the template is sound");
        state.bar.set_style(style);
        state.bar.reset();
        state.bar.set_prefix(state.phase);
        state.bar.set_length(bytes);
        state.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn advance(&self, files: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.files += files;
        state.bytes += bytes;
        if !state.bar.is_hidden() {
            state.bar.set_position(state.bytes);
            let message = format!("{}/{}", HumanCount(state.files), HumanCount(state.all_files));
            state.bar.set_message(message);
        }
    }

    fn warn(&self, warning: Warning) {
        self.warn_that(describe(&warning));
    }
}

impl Display {
    /// Tells of something that stops nothing.
    pub(super) fn warn_that(&self, text: impl std::fmt::Display) {
        const WARNING: Style = AnsiColor::Yellow.on_default().bold();
        if !self.quiet {
            let bar = lock(&self.state).bar.clone();
            bar.suspend(|| anstream::eprintln!("{WARNING}warning:{WARNING:#} {text}"));
        }
    }
}

pub(super) fn describe(warning: &Warning) -> String {
    let shown = |path: &std::path::Path| display(path.as_os_str().as_encoded_bytes()).into_owned();
    match warning {
        Warning::SkippedSpecial { path, what } => {
            format!("{} is left out: it is a {what}", shown(path))
        }
        Warning::SkippedUnreadable { error } => format!("left out: {error}"),
        Warning::Vanished { path } => {
            format!("{} is left out: it vanished while it was saved", shown(path))
        }
        Warning::NothingThere { path } => format!("there is nothing to save at {}", shown(path)),
        Warning::LinkAsMount { path } => format!(
            "{} is a symbolic link, and saved as that: what it points to is not",
            shown(path)
        ),
        Warning::IgnoredDamage { error } => format!("not used: {error}"),
        Warning::WithoutEffect { word } => {
            format!("{word} in --store has no effect: larder keeps its own layout below prefix")
        }
        Warning::NoConditionalWrites => {
            "the store has no conditional writes: two first saves of an empty store at the same \
             time may both set it up; `larder doctor` tells more, and conditional_writes=false in \
             the store's location ends this warning"
                .to_owned()
        }
        Warning::NotKept { error } => format!("the local cache keeps no more chunks: {error}"),
        Warning::NotRefreshed { error } => {
            format!("the cache could not be marked as used, and may be removed early: {error}")
        }
        Warning::Broken { object } => format!(
            "{object} needs packs that are gone: the job that saved it died, or a rule of the bucket \
             deleted them; a save of it with --check-packs mends it, `larder verify --repair` \
             removes it"
        ),
        Warning::NotDeleted { error } => format!("left for the next flush: {error}"),
        Warning::NoRecord { error } => format!("the next save will read all files: {error}"),
    }
}
