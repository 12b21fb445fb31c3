//! What `--version` says beside the number: what tells two programs apart, and
//! whether they can share a store.

use std::fmt::Write as _;
use std::sync::LazyLock;

use larder::chunking;
use larder::format::FORMATS;

/// The number, and lines of `name: value`.
pub(super) static LONG: LazyLock<String> = LazyLock::new(long);

fn long() -> String {
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    let commit = match (option_env!("LARDER_BUILD_COMMIT"), option_env!("LARDER_BUILD_DATE")) {
        (Some(commit), Some(date)) => format!("{commit} ({date})"),
        (Some(commit), None) => commit.to_owned(),
        (None, _) => "unknown".to_owned(),
    };
    let formats = FORMATS.map(|(name, version)| format!("{name} {version}")).join(", ");
    for (name, value) in [
        ("commit", commit),
        ("target", env!("LARDER_BUILD_TARGET").to_owned()),
        ("formats", formats),
        ("chunking", chunking::parameters().version.to_string()),
        ("libraries", format!("zstd {}, rustls with ring", zstd::zstd_safe::version_string())),
    ] {
        let _ = write!(text, "\n{name}: {value}");
    }
    text
}
