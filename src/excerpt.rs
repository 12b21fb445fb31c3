//! A place in a text, as a person is shown it: its line, and a mark below the place.

use std::ops::Range;

/// The line in which a range begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// Counted from 1.
    pub(crate) number: usize,
    /// The line, with spaces for what a terminal would not show as one letter.
    pub(crate) line: String,
    /// Spaces and carets that mark the range, as far as it lies in the line.
    pub(crate) mark: String,
}

impl Excerpt {
    /// That of a range of bytes, which begins and ends between letters.
    pub(crate) fn new(text: &str, range: Range<usize>) -> Self {
        let Range { start, end } = range;
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let letters = |text: &str| text.chars().count();
        let marked = &text[start..end.min(line_start + line.len()).max(start)];
        Self {
            number: text[..line_start].matches('\n').count() + 1,
            line: line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            mark: format!(
                "{}{}",
                " ".repeat(letters(&text[line_start..start])),
                "^".repeat(letters(marked).max(1))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_its_line() {
        let check = |text: &str, place: &str, number, line: &str, mark: &str| {
            let start = text.find(place).unwrap();
            let shown = Excerpt::new(text, start..start + place.len());
            let expected = Excerpt { number, line: line.into(), mark: mark.into() };
            assert_eq!(shown, expected, "{text:?}");
        };
        check("a = 1", "1", 1, "a = 1", "    ^");
        check("a = 1\nbc = 22\n", "22", 2, "bc = 22", "     ^^");
        check("ä = 'ö'\n", "'ö'", 1, "ä = 'ö'", "    ^^^");
        check("a\tb", "b", 1, "a b", "  ^");
        check("a = [\n1,\n]", "[\n1,\n]", 1, "a = [", "    ^");
        check("", "", 1, "", "^");
    }
}
