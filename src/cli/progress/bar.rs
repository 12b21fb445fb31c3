//! What a bar's line says: as much as there is room for.
//!
//! A line that wraps cannot be drawn over, so each is made for the width that the
//! terminal has at that moment. What is of least use is left out first.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anstyle::AnsiColor;
use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};
use indicatif::{HumanDuration, ProgressState, ProgressStyle};

use super::task::Figures;
use crate::cli::output::{count, short_bytes};

/// Of a shorter bar nothing can be told.
const MIN_BAR: usize = 6;
/// A longer bar tells no more.
const MAX_BAR: usize = 30;
/// The spinner, and a space.
const SPINNER: usize = 2;

/// How wide the terminal is.
pub(super) type Width = fn() -> usize;

/// The width of the terminal that stderr is.
pub(super) fn of_stderr() -> usize {
    Term::stderr().size().1.into()
}

/// How all bars look.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) width: Width,
    pub(super) has_colors: bool,
    /// How wide the widest name is.
    pub(super) widest: Arc<AtomicUsize>,
}

impl Style {
    /// The style of a bar, or of a spinner if it is not known how much there is to do.
    pub(super) fn of(
        &self,
        name: Option<String>,
        is_bar: bool,
        figures: impl Fn() -> Figures + Clone + Send + Sync + 'static,
    ) -> ProgressStyle {
        let template = if is_bar { "{line}" } else { "{spinner} {line}" };
        let style = self.clone();
        let line = move |state: &ProgressState, out: &mut dyn Write| {
            let width = (style.width)().saturating_sub(if is_bar { 0 } else { SPINNER });
            let widest = style.widest.load(Ordering::Relaxed);
            let shown = Shown {
                name: name.as_deref().map(|name| (name, widest)),
                figures: figures(),
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                rate: state.per_sec() as u64,
                elapsed: state.elapsed(),
                left: state.eta(),
            };
            // What is drawn into is a text.
            let _ = out.write_str(&shown.line(width, style.has_colors));
        };
        let style = ProgressStyle::with_template(template).expect("the template is sound");
        style.with_key("line", line)
    }
}

/// What there is to show.
struct Shown<'a> {
    /// The name, and the width of the widest.
    name: Option<(&'a str, usize)>,
    figures: Figures,
    /// Bytes per second.
    rate: u64,
    elapsed: Duration,
    left: Duration,
}

impl Shown<'_> {
    /// The line, not wider than `width` columns.
    fn line(&self, width: usize, has_colors: bool) -> String {
        let name = self.name.map(|(name, widest)| {
            let column = widest.min((width / 3).max(8));
            pad_str(name, column, Alignment::Left, Some("…")).into_owned() + " "
        });
        let name = name.unwrap_or_default();
        let phase = self.figures.phase;
        let room = width.saturating_sub(measure_text_width(&name) + measure_text_width(phase));
        let rest = if self.figures.all_bytes == 0 {
            self.spinner_rest(room)
        } else {
            self.bar_rest(room, has_colors)
        };
        let line = if has_colors {
            let bold = anstyle::Style::new().bold();
            format!("{bold}{name}{bold:#}{phase}{rest}")
        } else {
            format!("{name}{phase}{rest}")
        };
        truncate_str(&line, width, "").into_owned()
    }

    /// How long it has taken, after how many files.
    fn spinner_rest(&self, room: usize) -> String {
        let elapsed = format!(" {:#}", HumanDuration(self.elapsed));
        if self.figures.all_files == 0 {
            return elapsed;
        }
        let files = format!(" {}", self.files());
        let fits = measure_text_width(&files) + measure_text_width(&elapsed) <= room;
        if fits { files + &elapsed } else { elapsed }
    }

    /// The bar, and what else there is room for.
    fn bar_rest(&self, mut room: usize, has_colors: bool) -> String {
        let Figures { bytes, all_bytes, .. } = self.figures;
        // Without a rate there is nothing to say of the time; its room stays.
        let left = match self.rate {
            0 => String::new(),
            _ => format!("{:#} left", HumanDuration(self.left)),
        };
        let pieces = [
            format!(" {:>6}/{:>6}", short_bytes(bytes), short_bytes(all_bytes)),
            format!(" {:>6}/s", short_bytes(self.rate)),
            format!(" {}", self.files()),
            format!(" {left:>8}"),
        ];
        // The time that is left is of more use than the rate, and that than files.
        let mut kept = [false; 4];
        for at in [0, 3, 1, 2] {
            let needed = measure_text_width(&pieces[at]);
            if needed + 1 + MIN_BAR <= room {
                kept[at] = true;
                room -= needed;
            }
        }
        let room = room.saturating_sub(1);
        let bar = match room {
            MIN_BAR.. => bar(bytes, all_bytes, room.min(MAX_BAR), has_colors),
            4.. => format!("{:3}%", share(bytes, all_bytes, 100)),
            _ => String::new(),
        };
        let pieces = pieces.iter().zip(kept).filter_map(|(piece, kept)| kept.then_some(&**piece));
        format!(" {bar}{}", pieces.collect::<String>())
    }

    /// The files, as wide at the begin as at the end.
    fn files(&self) -> String {
        let all = count(self.figures.all_files).to_string();
        format!("{:>width$}/{all} files", count(self.figures.files).to_string(), width = all.len())
    }
}

/// The part of `width` that is done.
fn share(bytes: u64, all_bytes: u64, width: usize) -> usize {
    let part = u128::from(bytes.min(all_bytes)) * width as u128 / u128::from(all_bytes.max(1));
    usize::try_from(part).unwrap_or(width)
}

