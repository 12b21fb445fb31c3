//! Warnings as people read them.

use larder::progress::Warning;
use larder::relpath::display;

use crate::cli::output::things;

/// What a warning says, in one line.
pub(in crate::cli) fn describe(warning: &Warning) -> String {
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
        Warning::OutOfBounds { path, more: 0 } => {
            format!("{path} of the cache is left out: the settings do not name it")
        }
        Warning::OutOfBounds { path, more } => format!(
            "{path} of the cache and {more} more are left out: the settings do not name them"
        ),
        Warning::OtherRestore { path } => {
            format!("another restore is at work in {}: waiting for it to end", shown(path))
        }
        Warning::WithoutPrivileges { bits, attributes } => {
            let left = |number: u64, what: &str| {
                (number > 0).then(|| format!("{} without {what}", things(number, "entry")))
            };
            let bits = left(*bits, "their set-user-ID, set-group-ID or sticky bits");
            let attributes = left(*attributes, "attributes that are the system's");
            let all: Vec<String> = bits.into_iter().chain(attributes).collect();
            format!("restored {}: --setuid restores them, too", all.join(", and "))
        }
        Warning::Distrusted { error } => format!("passed over: {error}"),
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
        Warning::NotTold { error } => format!(
            "others were not told of new chunks, and upload them again until the next flush: {error}"
        ),
        Warning::NoRecord { error } => format!("the next save will read all files: {error}"),
    }
}
