//! Percent-encoding, as headers and listings of S3 have it.

use std::fmt::Write as _;

/// Encodes all bytes but those that no rule of URLs touches, and those in `keep`.
pub(super) fn escape(text: &str, keep: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-_.~".contains(&byte)
            || keep.as_bytes().contains(&byte)
        {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Undoes that, and what servers do that take a name for a form's field: a
/// space as `+`. `None` if it is wrong.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["a/b c", "100%", "%41", "a+b", "ä?#:&=", ""] {
            assert_eq!(unescape(&escape(name, "/")).as_deref(), Some(name));
        }
        assert_eq!(escape("a/b +%ä", "/"), "a/b%20%2B%25%C3%A4");
        assert_eq!(unescape("a+b").as_deref(), Some("a b"));
        for wrong in ["%", "%4", "%4g", "%ff"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }
}
