//! The colours of results, for eyes that scan: never without a word or a sign that
//! says the same. Whoever prints takes them out where there are none.

use anstyle::{AnsiColor, Style};

/// What was hoped for, or is new.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is worth a look, or is another.
pub(super) const NOTABLE: Style = AnsiColor::Yellow.on_default();
/// What is wrong, or is gone.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
