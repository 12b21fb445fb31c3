//! How a key was made, as it is noted in the manifest of a cache: `docs/format.md` has
//! the bytes.

use larder::format::{Annotation, MAX_ANNOTATION_LEN};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::keys::{FilesHash, Part, Rendered};

/// How a key was made of a template.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) template: String,
    /// Its expressions, in order.
    pub(super) parts: Vec<Expression>,
}

/// An expression of a template, and what it gave.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) value: String,
    /// What went into each of its hashes.
    pub(super) hashes: Vec<Files>,
}

/// The files of one hash.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Files {
    /// Paths, and the beginnings of their hashes.
    pub(super) files: Vec<(String, ByteBuf)>,
    /// Files for which there was no room.
    pub(super) unlisted: u64,
}

/// Bytes of a file's hash that are noted: enough to tell two versions of one file
/// apart.
const SHORT_HASH: usize = 8;

impl Record {
    /// How this key was made; `None` if it was given as it is.
    pub(super) fn of(rendered: &Rendered) -> Option<Self> {
        let parts = rendered.parts.iter().filter_map(|part| match part {
            Part::Text { .. } => None,
            Part::Expression { source, value, hashes } => Some(Expression {
                source: source.clone(),
                value: value.clone(),
                hashes: hashes.iter().map(Files::of).collect(),
            }),
        });
        let parts: Vec<Expression> = parts.collect();
        let template = rendered.template.clone();
        (!parts.is_empty()).then_some(Self { template, parts })
    }

    /// The note for a manifest. Of many files, it has as many as there is room for.
    pub(super) fn into_annotation(mut self) -> Annotation {
        loop {
            let bytes = rmp_serde::to_vec_named(&self).expect("plain data can be written");
            if let Some(annotation) = Annotation::new(bytes) {
                return annotation;
            }
            if !self.halve_files() {
                // A template of its own length.
                return Annotation::default();
            }
        }
    }

    /// Leaves out half the files that are listed; gives whether there were any.
    fn halve_files(&mut self) -> bool {
        let hashes = self.parts.iter_mut().flat_map(|part| &mut part.hashes);
        let longest = hashes.max_by_key(|hash| hash.files.len());
        let Some(hash) = longest.filter(|hash| !hash.files.is_empty()) else { return false };
        let kept = hash.files.len() / 2;
        hash.unlisted = hash.unlisted.saturating_add((hash.files.len() - kept) as u64);
        hash.files.truncate(kept);
        true
    }

    /// What a manifest notes; `None` if that is nothing, or nothing of this kind.
    pub(super) fn read(annotation: &Annotation) -> Option<Self> {
        debug_assert!(annotation.as_bytes().len() <= MAX_ANNOTATION_LEN);
        rmp_serde::from_slice(annotation.as_bytes()).ok()
    }
}

impl Files {
    pub(super) fn of(hash: &FilesHash) -> Self {
        let files = hash.files.iter().map(|file| {
            let digits = file.hash.as_bytes().chunks(2).take(SHORT_HASH);
            let byte = |pair: &[u8]| {
                let text = std::str::from_utf8(pair).unwrap_or_default();
                u8::from_str_radix(text, 16).unwrap_or_default()
            };
            (file.path.clone(), ByteBuf::from(digits.map(byte).collect::<Vec<u8>>()))
        });
        Self { files: files.collect(), unlisted: 0 }
    }
}