fn bar(bytes: u64, all_bytes: u64, width: usize, has_colors: bool) -> String {
    let filled = share(bytes, all_bytes, width);
    let (done, open) = ("█".repeat(filled), "░".repeat(width - filled));
    if !has_colors {
        return done + &open;
    }
    let (cyan, dim) = (AnsiColor::Cyan.on_default(), anstyle::Style::new().dimmed());
    format!("{cyan}{done}{cyan:#}{dim}{open}{dim:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::task::Task;
    use larder::progress::Phase;

    fn figures(phase: Phase, files: u64, bytes: u64) -> Figures {
        let task = Task::new(None, None);
        task.begin(phase, files, bytes);
        task.advance(files / 3, bytes / 3);
        task.figures()
    }

    fn shown(name: Option<(&str, usize)>, figures: Figures) -> Shown<'_> {
        let (elapsed, left) = (Duration::from_secs(30), Duration::from_secs(59));
        Shown { name, figures, rate: 12_345_678, elapsed, left }
    }

    /// The line at several widths, between marks where the terminal ends.
    fn lines(shown: &Shown) -> String {
        let line = |width: usize| {
            let line = shown.line(width, false);
            let space = " ".repeat(width - measure_text_width(&line));
            format!("{line}{space}|\n")
        };
        [120, 80, 60, 40, 20, 5].map(line).concat()
    }

    #[test]
    fn a_bar_shows_what_there_is_room_for() {
        let restore = figures(Phase::Restore, 42_160, 1_234_567_890);
        insta::assert_snapshot!(lines(&shown(None, restore)), @"
        restoring ██████████░░░░░░░░░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 14,053/42,160 files 59s left                            |
        restoring ██████░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 14,053/42,160 files 59s left|
        restoring ██████░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 59s left|
        restoring ██░░░░░ 412 MB/1.2 GB 59s left|
        restoring ███░░░░░░░|
        resto|
        ");
        insta::assert_snapshot!(lines(&shown(Some(("npm", 12)), restore)), @"
        npm          restoring ██████████░░░░░░░░░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 14,053/42,160 files 59s left               |
        npm          restoring ████████░░░░░░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 59s left|
        npm          restoring ████░░░░░░░░░░ 412 MB/1.2 GB 59s left|
        npm          restoring ██░░░░░░ 59s left|
        npm      restoring  |
        npm  |
        ");
        insta::assert_snapshot!(lines(&shown(Some(("パッケージの長い名前", 20)), restore)), @"
        パッケージの長い名前 restoring ██████████░░░░░░░░░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 14,053/42,160 files 59s left       |
        パッケージの長い名前 restoring █████░░░░░░░░░░░░ 412 MB/1.2 GB  12 MB/s 59s left|
        パッケージの長い名前 restoring ██░░░░ 412 MB/1.2 GB 59s left|
        パッケージの… restoring ██░░░░░ 59s left|
        パッケ… restoring   |
        パッ |
        ");
        let plain = figures(Phase::Plain, 1_000, 1_000_000);
        insta::assert_snapshot!(lines(&shown(None, plain)), @"
        writing plain objects █████████░░░░░░░░░░░░░░░░░░░░░ 333 kB/1.0 MB  12 MB/s   333/1,000 files 59s left                  |
        writing plain objects ██░░░░░░ 333 kB/1.0 MB  12 MB/s   333/1,000 files 59s left|
        writing plain objects █░░░░░ 333 kB/1.0 MB  12 MB/s 59s left|
        writing plain objects ██░░░░░░░ 59s left|
        writing plain object|
        writi|
        ");
    }

    #[test]
    fn a_spinner_shows_what_there_is_room_for() {
        let walk = figures(Phase::Walk, 0, 0);
        insta::assert_snapshot!(lines(&shown(Some(("npm", 3)), walk)), @"
        npm looking at files 30s                                                                                                |
        npm looking at files 30s                                                        |
        npm looking at files 30s                                    |
        npm looking at files 30s                |
        npm looking at files|
        npm l|
        ");
        let index = figures(Phase::Index, 1_000, 0);
        insta::assert_snapshot!(lines(&shown(None, index)), @"
        indexing   333/1,000 files 30s                                                                                          |
        indexing   333/1,000 files 30s                                                  |
        indexing   333/1,000 files 30s                              |
        indexing   333/1,000 files 30s          |
        indexing 30s        |
        index|
        ");
    }

    #[test]
    fn no_line_is_too_wide_and_colours_take_no_room() {
        let names = [None, Some(("n", 1)), Some(("a-very-long-name-of-a-cache", 27))];
        for (files, bytes) in [(0, 0), (9, 0), (1, 1), (1_000_000, u64::MAX)] {
            for name in names {
                let shown = shown(name, figures(Phase::Plain, files, bytes));
                for width in 0..130 {
                    let (plain, colored) = (shown.line(width, false), shown.line(width, true));
                    assert!(measure_text_width(&plain) <= width, "{width}: {plain}");
                    assert_eq!(console::strip_ansi_codes(&colored), plain);
                }
            }
        }
    }

    #[test]
    fn a_bar_without_a_rate_says_no_time() {
        let restore = figures(Phase::Restore, 3, 30);
        let idle = Shown { rate: 0, ..shown(None, restore) };
        assert!(!idle.line(80, false).contains("left"), "{}", idle.line(80, false));
    }
}
