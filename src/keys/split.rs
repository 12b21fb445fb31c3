//! A template cut into pieces: text, and the expressions between `{{` and `}}`.
//!
//! The engine could cut it, too, but would tell the result alone. Of single
//! expressions each has a value of its own, which tells why one key is not another.
//! Statements, comments and the trimming of space are what pages are made with; a key
//! is one line, and what looks like these is a mistake.

use std::ops::Range;

use super::failure::Mistake;

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What is between the braces, less the space around it, and where that begins.
    Expression {
        source: &'a str,
        start: usize,
    },
}

/// Cuts a template.
pub(super) fn split(template: &str) -> Result<Vec<Piece<'_>>, Mistake> {
    let mut pieces = vec![];
    let mut at = 0;
    while at < template.len() {
        let rest = &template[at..];
        let Some(text) = ["{{", "}}", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min()
        else {
            pieces.push(Piece::Text(rest));
            break;
        };
        if text > 0 {
            pieces.push(Piece::Text(&rest[..text]));
        }
        let open = at + text;
        let mark = open..open + 2;
        match &template[mark.clone()] {
            "{{" => {}
            "}}" => {
                let why = "there is no `{{` before this `}}`";
                return Err(Mistake::new(mark, why).hint("an expression is written {{ os }}"));
            }
            _ => {
                let why = "a key template has neither statements nor comments";
                let hint = "choose by {{ \"a\" if branch == \"main\" else \"b\" }}";
                return Err(Mistake::new(mark, why).hint(hint));
            }
        }
        let inside = &template[mark.end..];
        let end = end(inside).map_err(|range| match range {
            None => Mistake::new(mark.clone(), "there is no `}}` after this `{{`"),
            Some(quote) => Mistake::new(
                mark.end + quote..template.len(),
                "the text that begins with this quote has no end",
            ),
        })?;
        let whole = open..mark.end + end + 2;
        if inside.starts_with('-') || inside[..end].ends_with('-') {
            let why = "a `-` inside the braces trims space in pages; here it has no meaning";
            return Err(Mistake::new(whole, why).hint("leave it out"));
        }
        let source = inside[..end].trim();
        if source.is_empty() {
            return Err(Mistake::new(whole, "there is nothing between the braces"));
        }
        let before = inside.len() - inside.trim_start().len();
        pieces.push(Piece::Expression { source, start: mark.end + before });
        at = whole.end;
    }
    Ok(pieces)
}

/// Where the `}}` is that ends an expression; where a quote is that opens a text
/// without end, if that is why there is none.
fn end(inside: &str) -> Result<usize, Option<usize>> {
    let (masked, unclosed) = mask(inside);
    let mut depth = 0_usize;
    for (at, byte) in masked.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' if masked[at..].starts_with("}}") => return Ok(at),
            _ => {}
        }
    }
    Err(unclosed)
}

/// The source with quotes for all that is quoted, so that nothing in it is taken for
/// anything else; and where a text begins that does not end.
fn mask(source: &str) -> (String, Option<usize>) {
    let mut masked = String::with_capacity(source.len());
    let mut open = None;
    let mut is_escaped = false;
    for (at, c) in source.char_indices() {
        match open {
            Some((quote, _)) => {
                masked.extend(std::iter::repeat_n('"', c.len_utf8()));
                if !is_escaped && c == quote {
                    open = None;
                }
                is_escaped = c == '\\' && !is_escaped;
            }
            None if c == '"' || c == '\'' => {
                open = Some((c, at));
                is_escaped = false;
                masked.push('"');
            }
            None => masked.push(c),
        }
    }
    (masked, open.map(|(_, at)| at))
}

/// Bytes that an expression may have outside of its texts: the engine reads and drops what
/// is nested by calling itself, and so many levels fit on any thread's stack.
const MAX_LEN: usize = 512;

/// Whether an expression is longer than anybody's.
pub(super) fn is_too_long(source: &str) -> bool {
    let (masked, _) = mask(source);
    masked.bytes().filter(|byte| *byte != b'"').count() > MAX_LEN
}

/// Where an expression multiplies: the engine would make texts and lists of a gigabyte
/// of a few letters.
pub(super) fn multiplication(source: &str) -> Option<usize> {
    let (masked, _) = mask(source);
    masked.find('*')
}

/// What a word of an expression is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The name of a value or a function.
    Name,
    /// After `|`.
    Filter,
    /// After `is`.
    Test,
    /// After `.`.
    Attribute,
    /// Before `=`.
    Argument,
}

