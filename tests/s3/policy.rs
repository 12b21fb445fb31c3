//! The policies of `docs/trust.md`, as Amazon S3 evaluates them: what each lets a
//! request do. The tests read them from the page, so that what is documented is what is
//! tested; what an evaluation here would need and lack ends the test.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::http::Head;

/// The bucket that the page's policies are of.
const BUCKET: &str = "arn:aws:s3:::acme-larder";

/// The policy that the page has below a heading.
pub(crate) fn of_the_page(heading: &str) -> Value {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trust.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).expect(heading);
    let (_, text) = section.split_once("```json\n").unwrap();
    let (text, _) = text.split_once("\n```").unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{heading}: {error}"))
}

/// The same, as the policy of a bucket, for everybody who is not its owner; without its
/// conditions, for servers that do not know them.
pub(crate) fn of_bucket(policy: &Value, bucket: &str) -> Value {
    let text = policy.to_string().replace(BUCKET, &format!("arn:aws:s3:::{bucket}"));
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        statement["Principal"] = "*".into();
        statement.as_object_mut().unwrap().remove("Condition");
    }
    policy
}

/// What a request asks to be allowed.
#[derive(Debug)]
struct Asked<'a> {
    action: &'static str,
    /// As the page's policies name it, whatever the bucket.
    resource: String,
    if_none_match: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Of a request that has the bucket in its path.
    fn of(request: &'a Head) -> Self {
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        let has = |word: &str| query.split('&').any(|part| part.split('=').next() == Some(word));
        let action = match (request.method(), key) {
            ("GET" | "HEAD", "") => "s3:ListBucket",
            ("GET" | "HEAD", _) => "s3:GetObject",
            // Of all that the body names, which a head does not tell.
            ("POST", "") if has("delete") => "s3:DeleteObject",
            ("PUT", key) if !key.is_empty() && !has("partNumber") => "s3:PutObject",
            ("DELETE", key) if !key.is_empty() && !has("uploadId") => "s3:DeleteObject",
            asked => panic!("no rule for {asked:?} {query}"),
        };
        let resource = match (action, decoded(key)) {
            ("s3:ListBucket", _) => BUCKET.to_owned(),
            (_, key) => format!("{BUCKET}/{}", if key.is_empty() { "*" } else { &key }),
        };
        Self { action, resource, if_none_match: request.header("if-none-match") }
    }
}

/// Whether a policy lets a request pass.
pub(crate) fn allows(policy: &Value, request: &Head) -> bool {
    let asked = Asked::of(request);
    policy["Statement"].as_array().unwrap().iter().any(|statement| {
        assert_eq!(statement["Effect"], "Allow", "{statement}");
        let actions = texts(&statement["Action"]);
        let resources = texts(&statement["Resource"]);
        actions.contains(&asked.action)
            && resources.iter().any(|pattern| matches(pattern, &asked.resource))
            && holds(&statement["Condition"], &asked)
    })
}

fn holds(condition: &Value, asked: &Asked<'_>) -> bool {
    let Value::Object(operators) = condition else { return condition.is_null() };
    operators.iter().all(|(operator, keys)| {
        let keys = keys.as_object().unwrap();
        keys.iter().all(|(key, value)| match (operator.as_str(), key.as_str(), value) {
            ("Null", "s3:if-none-match", Value::String(is_absent)) => {
                asked.if_none_match.is_none() == (is_absent == "true")
            }
            other => panic!("no rule for the condition {other:?}"),
        })
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(all) => all.iter().map(|text| text.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

/// `*` stands for anything, `?` for any one character, `/` included.
fn matches(pattern: &str, text: &str) -> bool {
    let mut glob = globset::GlobBuilder::new(pattern);
    glob.literal_separator(false).build().unwrap().compile_matcher().is_match(text)
}

/// A path without its percent-encoding, as a key.
fn decoded(path: &str) -> String {
    let mut bytes = vec![];
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
