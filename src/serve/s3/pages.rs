//! Pages of listings: names in order, folded at a delimiter.
//!
//! A name that has the delimiter after the prefix is not listed itself: its beginning up
//! to there is, once for all names that share it.

use s3s::dto::EncodingType;
use s3s::{S3Result, s3_error};

/// The most entries of a page.
const MAX_ENTRIES: usize = 1000;

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum After {
    /// At the beginning.
    #[default]
    Nothing,
    /// After a name.
    Name(String),
    /// After an entry of the page before. If that is a beginning, all that begin so are
    /// over.
    Entry(String),
}

/// What a page is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: &'a str,
    pub(super) after: After,
    /// The most entries.
    pub(super) limit: usize,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The name at this place.
    Name(usize),
    /// The beginning of several.
    Prefix(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// The last entry, if there are more.
    pub(super) next: Option<String>,
}

/// A page of names, which are in the order of their bytes and have the prefix.
pub(super) fn page<T>(names: &[T], name: impl Fn(&T) -> &str, query: &Query<'_>) -> Page {
    let mut at = start(names, &name, query);
    let mut page = Page::default();
    if query.limit == 0 {
        return page;
    }
    let mut last = String::new();
    while let Some(next) = names.get(at).map(&name) {
        if page.entries.len() == query.limit {
            page.next = Some(last);
            break;
        }
        match folded(next, query) {
            Some(prefix) => {
                at += names[at..].partition_point(|other| name(other).starts_with(prefix));
                prefix.clone_into(&mut last);
                page.entries.push(Entry::Prefix(prefix.to_owned()));
            }
            None => {
                next.clone_into(&mut last);
                page.entries.push(Entry::Name(at));
                at += 1;
            }
        }
    }
    page
}

/// The place of the first name that may be on the page.
fn start<T>(names: &[T], name: impl Fn(&T) -> &str, query: &Query<'_>) -> usize {
    match &query.after {
        After::Nothing => 0,
        After::Name(after) => names.partition_point(|other| name(other) <= after.as_str()),
        After::Entry(after) => {
            let is_prefix = folded(after, query) == Some(after.as_str());
            names.partition_point(|other| {
                let other = name(other);
                other <= after.as_str() || (is_prefix && other.starts_with(after.as_str()))
            })
        }
    }
}

/// The beginning that a name is folded into.
fn folded<'a>(name: &'a str, query: &Query<'_>) -> Option<&'a str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = name.get(query.prefix.len()..)?;
    let end = rest.find(query.delimiter)? + query.delimiter.len();
    Some(&name[..query.prefix.len() + end])
}

/// How many entries a client wants, of those that it may have.
pub(super) fn limit(asked: Option<i32>, name: &str) -> S3Result<usize> {
    match asked.map(usize::try_from) {
        None => Ok(MAX_ENTRIES),
        Some(Ok(asked)) => Ok(asked.min(MAX_ENTRIES)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "{name} must not be negative")),
    }
}

/// As answers tell it.
pub(super) fn told(limit: usize) -> Option<i32> {
    i32::try_from(limit).ok()
}

/// How names are written in an answer: as they are, or as in URLs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    is_url: bool,
}

impl Writing {
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { is_url: false }),
            Some(EncodingType::URL) => Ok(Self { is_url: true }),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    pub(super) fn write(self, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if !self.is_url {
            return text.to_owned();
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte);
        let mut written = String::with_capacity(text.len());
        for byte in text.bytes() {
            match is_plain(byte) {
                true => written.push(char::from(byte)),
                false => written.push_str(&format!("%{byte:02X}")),
            }
        }
        written
    }

    pub(super) fn write_opt(self, text: Option<impl AsRef<str>>) -> Option<String> {
        text.map(|text| self.write(text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(names: &[String], query: &Query<'_>) -> (Vec<String>, Option<String>) {
        let page = page(names, String::as_str, query);
        let shown = page.entries.iter().map(|entry| match entry {
            Entry::Name(at) => names[*at].clone(),
            Entry::Prefix(prefix) => format!("{prefix}…"),
        });
        (shown.collect(), page.next)
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_fold_at_the_delimiter() {
        let names = names(&["a", "d/", "d/1", "d/e/2", "d1", "e/x"]);
        let query = Query { delimiter: "/", limit: 9, ..Query::default() };
        assert_eq!(of(&names, &query).0, ["a", "d/…", "d1", "e/…"]);
        let below = &names[1..4];
        let query = Query { prefix: "d/", delimiter: "/", limit: 9, ..Query::default() };
        assert_eq!(of(below, &query).0, ["d/", "d/1", "d/e/…"]);
        let query = Query { prefix: "d", delimiter: "/", limit: 9, ..Query::default() };
        assert_eq!(of(&names[1..5], &query).0, ["d/…", "d1"]);
        let query = Query { limit: 0, ..Query::default() };
        assert_eq!(of(&names, &query), (vec![], None));
    }

    #[test]
    fn a_page_begins_after_what_it_is_told() {
        let names = names(&["a", "d/1", "d/2", "e"]);
        let after =
            |after| of(&names, &Query { delimiter: "/", limit: 9, after, ..Query::default() }).0;
        assert_eq!(after(After::Entry("d/".into())), ["e"]);
        assert_eq!(after(After::Name("d/".into())), ["d/…", "e"]);
        assert_eq!(after(After::Name("a".into())), ["d/…", "e"]);
        assert_eq!(after(After::Entry("d/1".into())), ["d/…", "e"]);
        assert_eq!(after(After::Name("z".into())), Vec::<String>::new());
    }

    proptest! {
        /// Whatever the pages' length, together they are the whole listing.
        #[test]
        fn pages_join_to_the_whole(
            names in prop::collection::btree_set("[ab/]{1,6}", 0..30),
            prefix in "[ab/]{0,2}",
            delimiter in "/?|a/",
            limit in 1..5_usize,
        ) {
            let all: Vec<String> =
                names.into_iter().filter(|name| name.starts_with(&prefix)).collect();
            let mut query = Query { prefix: &prefix, delimiter: &delimiter, limit: 1000, ..Query::default() };
            let (whole, none) = of(&all, &query);
            prop_assert_eq!(none, None);
            let once: BTreeSet<&String> = whole.iter().collect();
            prop_assert_eq!(once.len(), whole.len());
            query.limit = limit;
            let mut joined = vec![];
            loop {
                let (entries, next) = of(&all, &query);
                prop_assert!(entries.len() <= limit);
                joined.extend(entries);
                match next {
                    Some(last) => query.after = After::Entry(last),
                    None => break,
                }
            }
            prop_assert_eq!(joined, whole);
        }
    }

    #[test]
    fn names_are_written_as_in_urls() {
        let url = Writing::of(Some(&EncodingType::from_static("url"))).unwrap();
        assert_eq!(url.write("a/b c+ä%:"), "a/b%20c%2B%C3%A4%25%3A");
        assert_eq!(Writing::of(None).unwrap().write("a b"), "a b");
        assert!(Writing::of(Some(&EncodingType::from_static("xml"))).is_err());
    }
}