/// A word of an expression, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) range: Range<usize>,
    pub(super) role: Role,
    /// Whether arguments follow.
    pub(super) is_called: bool,
}

const KEYWORDS: [&str; 13] = [
    "and", "else", "false", "False", "if", "in", "is", "none", "None", "not", "or", "true", "True",
];

/// The words of an expression that name something.
pub(super) fn words(source: &str) -> Vec<Word<'_>> {
    let (masked, _) = mask(source);
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = vec![];
    let mut before = "";
    let mut at = 0;
    while let Some(start) = masked[at..].find(is_part).map(|start| at + start) {
        let len = masked[start..].find(|c| !is_part(c)).unwrap_or(masked.len() - start);
        at = start + len;
        let text = &source[start..at];
        let is_number = text.starts_with(|c: char| c.is_ascii_digit());
        let is_after_is = before == "is" || before == "is not";
        let follows = masked[at..].trim_start();
        let before_it = masked[..start].trim_end();
        // What other languages write with a dot in front is a name.
        let is_of_value = |rest: &str| rest.ends_with(|c| is_part(c) || ")]\"".contains(c));
        let role = match before_it.chars().next_back() {
            Some('|') => Role::Filter,
            Some('.') if is_of_value(before_it[..before_it.len() - 1].trim_end()) => {
                Role::Attribute
            }
            _ if is_after_is && text != "not" => Role::Test,
            _ if follows.starts_with('=') && !follows.starts_with("==") => Role::Argument,
            _ => Role::Name,
        };
        let is_keyword = role == Role::Name && KEYWORDS.contains(&text);
        if !is_number && !is_keyword {
            let is_called = follows.starts_with('(');
            words.push(Word { text, range: start..at, role, is_called });
        }
        before = if before == "is" && text == "not" { "is not" } else { text };
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts in brackets are expressions.
    fn check(template: &str, expected: &str) {
        let shown = match split(template) {
            Ok(pieces) => pieces.iter().fold(String::new(), |shown, piece| match piece {
                Piece::Text(text) => shown + text,
                Piece::Expression { source, start } => {
                    assert!(template[*start..].starts_with(source));
                    format!("{shown}[{source}]")
                }
            }),
            Err(mistake) => format!("{} at {:?}", mistake.why(), mistake.range()),
        };
        assert_eq!(shown, expected, "{template}");
    }

    #[test]
    fn templates_are_cut_at_braces() {
        check("", "");
        check("npm", "npm");
        check("npm-{{ os }}-{{arch}}", "npm-[os]-[arch]");
        check("{{os}}{{ arch }}", "[os][arch]");
        check("{a} {{ env('}}') }}!", "{a} [env('}}')]!");
        check(r#"{{ "\"}}" ~ 'ä"}}' }}"#, r#"["\"}}" ~ 'ä"}}']"#);
        check("{{ {'a': {'b': 1}} }}", "[{'a': {'b': 1}}]");
        check("{{ -1 }}", "[-1]");
    }

    #[test]
    fn what_is_not_closed_or_not_open_is_told() {
        check("a-{{ os", "there is no `}}` after this `{{` at 2..4");
        check("a-{{ os }", "there is no `}}` after this `{{` at 2..4");
        check("a-{ os }}", "there is no `{{` before this `}}` at 7..9");
        check("{{ hash(\"a) }}", "the text that begins with this quote has no end at 8..14");
        check("{{  }}", "there is nothing between the braces at 0..6");
        check("{% if x %}", "a key template has neither statements nor comments at 0..2");
        check("a{# b #}", "a key template has neither statements nor comments at 1..3");
        let trims = "a `-` inside the braces trims space in pages; here it has no meaning at 0..9";
        check("{{- os }}", trims);
        check("{{ os -}}", trims);
    }

    #[test]
    fn words_are_told_by_their_places() {
        let source = "env('x', default=os) | slug if a.b is not c and d == 1e5 else \"z\"";
        let found: Vec<_> = words(source).iter().map(|word| (word.text, word.role)).collect();
        let expected = [
            ("env", Role::Name),
            ("default", Role::Argument),
            ("os", Role::Name),
            ("slug", Role::Filter),
            ("a", Role::Name),
            ("b", Role::Attribute),
            ("c", Role::Test),
            ("d", Role::Name),
        ];
        assert_eq!(found, expected);
        let role = |source: &str| words(source).pop().map(|word| word.role);
        assert_eq!(role(".Branch"), Some(Role::Name));
        assert_eq!(role("'x' . y"), Some(Role::Attribute));
    }
}
