//! What the paths of caches name: a namespace, and a key in it.
//!
//! ```text
//! /-/cache/NAME/KEY                      an object of the scope http:NAME
//! /-/turbo/v8/artifacts/HASH?slug=TEAM   an object of the scope turbo:TEAM
//! ```

use std::borrow::Cow;

use http::{Method, Uri};
use larder::ids::{Key, Scope};
use larder::objects::Bucket;
use percent_encoding::percent_decode_str;

use super::ROOT;
use super::failure::Failure;

/// Who is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Anything that GETs and PUTs by path.
    Http,
    Turbo,
}

impl Protocol {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix(ROOT)?.split('/').next()? {
            "cache" => Some(Self::Http),
            "turbo" => Some(Self::Turbo),
            _ => None,
        }
    }
}

/// A set of keys with a name, which a key of the server may be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    protocol: Protocol,
    /// A bucket's, or a team's.
    name: String,
}

impl Namespace {
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn as_str(&self) -> &str {
        &self.name
    }

    /// The scope that its objects are kept in.
    pub(super) fn scope(&self) -> Scope {
        let prefix = match self.protocol {
            Protocol::Http => "http",
            Protocol::Turbo => "turbo",
        };
        let text = format!("{prefix}:{}", self.name);
        text.try_into().expect("a name is short and has no control characters")
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An object by its path.
    Cache { namespace: Namespace, key: Key },
    /// Something of Turborepo's API.
    Turbo { team: Namespace, page: Page },
}

/// What Turborepo's API has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Whether there is a cache at all.
    Status,
    /// What is known of several artifacts.
    Query,
    /// What clients did: hits and misses.
    Events,
    Artifact(Key),
}

impl Place {
    /// # Errors
    /// [`Failure`] if the path names nothing, or what it names cannot be.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Failure> {
        let path = uri.path().strip_prefix(ROOT).unwrap_or_default();
        let (_, rest) = path.split_once('/').unwrap_or((path, ""));
        match Protocol::of_path(uri.path()) {
            Some(Protocol::Http) => Self::of_cache(rest),
            Some(Protocol::Turbo) => Self::of_turbo(rest, uri.query().unwrap_or_default()),
            None => Err(Failure::NoPage),
        }
    }

    fn of_cache(rest: &str) -> Result<Self, Failure> {
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        let name: Bucket = decoded(name)?
            .parse()
            .map_err(|error| Failure::Name(format!("the name after {ROOT}cache/: {error}")))?;
        let namespace = Namespace { protocol: Protocol::Http, name: name.to_string() };
        Ok(Self::Cache { namespace, key: parse_key(key)? })
    }

    fn of_turbo(rest: &str, query: &str) -> Result<Self, Failure> {
        let page = match rest.strip_prefix("v8/artifacts").ok_or(Failure::NoPage)? {
            "" => Page::Query,
            "/status" => Page::Status,
            "/events" => Page::Events,
            path => match path.strip_prefix('/') {
                Some(hash) if !hash.contains('/') => Page::Artifact(parse_key(hash)?),
                _ => return Err(Failure::NoPage),
            },
        };
        Ok(Self::Turbo { team: team(query)?, page })
    }

    pub(super) fn namespace(&self) -> &Namespace {
        match self {
            Self::Cache { namespace, .. } => namespace,
            Self::Turbo { team, .. } => team,
        }
    }

    /// Whether a request of this method changes something.
    pub(super) fn writes(&self, method: &Method) -> bool {
        let is_object =
            matches!(self, Self::Cache { .. } | Self::Turbo { page: Page::Artifact(_), .. });
        is_object && !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// What a request of this method is called where requests are counted.
    pub(super) fn operation(&self, method: &Method) -> &'static str {
        match (self, method) {
            (Self::Cache { .. }, &Method::GET) => "CacheGet",
            (Self::Cache { .. }, &Method::HEAD) => "CacheHead",
            (Self::Cache { .. }, &Method::PUT) => "CachePut",
            (Self::Cache { .. }, &Method::DELETE) => "CacheDelete",
            (Self::Turbo { .. }, &Method::OPTIONS) => "TurboPreflight",
            (Self::Turbo { page: Page::Status, .. }, _) => "TurboStatus",
            (Self::Turbo { page: Page::Query, .. }, _) => "TurboQuery",
            (Self::Turbo { page: Page::Events, .. }, _) => "TurboEvents",
            (Self::Turbo { .. }, &Method::GET) => "TurboGet",
            (Self::Turbo { .. }, &Method::HEAD) => "TurboHead",
            (Self::Turbo { .. }, &Method::PUT) => "TurboPut",
            _ => "other",
        }
    }
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Failure> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| Failure::Name(format!("the path is not UTF-8: {text}")))
}

/// # Errors
/// [`Failure::Name`] if nothing can be kept under it.
pub(super) fn parse_key(text: &str) -> Result<Key, Failure> {
    decoded(text)?
        .parse()
        .map_err(|error: larder::ids::InvalidName| Failure::Name(error.to_string()))
}

/// The team of a query: its name, its id, or else that of those who are in none.
fn team(query: &str) -> Result<Namespace, Failure> {
    let find = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value)
    };
    let name = find("slug").or_else(|| find("teamId")).unwrap_or(Cow::Borrowed("default"));
    if !is_team(&name) {
        return Err(Failure::Name(format!(
            "invalid team {name:?}: it has to be 1 to {MAX_TEAM_LEN} letters, digits, dots, \
             hyphens and underscores"
        )));
    }
    Ok(Namespace { protocol: Protocol::Turbo, name: name.into_owned() })
}

