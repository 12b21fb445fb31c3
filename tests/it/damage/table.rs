//! What must come of damage: the one table, which the page shows, too.

use larder::code::Code;

use super::harm::Damage::{
    self, Deletion, Earlier, Flip, Newer, OtherKind, OtherOfKind, Truncation, ZeroPage, Zeros,
};
use super::harm::Place::{
    self, Delta, GcMarks, GcState, Manifest, Marker, PackBody, PackFooter, PackTrailer, StatRecord,
    TableFilter, TableRows, TierEntry, TierTally,
};
use Outcome::{Drops, Exits, Fine, Mends, Miss, No, Older, Warns};

/// What a command comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As if there were no damage; of a restore: what was saved last.
    Fine,
    /// The same, and the damage is told.
    Warns,
    /// As if the cache had never been saved.
    Miss,
    /// What was saved before is restored.
    Older,
    /// The store is sound again, and has the cache still.
    Mends,
    /// The store is sound again, without the cache.
    Drops,
    /// Nothing is done, and this is the exit code.
    Exits(u8),
    /// The command has nothing to do with it.
    No,
}

impl Outcome {
    /// What the page says.
    pub(super) fn text(self) -> String {
        match self {
            Self::Fine => "fine".into(),
            Self::Warns => "warns".into(),
            Self::Miss => "miss".into(),
            Self::Older => "older".into(),
            Self::Mends => "mends".into(),
            Self::Drops => "drops".into(),
            Self::Exits(code) => format!("exit {code}"),
            Self::No => "–".into(),
        }
    }
}

/// Place, kinds of damage to it, and what the [`COMMANDS`] come to.
pub(super) type Row = (Place, &'static [Damage], Outcomes);

pub(super) type Outcomes = [Outcome; COMMANDS.len()];

/// The columns. All are run on the damaged store, but for the two in which a restore
/// comes after.
pub(super) const COMMANDS: [&str; 8] = [
    "`restore`",
    "`save`",
    "`restore` then",
    "`verify`",
    "`verify --read-data`",
    "`flush`",
    "`verify --read-data --repair`",
    "`restore` then",
];

#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    (Marker, &[Flip, Truncation, Zeros, ZeroPage, OtherKind], [Exits(11), Exits(11), Exits(11), Exits(11), Exits(11), Exits(11), Mends, Fine]),
    (Marker, &[Deletion], [Miss, Fine, Fine, Exits(4), Exits(4), Fine, Mends, Fine]),
    (Marker, &[OtherOfKind], [Fine, Fine, Fine, Fine, Fine, Fine, Fine, Fine]),
    (Marker, &[Newer], [Exits(11), Exits(11), Exits(11), Exits(11), Exits(11), Exits(11), Exits(11), Exits(11)]),
    (Manifest, &[Flip, Truncation, Zeros, ZeroPage, OtherOfKind, OtherKind], [Exits(4), Warns, Fine, Exits(4), Exits(4), Exits(4), Drops, Miss]),
    (Manifest, &[Deletion], [Miss, Fine, Fine, Fine, Fine, Fine, Fine, Miss]),
    (Manifest, &[Earlier], [Older, Fine, Fine, Fine, Fine, Fine, Fine, Older]),
    (Manifest, &[Newer], [Exits(11), Warns, Fine, Exits(11), Exits(11), Exits(11), Exits(11), Exits(11)]),
    (PackBody, &[Flip, ZeroPage], [Exits(4), Fine, Exits(4), Fine, Exits(4), Fine, Drops, Miss]),
    (PackBody, &[Truncation, Zeros, OtherOfKind, OtherKind], [Exits(4), Fine, Exits(4), Exits(4), Exits(4), Fine, Drops, Miss]),
    (PackBody, &[Deletion], [Exits(4), Fine, Exits(4), Exits(4), Exits(4), Warns, Drops, Miss]),
    (PackFooter, &[Flip, Truncation, ZeroPage], [Fine, Fine, Fine, Exits(4), Exits(4), Fine, Mends, Fine]),
    (PackFooter, &[Newer], [Fine, Fine, Fine, Exits(11), Exits(11), Fine, Exits(11), Fine]),
    (PackTrailer, &[Flip, Truncation, ZeroPage], [Fine, Fine, Fine, Exits(4), Exits(4), Fine, Mends, Fine]),
    (Delta, &[Flip, Truncation, Zeros, ZeroPage, OtherKind, Newer], [Fine, Warns, Fine, Fine, Fine, Fine, Fine, Fine]),
    (Delta, &[Deletion, OtherOfKind], [Fine, Fine, Fine, Fine, Fine, Fine, Fine, Fine]),
    (TableFilter, &[Flip, Truncation, Zeros, ZeroPage, OtherKind], [Fine, Warns, Fine, Fine, Fine, Warns, Fine, Fine]),
    (TableFilter, &[Deletion, OtherOfKind], [Fine, Fine, Fine, Fine, Fine, Warns, Fine, Fine]),
    (TableFilter, &[Newer], [Fine, Warns, Fine, Fine, Fine, Exits(11), Exits(11), Fine]),
    (TableRows, &[Flip, Deletion], [Fine, Fine, Fine, Fine, Fine, Warns, Fine, Fine]),
    (TableRows, &[Truncation, Zeros, ZeroPage, OtherOfKind, OtherKind], [Fine, Warns, Fine, Fine, Fine, Warns, Fine, Fine]),
    (GcState, &[Flip, Truncation, Zeros, ZeroPage, OtherKind], [Fine, Exits(4), Fine, Exits(4), Exits(4), Exits(4), Mends, Fine]),
    (GcState, &[Deletion, OtherOfKind, Earlier], [Fine, Fine, Fine, Exits(4), Exits(4), Exits(4), Mends, Fine]),
    (GcState, &[Newer], [Fine, Exits(11), Fine, Exits(11), Exits(11), Exits(11), Exits(11), Fine]),
    (GcMarks, &[Flip, Truncation, Zeros, ZeroPage, OtherKind], [Fine, Fine, Fine, Fine, Fine, Warns, Fine, Fine]),
    (GcMarks, &[Deletion, OtherOfKind, Earlier], [Fine, Fine, Fine, Fine, Fine, Fine, Fine, Fine]),
    (GcMarks, &[Newer], [Fine, Fine, Fine, Fine, Fine, Exits(11), Exits(11), Fine]),
    (TierEntry, &[Flip, Truncation, Zeros, ZeroPage, Deletion, OtherOfKind, OtherKind], [Fine, Fine, Fine, No, No, No, No, No]),
    (TierTally, &[Flip, Truncation, Zeros, ZeroPage, Deletion, OtherKind], [Fine, Fine, Fine, No, No, No, No, No]),
    (StatRecord, &[Flip, Truncation, Zeros, ZeroPage, Deletion, OtherOfKind, OtherKind, Earlier, Newer], [Fine, Fine, Fine, No, No, No, No, No]),
];

