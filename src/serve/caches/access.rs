//! Whose requests are answered: keys are sent as a password (HTTP basic) or as a token
//! (bearer).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::super::keys::Keys;
use super::failure::Failure;
use super::names::Namespace;

/// Checks whether a request may do something of this kind in a namespace.
///
/// # Errors
/// [`Failure::NoKey`] if it has no key that is known, [`Failure::OtherKey`] and
/// [`Failure::ReadOnly`] if the key is not for that.
pub(super) fn check(
    keys: &Keys,
    headers: &HeaderMap,
    namespace: &Namespace,
    writes: bool,
) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let rights = given.and_then(|text| keys.rights_by_header(text)).ok_or(Failure::NoKey)?;
    if !rights.sees(namespace.as_str()) {
        return Err(Failure::OtherKey(namespace.as_str().to_owned()));
    }
    if writes && rights.is_read_only() {
        return Err(Failure::ReadOnly);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::super::names::Place;
    use super::*;

    const KEYS: &str = r#"
        [[key]]
        access-key = "ci"
        secret-key = "a long secret"
        [[key]]
        access-key = "reader"
        secret-key = "another secret"
        buckets = ["cache", "team_xY"]
        read-only = true
    "#;

    fn check_at(uri: &str, authorization: Option<&str>, writes: bool) -> Option<u16> {
        let mut keys = Keys::default();
        keys.add_file(KEYS).unwrap();
        let mut headers = HeaderMap::new();
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, text.parse().unwrap());
        }
        let place = Place::parse(&uri.parse().unwrap()).unwrap();
        let checked = check(&keys, &headers, place.namespace(), writes);
        checked.err().map(|failure| failure.status().as_u16())
    }

    #[test]
    fn keys_are_asked_for_and_have_rights() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let at = "/-/cache/cache/k";
        assert_eq!(check_at(at, None, false), Some(401));
        assert_eq!(check_at(at, Some("Bearer wrong"), false), Some(401));
        assert_eq!(check_at(at, Some(&basic("ci:another secret")), false), Some(401));
        assert_eq!(check_at(at, Some(&basic("ci:a long secret")), true), None);
        let reader = "Bearer another secret";
        assert_eq!(check_at(at, Some(reader), false), None);
        assert_eq!(check_at(at, Some(reader), true), Some(403));
        assert_eq!(check_at("/-/cache/other/k", Some(reader), false), Some(403));
        let turbo = |team: &str| format!("/-/turbo/v8/artifacts/0a?teamId={team}");
        assert_eq!(check_at(&turbo("team_xY"), Some(reader), false), None);
        assert_eq!(check_at(&turbo("team_z"), Some(reader), false), Some(403));
    }

    #[test]
    fn without_keys_nobody_is_asked() {
        let place = Place::parse(&"/-/cache/abc/k".parse().unwrap()).unwrap();
        let keys = Keys::default();
        assert!(check(&keys, &HeaderMap::new(), place.namespace(), true).is_ok());
    }
}
