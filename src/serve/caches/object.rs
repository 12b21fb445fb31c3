//! Objects by their names, in plain HTTP: found, sent, received and deleted.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use larder::objects::{Condition, Details, Found, Info, ObjectError, ObjectName};
use s3s::Body;
use sha2::{Digest as _, Sha256};

use super::super::transfers::Digest;
use super::failure::Failure;
use super::names::content_hash;
use super::{Caches, Incoming};

/// Compares the hash of a body with its name, if that is to be one.
struct Named {
    wanted: Option<[u8; 32]>,
    hasher: Sha256,
}

impl Named {
    fn matches(self) -> bool {
        let Self { wanted, hasher } = self;
        wanted.is_none_or(|wanted| hasher.finalize()[..] == wanted)
    }
}

impl Digest for Named {
    fn update(&mut self, block: &[u8]) {
        if self.wanted.is_some() {
            self.hasher.update(block);
        }
    }
}

/// The headers that are kept of an object that is put by its path.
pub(super) fn is_kept_by_path(name: &HeaderName) -> bool {
    *name == CONTENT_TYPE || *name == CONTENT_ENCODING
}

impl Caches {
    /// The answer to GET or HEAD. Either counts as a use: whoever asks whether it is there
    /// relies on it.
    pub(super) async fn get(
        &self,
        parts: &Parts,
        name: ObjectName,
    ) -> Result<Response<Body>, Failure> {
        let found = self.transfers.ask(move |objects| objects.find(&name)).await?;
        let mut answer = described(&found.info);
        if is_known(&parts.headers, &found.info.details.etag) {
            answer.headers_mut().remove(CONTENT_LENGTH);
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else if parts.method == Method::GET {
            let whole = 0..found.info.len;
            *answer.body_mut() = self.transfers.send(found, whole).await.into();
            return Ok(answer);
        }
        self.used(found).await?;
        Ok(answer)
    }

    async fn used(&self, found: Found) -> Result<(), ObjectError> {
        self.transfers
            .ask(move |objects| {
                objects.used(&found);
                Ok(())
            })
            .await
    }

    /// Stores a body under a name, with those of its headers that are to be kept; gives the
    /// entity tag.
    pub(super) async fn put(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        name: ObjectName,
        is_kept: fn(&HeaderName) -> bool,
    ) -> Result<String, Failure> {
        let condition = condition(&parts.headers)?;
        let headers = kept(&parts.headers, is_kept);
        let named = Named { wanted: content_hash(&name.key), hasher: Sha256::new() };
        let scope = name.scope.clone();
        let received = self.transfers.receive(body, scope, len(parts), named).await;
        let (whole, named) =
            received.map_err(|why| Failure::of_body(why, self.transfers.max_body()))?;
        if !named.matches() {
            return Err(Failure::OtherHash);
        }
        let contents = whole.finish().await?;
        let details = Details { etag: contents.tag(), headers, ..Details::default() };
        let etag = details.etag.clone();
        self.transfers
            .ask(move |objects| objects.put(&name, contents, details, &condition))
            .await?;
        Ok(etag)
    }

    /// Deletes an object, whether it is there or not.
    pub(super) async fn delete(&self, name: ObjectName) -> Result<Response<Body>, Failure> {
        self.transfers
            .ask(move |objects| match objects.delete(&[name])?.into_iter().next() {
                None => Ok(()),
                Some((_, error)) => Err(ObjectError::Failed(error)),
            })
            .await?;
        let mut answer = Response::<Body>::default();
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    }
}

/// What was said of a body's length.
fn len(parts: &Parts) -> Option<u64> {
    parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn kept(
    headers: &HeaderMap,
    is_kept: fn(&HeaderName) -> bool,
) -> std::collections::BTreeMap<String, String> {
    let kept = headers.iter().filter(|(name, _)| is_kept(name));
    kept.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// An answer with all that is told of an object beside its bytes.
fn described(info: &Info) -> Response<Body> {
    let mut answer = tagged(Response::default(), &info.details.etag);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, info.len.into());
    for (name, value) in &info.details.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    answer
}

/// The answer with an entity tag.
pub(super) fn tagged(mut answer: Response<Body>, etag: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(format!("\"{etag}\"")) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

/// Whether the client has what is there, as it says.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|list| list.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one.trim_matches('"') == etag)
}

/// When a put may take effect.
fn condition(headers: &HeaderMap) -> Result<Condition, Failure> {
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::None),
        (None, Some(value)) if value == "*" => Ok(Condition::Absent),
        _ => Err(Failure::UnknownCondition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(HeaderName, &str)]) -> HeaderMap {
        rows.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_are_kept_or_refused() {
        let of = |rows: &[_]| condition(&headers(rows)).ok();
        assert_eq!(of(&[]), Some(Condition::None));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Some(Condition::Absent));
        assert_eq!(of(&[(IF_NONE_MATCH, "\"a\"")]), None);
        assert_eq!(of(&[(IF_MATCH, "\"a\"")]), None);
        let known = |value: &str| is_known(&headers(&[(IF_NONE_MATCH, value)]), "abc");
        assert!(known("\"abc\"") && known("\"x\", W/\"abc\"") && known("*"));
        assert!(!known("\"x\"") && !known(""));
        assert!(!is_known(&HeaderMap::new(), "abc"));
    }

    #[test]
    fn names_are_compared_with_hashes() {
        let hash: [u8; 32] = Sha256::digest(b"abc").into();
        let check = |wanted: Option<[u8; 32]>, blocks: &[&[u8]]| {
            let mut named = Named { wanted, hasher: Sha256::new() };
            blocks.iter().for_each(|block| Digest::update(&mut named, block));
            named.matches()
        };
        assert!(check(Some(hash), &[b"a", b"bc"]));
        assert!(!check(Some(hash), &[b"ab"]));
        assert!(check(None, &[b"ab"]));
        assert!(check(Some(Sha256::digest(b"").into()), &[]));
    }
}
