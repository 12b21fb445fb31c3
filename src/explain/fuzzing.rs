//! What must hold of anything that a manifest notes of its key.

use larder::format::Annotation;

use super::compare::compare;
use super::record::Record;

/// Two notes, with the length of the first before them: each can be compared with the
/// other, and notes again what it has noted.
pub(crate) fn annotation(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
    let (one, two) = rest.split_at(len);
    let read = |bytes: &[u8]| Annotation::new(bytes.to_vec()).and_then(|it| Record::read(&it));
    let (one, two) = (read(one), read(two));
    for record in [&one, &two].into_iter().flatten() {
        assert_eq!(compare(record, record), [], "it is like itself");
    }
    if let (Some(one), Some(two)) = (one, two) {
        compare(&one, &two);
        compare(&two, &one);
        for record in [one, two] {
            let noted = record.into_annotation();
            assert!(noted.as_bytes().is_empty() || Record::read(&noted).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_harm_what_explains_keys() {
        crate::replay::replay("annotation", annotation);
    }
}
