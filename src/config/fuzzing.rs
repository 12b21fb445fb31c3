//! What must hold of any larder.toml.

use std::path::Path;

use super::{Config, FILE_NAME};

/// A configuration comes of a file or a message, which stays where it is printed.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let home = Some(Path::new("/home/ci"));
    match Config::parse(text, Path::new(FILE_NAME), "/repository".into(), home) {
        Ok(config) => {
            for cache in &config.caches {
                let chosen = config.choose(std::slice::from_ref(&cache.name));
                assert!(chosen.is_ok_and(|chosen| chosen.len() == 1), "names are unique");
            }
        }
        Err(error) => {
            let message = format!("{error}\n{}", error.hint().unwrap_or_default());
            assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_harms_what_reads_larder_toml() {
        crate::replay::replay("config", config);
    }
}
