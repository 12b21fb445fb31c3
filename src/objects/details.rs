//! What is kept of an object beside its bytes: the annotation of its manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::{Annotation, MAX_ANNOTATION_LEN};

/// The first bytes of an annotation that is an object's.
const MAGIC: &[u8; 8] = b"larderO\x01";

/// What an object has beside its bytes. To the store it is text that means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The entity tag, without quotes.
    pub etag: String,
    /// Headers that are given back as they came, by lower-case names.
    pub headers: BTreeMap<String, String>,
    /// The user's metadata, by lower-case names without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Checksums, by lower-case algorithm (`crc32`), in base64 as they came.
    pub checksums: BTreeMap<String, String>,
    /// Of an object that was uploaded in parts: runs of so many parts of one length.
    pub parts: Vec<(u32, u64)>,
}

impl Details {
    /// Appends a part of this length.
    pub fn push_part(&mut self, len: u64) {
        match self.parts.last_mut() {
            Some((count, last)) if *last == len => *count += 1,
            _ => self.parts.push((1, len)),
        }
    }

    /// The lengths of all parts; nothing for an object that was put whole.
    pub fn part_lens(&self) -> impl Iterator<Item = u64> + '_ {
        self.parts.iter().flat_map(|&(count, len)| std::iter::repeat_n(len, count as usize))
    }

    /// As an annotation; `None` if it is longer than [`MAX_ANNOTATION_LEN`].
    pub(super) fn to_annotation(&self) -> Option<Annotation> {
        let mut bytes = MAGIC.to_vec();
        rmp_serde::encode::write(&mut bytes, self).ok()?;
        if bytes.len() > MAX_ANNOTATION_LEN {
            return None;
        }
        Annotation::new(bytes)
    }

    /// What an annotation says, if it is an object's.
    pub(super) fn of(annotation: &Annotation) -> Option<Self> {
        let bytes = annotation.as_bytes().strip_prefix(MAGIC)?;
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_in_runs() {
        let mut details = Details::default();
        for len in [8, 8, 8, 3] {
            details.push_part(len);
        }
        assert_eq!(details.parts, [(3, 8), (1, 3)]);
        assert_eq!(details.part_lens().collect::<Vec<_>>(), [8, 8, 8, 3]);
    }

    #[test]
    fn what_is_noted_is_read() {
        let mut details = Details { etag: "abc".to_owned(), ..Details::default() };
        details.metadata.insert("k".to_owned(), "värde".to_owned());
        details.push_part(5);
        let annotation = details.to_annotation().unwrap();
        assert_eq!(Details::of(&annotation), Some(details.clone()));
        // How a key was made is noted in the same place.
        assert_eq!(Details::of(&Annotation::new(b"{}".to_vec()).unwrap()), None);
        assert_eq!(Details::of(&Annotation::default()), None);
        details.metadata.insert("long".to_owned(), "x".repeat(MAX_ANNOTATION_LEN));
        assert_eq!(details.to_annotation(), None);
    }
}
