//! What must hold whatever bytes are read: the bodies of the fuzz targets.
//!
//! `tests/fuzz/` is the crate that hands them to libFuzzer, and `docs/reliability.md`
//! says what came of it. The same functions run in the unit tests, on the inputs that
//! are kept there. Those of the front ends lie in their own modules.
//!
//! A body takes any bytes, and panics if a promise is broken: that what decodes
//! encodes to the same again, that memory stays in proportion to what was declared and
//! checked, that no message moves a terminal's cursor.

mod index;
mod locations;
mod manifest;
mod marker;
pub mod memory;
mod object;
mod pack;
#[cfg(test)]
pub(crate) mod replay;
#[cfg(test)]
mod seeds;

pub use index::index;
pub use locations::store_url;
pub use manifest::manifest;
pub use marker::marker;
pub use pack::pack;

/// What a text may take in memory, beside the half megabyte that a pattern's automaton
/// may have.
#[cfg(fuzzing)]
const TEXT: usize = 64 << 20;

/// [`crate::keys`].
#[cfg(fuzzing)]
pub fn key_template(data: &[u8]) {
    memory::within(TEXT, || crate::keys::fuzzing::key_template(data));
}

/// [`crate::plugin`].
#[cfg(fuzzing)]
pub fn plugin_env(data: &[u8]) {
    memory::within(TEXT, || crate::plugin::fuzzing::plugin_env(data));
}

/// [`crate::config`].
#[cfg(fuzzing)]
pub fn config(data: &[u8]) {
    memory::within(TEXT, || crate::config::fuzzing::config(data));
}

/// [`crate::explain`].
#[cfg(fuzzing)]
pub fn annotation(data: &[u8]) {
    memory::within(TEXT, || crate::explain::fuzzing::annotation(data));
}

/// Takes the first byte off for a choice among `count` things.
pub fn choose(data: &[u8], count: u8) -> (u8, &[u8]) {
    match data.split_first() {
        Some((first, rest)) => (first % count, rest),
        None => (0, data),
    }
}

/// Checks a message that repeats what was read: it must stay where it is printed.
///
/// # Panics
/// If it has control characters.
pub fn check_message(text: &str) {
    assert!(!text.contains(char::is_control), "a message has control characters: {text:?}");
}

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn no_bytes_harm_what_reads_manifests() {
        replay("manifest", manifest);
    }

    #[test]
    fn no_bytes_harm_what_reads_packs() {
        replay("pack", pack);
    }

    #[test]
    fn no_bytes_harm_what_reads_the_index_and_the_state() {
        replay("index", index);
    }

    #[test]
    fn no_bytes_harm_what_reads_markers_and_listings() {
        replay("marker", marker);
    }

    #[test]
    fn no_text_harms_what_reads_locations() {
        replay("store_url", store_url);
    }
}
