//! What must hold of any key template, whatever a repository and its variables are.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use super::{Engine, Part, Rendered, Surroundings, is_template};

/// A small repository, made once for all processes that fuzz.
fn repository() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let root = target.join("fuzzing-repository");
        if !root.exists() {
            // Another process may be faster: then its own stays.
            let new = tempfile::tempdir_in(target).expect("the target directory can be written");
            fill(new.path());
            let _ = std::fs::rename(new.path(), &root);
        }
        root
    };
    ROOT.get_or_init(make).clone()
}

fn fill(root: &Path) {
    for (path, text) in [
        (".git/HEAD", "ref: refs/heads/feature/x\n"),
        (".git/refs/heads/feature/x", "0123456789abcdef0123456789abcdef01234567\n"),
        (".gitignore", "ignored\n"),
        ("a/go.sum", "a"),
        ("b/go.sum", "b"),
        ("ignored", ""),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("it is below the root"))
            .and_then(|()| std::fs::write(path, text))
            .expect("the target directory can be written");
    }
}

/// Texts that NULs part: a template, and variables as `NAME=VALUE`.
///
/// What is rendered is a key, the same each time; what is not, is said in a message that
/// stays where it is printed.
pub(crate) fn key_template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut texts = text.split('\0');
    let template = texts.next().unwrap_or_default();
    let variables = texts.filter_map(|text| text.split_once('='));
    let surroundings = || Surroundings {
        directory: repository(),
        variables: variables.clone().map(|(name, value)| (name.into(), value.into())).collect(),
        now: UNIX_EPOCH + Duration::from_secs(1_795_219_200),
        os: "linux",
        arch: "x86_64",
        stop: Arc::new(AtomicBool::new(false)),
    };
    let render = || render(&Engine::new(surroundings()), template);
    let first = render();
    if let Ok(rendered) = &first {
        let value = |part: &Part| match part {
            Part::Text { value } | Part::Expression { value, .. } => value.clone(),
        };
        let joined: String = rendered.parts.iter().map(value).collect();
        assert_eq!(joined, rendered.key.as_str());
        if !is_template(template) {
            assert_eq!(joined, template);
        }
    }
    assert_eq!(first, render());
}

/// What a template gives, or what is said of it.
fn render(engine: &Engine, template: &str) -> Result<Rendered, String> {
    engine.render(template).map_err(|error| {
        let message = format!("{error}\n{}", error.hint().unwrap_or_default());
        assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
        message
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_harms_what_renders_keys() {
        crate::replay::replay("key_template", key_template);
    }
}
