//! Why a server does not start, and what to do about it.

use std::path::PathBuf;

use larder::code::Code;

use super::keys::InvalidKeys;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeFailure {
    /// Whoever reaches the machine would read and write everything.
    #[error("{0} can be reached from other machines, and there are no keys to check requests by")]
    NoKeys(String),
    /// The file of keys says nothing that can be used.
    #[error("{place}: {why}")]
    Keys { place: String, why: InvalidKeys },
    /// The file of keys cannot be read.
    #[error("cannot read the keys {}: {error}", path.display())]
    KeyFile { path: PathBuf, error: std::io::Error },
    /// Only half of a key is in the environment.
    #[error("{given} is set, but {missing} is not")]
    HalfKey { given: &'static str, missing: &'static str },
    /// The address is not to be had.
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: std::io::Error },
    /// The threads that serve cannot be started.
    #[error("cannot start a thread: {0}")]
    NoThread(std::io::Error),
}

impl ServeFailure {
    /// The code that it is looked up by.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoKeys(_) => Code::ServeNeedsKeys,
            Self::Keys { .. } | Self::KeyFile { .. } | Self::HalfKey { .. } => {
                Code::InvalidServeKeys
            }
            Self::Listen { .. } => Code::CannotListen,
            Self::NoThread(_) => Code::NoThread,
        }
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoKeys(_) => Some(
                "give keys by LARDER_SERVE_ACCESS_KEY and LARDER_SERVE_SECRET_KEY or --keys, or \
                 listen on 127.0.0.1 or unix:PATH",
            ),
            Self::Keys { .. } => Some(
                "write [[key]] with access-key and secret-key, and buckets or read-only if they \
                 apply: docs/serve.md has an example",
            ),
            Self::KeyFile { .. } => None,
            Self::HalfKey { .. } => Some("set both, or neither"),
            Self::Listen { .. } => {
                Some("choose another address by --listen; port 0 takes one that is free")
            }
            Self::NoThread(_) => {
                Some("allow more processes (`ulimit -u`, the container's limit of pids) or memory")
            }
        }
    }
}
