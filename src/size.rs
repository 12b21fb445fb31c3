//! Numbers of bytes as people write them.

/// A whole number with a unit: powers of 1000 for kB, MB, GB and TB, of 1024
/// for KiB, MiB, GiB and TiB; case does not matter. A bare number is refused:
/// who forgets the unit rarely means bytes.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse("20GB"), Some(20_000_000_000));
        assert_eq!(parse("512MiB"), Some(512 << 20));
        assert_eq!(parse("1 tib"), Some(1 << 40));
        assert_eq!(parse("0B"), Some(0));
        for text in ["", "20", "GB", "-1GB", "1.5GB", "1GBs", "99999999999TB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