/// Damage that there cannot be, and why.
pub(super) const NONE: &[(&[Place], &[Damage], &str)] = &[
    (
        &[Marker, PackBody, PackFooter, PackTrailer, Delta, TableFilter, TableRows, TierEntry],
        &[Earlier],
        "is written once: there is no earlier state",
    ),
    (&[TierTally], &[Earlier, OtherOfKind], "holds a number, which any number may replace"),
    (&[PackBody, PackTrailer, TableRows, TierEntry, TierTally], &[Newer], "has no version"),
    (
        &[PackFooter, PackTrailer],
        &[Zeros, Deletion, OtherOfKind, OtherKind],
        "is a part of the pack, to all of which this is done above",
    ),
];

/// The table as the page shows it.
pub(super) fn rendered() -> String {
    let mut lines = vec![format!("| place | damage | {} |", COMMANDS.join(" | "))];
    lines.push("| --- ".repeat(COMMANDS.len() + 2) + "|");
    for (place, damages, outcomes) in TABLE {
        let damages: Vec<_> = damages.iter().map(|damage| damage.name()).collect();
        let outcomes = outcomes.map(Outcome::text).join(" | ");
        lines.push(format!("| {} | {} | {outcomes} |", place.name(), damages.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// The exit code of a code, as the page of errors has it.
pub(super) fn exit_code(code: Code) -> u8 {
    let page = include_str!("../../../docs/errors.md");
    let section = page.split(&format!("### {code}: ")).nth(1).unwrap();
    let exit = section.split("Exit code: ").nth(1).unwrap();
    exit.lines().next().unwrap().parse().unwrap()
}