/// The longest name of a team, in bytes: longer than Vercel's, as long as a label of DNS.
const MAX_TEAM_LEN: usize = 63;

/// Whether a team can be called so: ids such as `team_a1B2` have what buckets do not.
pub(in crate::serve) fn is_team(name: &str) -> bool {
    (1..=MAX_TEAM_LEN).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// The SHA-256 that the bytes under a key must have: it is called `cas/` and that, as
/// Bazel's content-addressed storage is.
pub(super) fn content_hash(key: &Key) -> Option<[u8; 32]> {
    let (directory, hash) = key.as_str().rsplit_once('/')?;
    let is_cas = directory == "cas" || directory.ends_with("/cas");
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    if !is_cas || !is_hash {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hash[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<(String, String), String> {
        match Place::parse(&uri.parse().unwrap()) {
            Ok(Place::Cache { namespace, key }) => Ok((namespace.scope().to_string(), key.into())),
            Ok(Place::Turbo { team, page }) => Ok((team.scope().to_string(), format!("{page:?}"))),
            Err(failure) => Err(failure.to_string()),
        }
    }

    fn check(uri: &str, scope: &str, key: &str) {
        assert_eq!(parse(uri), Ok((scope.to_owned(), key.to_owned())), "{uri}");
    }

    #[test]
    fn the_rest_of_a_path_is_the_key() {
        check("/-/cache/bazel/ac/00ff", "http:bazel", "ac/00ff");
        check("/-/cache/my-name/a%2Fb%20c/d?x=1", "http:my-name", "a/b c/d");
        check("/-/cache/abc//a/../b/", "http:abc", "/a/../b/");
        let empty = Err(r#"invalid key "": it is empty"#.to_owned());
        for uri in ["/-/cache/abc", "/-/cache/abc/", "/-/turbo/v8/artifacts/"] {
            assert_eq!(parse(uri), empty, "{uri}");
        }
        let bad = |uri: &str, why: &str| {
            let told = parse(uri).unwrap_err();
            assert!(told.contains(why), "{uri}: {told}");
        };
        bad("/-/cache/A/k", "invalid bucket name \"A\"");
        bad("/-/cache//k", "invalid bucket name \"\"");
        bad("/-/cache/abc/%ff", "not UTF-8");
        bad("/-/cache/abc/%0a", "control character");
        for uri in [
            "/-/",
            "/-/caches/abc/k",
            "/-/turbo/",
            "/-/turbo/v2/user",
            "/-/turbo/v8/artifacts/a/b",
            "/-/turbo/v8/artifactsx",
        ] {
            bad(uri, "there is no such page");
        }
    }

    #[test]
    fn teams_have_names_or_ids() {
        let artifact = r#"Artifact(Key("0a"))"#;
        check("/-/turbo/v8/artifacts/0a?teamId=team_xY&slug=my-team", "turbo:my-team", artifact);
        check("/-/turbo/v8/artifacts/0a?slug=&teamId=team_xY", "turbo:team_xY", artifact);
        check("/-/turbo/v8/artifacts/0a", "turbo:default", artifact);
        check("/-/turbo/v8/artifacts/status?slug=a", "turbo:a", "Status");
        check("/-/turbo/v8/artifacts/events", "turbo:default", "Events");
        check("/-/turbo/v8/artifacts?slug=a", "turbo:a", "Query");
        for bad in ["a%2Fb", "a%0Ab", "%C3%A4", &"x".repeat(64)] {
            let told = parse(&format!("/-/turbo/v8/artifacts/status?slug={bad}")).unwrap_err();
            assert!(told.starts_with("invalid team"), "{told}");
        }
    }

    #[test]
    fn operations_have_names_and_some_write() {
        let check = |method: Method, uri: &str, operation: &str, writes: bool| {
            let place = Place::parse(&uri.parse().unwrap()).unwrap();
            assert_eq!(place.operation(&method), operation);
            assert_eq!(place.writes(&method), writes, "{operation}");
        };
        let (cache, turbo) = ("/-/cache/abc/k", "/-/turbo/v8/artifacts/0a");
        check(Method::GET, cache, "CacheGet", false);
        check(Method::HEAD, cache, "CacheHead", false);
        check(Method::PUT, cache, "CachePut", true);
        check(Method::DELETE, cache, "CacheDelete", true);
        check(Method::POST, cache, "other", true);
        check(Method::GET, turbo, "TurboGet", false);
        check(Method::PUT, turbo, "TurboPut", true);
        check(Method::OPTIONS, turbo, "TurboPreflight", false);
        check(Method::POST, "/-/turbo/v8/artifacts", "TurboQuery", false);
        check(Method::POST, "/-/turbo/v8/artifacts/events", "TurboEvents", false);
    }

    #[test]
    fn content_is_named_by_its_hash_in_cas_alone() {
        let hash = "0123456789abcdef".repeat(4);
        let wanted = |key: String| content_hash(&key.parse().unwrap());
        let bytes = wanted(format!("cas/{hash}")).unwrap();
        assert_eq!(bytes[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(wanted(format!("instance/cas/{hash}")), Some(bytes));
        for other in [
            hash.clone(),
            format!("ac/{hash}"),
            format!("xcas/{hash}"),
            format!("cas/{}", hash.to_uppercase()),
            format!("cas/{}", &hash[1..]),
            format!("cas/x{}", &hash[1..]),
        ] {
            assert_eq!(wanted(other.clone()), None, "{other}");
        }
    }
}
