//! Turborepo's remote cache: version 8 of Vercel's API of artifacts, as far as `turbo` and
//! others speak it.

use futures_util::{StreamExt as _, stream};
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use larder::objects::{Info, ObjectError, ObjectName};
use s3s::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::names::{Namespace, Page, parse_key};
use super::object::is_kept_by_path;
use super::{Caches, Incoming, drain};

/// The most bytes of a question about artifacts, which is read into memory: some thousands
/// of hashes.
const MAX_QUERY_LEN: usize = 256 << 10;

/// How many artifacts are looked for at one time.
const MAX_FINDS: usize = 8;

/// How long the task took whose outputs an artifact has, in milliseconds.
const DURATION: &str = "x-artifact-duration";

/// The signature of an artifact, if its builder signs.
const TAG: &str = "x-artifact-tag";

/// A question about several artifacts.
#[derive(Deserialize)]
struct Query {
    hashes: Vec<String>,
}

impl Caches {
    pub(super) async fn turbo(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        team: &Namespace,
        page: Page,
    ) -> Result<Response<Body>, Failure> {
        match (&parts.method, page) {
            (&Method::OPTIONS, _) => Ok(preflight()),
            (&Method::GET, Page::Status) => Ok(page_of(&json!({ "status": "enabled" }))),
            (&Method::POST, Page::Events) => {
                drain(body).await;
                Ok(page_of(&json!({})))
            }
            (&Method::POST, Page::Query) => self.query(body, team).await,
            (&Method::GET | &Method::HEAD, Page::Artifact(key)) => {
                self.get(parts, ObjectName { scope: team.scope(), key }).await
            }
            (&Method::PUT, Page::Artifact(key)) => {
                let name = ObjectName { scope: team.scope(), key };
                self.put(parts, body, name, is_kept).await?;
                let mut answer = page_of(&json!({ "urls": [parts.uri.path()] }));
                *answer.status_mut() = StatusCode::ACCEPTED;
                Ok(answer)
            }
            (_, Page::Status) => Err(Failure::Method("GET")),
            (_, Page::Events | Page::Query) => Err(Failure::Method("POST")),
            (_, Page::Artifact(_)) => Err(Failure::Method("GET, HEAD, PUT, OPTIONS")),
        }
    }

    /// What is known of several artifacts; nothing of those that are not there.
    async fn query(
        &self,
        body: &mut Incoming,
        team: &Namespace,
    ) -> Result<Response<Body>, Failure> {
        let _room = self.transfers.room(MAX_QUERY_LEN as u64).await;
        let text = read(body).await?;
        let query: Query = serde_json::from_slice(&text)
            .map_err(|error| Failure::Name(format!("not {{\"hashes\": […]}}: {error}")))?;
        let names = query.hashes.into_iter().map(|hash| {
            let key = parse_key(&hash)?;
            Ok((hash, ObjectName { scope: team.scope(), key }))
        });
        let names = names.collect::<Result<Vec<_>, Failure>>()?;
        let mut rows = stream::iter(names)
            .map(async |(hash, name)| {
                match self.transfers.ask(move |objects| objects.find(&name)).await {
                    Ok(found) => Ok((hash, told(&found.info))),
                    Err(ObjectError::NotFound) => Ok((hash, Value::Null)),
                    Err(error) => Err(error),
                }
            })
            .buffered(MAX_FINDS);
        let mut all = serde_json::Map::new();
        while let Some(row) = rows.next().await {
            all.extend([row?]);
        }
        Ok(page_of(&Value::Object(all)))
    }
}

/// Of what `turbo` tells of an artifact, all but who it is itself.
fn is_kept(name: &HeaderName) -> bool {
    let name_text = name.as_str();
    is_kept_by_path(name)
        || (name_text.starts_with("x-artifact-") && !name_text.starts_with("x-artifact-client-"))
}

fn told(info: &Info) -> Value {
    let header = |name: &str| info.details.headers.get(name);
    let duration: u64 = header(DURATION).and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut told = json!({ "size": info.len, "taskDurationMs": duration });
    if let Some(tag) = header(TAG) {
        told["tag"] = json!(tag);
    }
    told
}

/// A short body, in memory.
async fn read(body: &mut Incoming) -> Result<Vec<u8>, Failure> {
    let mut text = vec![];
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece.map_err(Failure::Body)?);
        if text.len() > MAX_QUERY_LEN {
            return Err(Failure::TooLong(MAX_QUERY_LEN as u64));
        }
    }
    Ok(text)
}

/// What `turbo --preflight` asks before each request: whether it may send its token.
fn preflight() -> Response<Body> {
    let mut answer = Response::<Body>::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let allowed = "Authorization, Content-Type, User-Agent, x-artifact-duration, x-artifact-tag, \
                   x-artifact-sha, x-artifact-dirty-hash";
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
    let methods = HeaderValue::from_static("GET, HEAD, PUT, POST");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    answer
}

fn page_of(value: &Value) -> Response<Body> {
    let mut page = Response::new(Body::from(value.to_string()));
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}

#[cfg(test)]
mod tests {
    use larder::objects::Details;
    use larder::store_time::StoreTime;

    use super::*;

    #[test]
    fn what_is_told_of_an_artifact_comes_from_its_headers() {
        let rows = [("x-artifact-duration", "1200"), ("x-artifact-tag", "c2ln")];
        let rows = rows.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut info = Info {
            name: ObjectName { scope: "turbo:a".parse().unwrap(), key: "0a".parse().unwrap() },
            len: 7,
            modified: StoreTime::from_unix(0),
            details: Details { headers: rows.into(), ..Details::default() },
        };
        let expected = json!({ "size": 7, "taskDurationMs": 1200, "tag": "c2ln" });
        assert_eq!(told(&info), expected);
        info.details.headers.clear();
        assert_eq!(told(&info), json!({ "size": 7, "taskDurationMs": 0 }));
    }

    #[test]
    fn headers_of_artifacts_are_kept_and_those_of_clients_not() {
        let is_kept = |name: &'static str| is_kept(&HeaderName::from_static(name));
        for name in ["x-artifact-duration", "x-artifact-tag", "x-artifact-sha", "content-type"] {
            assert!(is_kept(name), "{name}");
        }
        for name in ["x-artifact-client-ci", "authorization", "user-agent", "content-length"] {
            assert!(!is_kept(name), "{name}");
        }
    }
}
