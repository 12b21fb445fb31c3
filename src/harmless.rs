//! Text of others as people may read it: what a store or a file system says can neither
//! move a terminal's cursor, nor turn the order of letters round, nor give the CI system
//! that reads the log a command.
//!
//! Whoever may write to a store chooses keys, paths, where links lead, and what a save
//! noted. [`name`] is for one of these, [`text`] for lines that have them in it, and
//! [`json`] for JSON, where the value stays what it was.

use std::borrow::Cow;

/// Names as bytes, in one line: control characters, bytes that are not UTF-8, and what
/// [`text`] escapes are escaped.
pub fn name(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !needs_escape(text, char::is_control) => Cow::Borrowed(text),
        _ => {
            let mut shown = String::new();
            for chunk in bytes.utf8_chunks() {
                escape_into(&mut shown, chunk.valid(), char::is_control, |c| {
                    c.escape_default().to_string()
                });
                for byte in chunk.invalid() {
                    shown.push_str(&format!("\\x{byte:02x}"));
                }
            }
            Cow::Owned(shown)
        }
    }
}

/// Lines that may hold names, and colours: ends of lines, tabs and colours stay. What
/// changes how other text is read, and `##`, by which Azure Pipelines, GitHub and TeamCity
/// know commands anywhere in a line, are escaped.
pub fn text(text: &str) -> Cow<'_, str> {
    if !needs_escape(text, |c| c.is_control() && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, from) = rest.split_at(at);
        push_lines(&mut shown, before);
        let len = colour_len(from);
        if len == 0 {
            shown.push_str("\\u{1b}");
        }
        shown.push_str(&from[..len]);
        rest = &from[len.max(1)..];
    }
    push_lines(&mut shown, rest);
    Cow::Owned(shown)
}

/// JSON, as it was made by a serializer. Only the spelling of its texts changes.
pub fn json(json: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control();
    if !needs_escape(json, is_control) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len());
    escape_into(&mut shown, json, is_control, |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    });
    Cow::Owned(shown)
}

fn push_lines(shown: &mut String, lines: &str) {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    escape_into(shown, lines, is_control, |c| c.escape_default().to_string());
}

/// How long the colour is that a text begins with: `ESC [ … m`; 0 if it is none.
fn colour_len(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    match parameters.find(|c: char| !(c.is_ascii_digit() || c == ';')) {
        Some(end) if parameters[end..].starts_with('m') => "\x1b[".len() + end + 1,
        _ => 0,
    }
}

fn needs_escape(text: &str, is_control: impl Fn(char) -> bool) -> bool {
    text.contains("##") || text.chars().any(|c| is_control(c) || is_unseen(c))
}

fn escape_into(
    shown: &mut String,
    text: &str,
    is_control: impl Fn(char) -> bool,
    escaped: impl Fn(char) -> String,
) {
    let mut before = shown.chars().next_back();
    for c in text.chars() {
        let is_command = c == '#' && before == Some('#');
        if is_command || is_control(c) || is_unseen(c) {
            // `escape_default` leaves ASCII alone.
            if is_command && escaped(c) == "#" {
                shown.push_str("\\u{23}");
            } else {
                shown.push_str(&escaped(c));
            }
        } else {
            shown.push(c);
        }
        before = Some(c);
    }
}

/// Characters that show nothing, and change how others are read: marks of direction,
/// joiners, separators of lines, tags. (Unicode calls them format characters, and the
/// separators Zl and Zp.)
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_names_cannot_move_the_cursor() {
        assert_eq!(name("naïve 日本 #1".as_bytes()), "naïve 日本 #1");
        assert_eq!(name(b"a\x1b[2Jb\xff"), "a\\u{1b}[2Jb\\xff");
        assert_eq!(name(b"a\x1b[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(name("a\u{202e}cod\u{2028}".as_bytes()), "a\\u{202e}cod\\u{2028}");
    }

    #[test]
    fn commands_of_ci_systems_are_taken_apart() {
        for hostile in ["##vso[task.complete]", "x ##[error]y", "###teamcity[x]"] {
            for shown in [name(hostile.as_bytes()), text(hostile)] {
                assert!(!shown.contains("##"), "{shown}");
            }
        }
        assert_eq!(name(b"##[x"), "#\\u{23}[x");
        assert_eq!(text("a # b"), "a # b");
    }

    #[test]
    fn lines_keep_their_colours_and_nothing_else() {
        let own = "\x1b[1;33mwarning:\x1b[0m a\tb\nc";
        assert_eq!(text(own), own);
        let hostile = "\x1b[2J\x1b]0;x\x07\r\x1b[\u{85}\u{2066}\x1b";
        let shown = "\\u{1b}[2J\\u{1b}]0;x\\u{7}\\r\\u{1b}[\\u{85}\\u{2066}\\u{1b}";
        assert_eq!(text(hostile), shown);
    }

    #[test]
    fn json_stays_the_same_value() {
        let hostile = "##vso[x]\u{202e}\u{e0041}\u{7f}\u{9b}2J\x1b\"\\##";
        let made = serde_json::to_string(hostile).unwrap();
        let shown = json(&made);
        assert!(shown.is_ascii() && !shown.contains("##") && !shown.contains('\x7f'), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile);
    }
}
