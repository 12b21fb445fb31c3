//! The services that credentials come from, on loopback: STS, an instance's
//! metadata, a container's credentials, GitHub's identity tokens.
//!
//! All of them hand out one pair of keys, which the server under test knows,
//! for as long as the test says, and write down who asked for what. They refuse
//! what the real ones refuse: a wrong token, a missing signature.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::http::{Answer, Body, Head};
use crate::server::Keys;

/// The token that a container's credentials are asked for with.
pub(crate) const CONTAINER_TOKEN: &str = "container-authorization";
/// The token that a GitHub job's identity is asked for with.
pub(crate) const GITHUB_BEARER: &str = "github-request-token";
/// The identity that GitHub gives out; STS takes it, and no other.
pub(crate) const IDENTITY: &str = "header.identity-of-the-job.signature";
/// The session token of all credentials that are given out.
pub(crate) const SESSION: &str = "session-token-of-the-fake";

const METADATA_TOKEN: &str = "metadata-token";

/// A request that came to a fake.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request: Head,
    /// Of STS: the form's fields.
    pub(crate) form: BTreeMap<String, String>,
    pub(crate) status: u16,
}

impl Call {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", |value| value)
    }
}

/// All of the services at one address, until the test ends.
pub(crate) struct Fakes {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Fakes {
    /// Services that give out these keys, to be used for so long.
    pub(crate) fn new(keys: &Keys, lifetime: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(vec![]));
        let (log, keys) = (Arc::clone(&calls), keys.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, keys) = (Arc::clone(&log), keys.clone());
                thread::spawn(move || serve(stream?, &log, &Issuer { keys, lifetime }));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Calls so far whose target begins so.
    pub(crate) fn calls(&self, target: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.request.target().starts_with(target)).cloned().collect()
    }

    /// Calls of STS by the name of what they wanted.
    pub(crate) fn sts(&self, action: &str) -> Vec<Call> {
        let mut calls = self.calls("/sts");
        calls.retain(|call| call.field("Action") == action);
        calls
    }

    /// Where the SDK looks for STS.
    pub(crate) fn sts_variable(&self) -> (&'static str, String) {
        ("AWS_ENDPOINT_URL_STS", self.url("/sts"))
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Call>>, issuer: &Issuer) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(stream.try_clone()?), BufWriter::new(stream));
    while let Some(request) = Head::read(&mut from)? {
        let framing = request.request_framing();
        let body = Body::new(&mut from, framing).collect()?;
        let form = form(&String::from_utf8_lossy(&body));
        let answer = issuer.answer(&request, &form);
        let method = request.method().to_owned();
        let call = Call { request, form, status: answer.status };
        log.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        answer.write(&method, &mut to)?;
    }
    Ok(())
}

/// Who gives out the keys.
struct Issuer {
    keys: Keys,
    lifetime: Duration,
}

impl Issuer {
    fn answer(&self, request: &Head, form: &BTreeMap<String, String>) -> Answer {
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        let header = |name: &str| request.header(name).unwrap_or_default();
        match (request.method(), path) {
            ("POST", "/sts" | "/sts/") => self.sts(form, header("authorization")),
            ("PUT", "/latest/api/token") => Answer::new(200, "text/plain", METADATA_TOKEN)
                .with("x-aws-ec2-metadata-token-ttl-seconds", &21600),
            ("GET", path) if path.starts_with("/latest/") => {
                if header("x-aws-ec2-metadata-token") != METADATA_TOKEN {
                    return refused("no token");
                }
                match path.trim_end_matches('/') {
                    "/latest/meta-data/iam/security-credentials" => {
                        Answer::new(200, "text/plain", "instance-role")
                    }
                    "/latest/meta-data/iam/security-credentials/instance-role" => self.json(),
                    _ => Answer::new(404, "text/plain", "not here"),
                }
            }
            ("GET", "/container") if header("authorization") == CONTAINER_TOKEN => self.json(),
            ("GET", "/github")
                if header("authorization") == format!("Bearer {GITHUB_BEARER}")
                    && query.split('&').any(|pair| pair == "audience=sts.amazonaws.com") =>
            {
                let body = serde_json::json!({ "count": 1, "value": IDENTITY });
                Answer::new(200, "application/json", body.to_string())
            }
            _ => refused("not so"),
        }
    }

    /// Takes on a role for who is known: by a signature, or by an identity.
    fn sts(&self, form: &BTreeMap<String, String>, authorization: &str) -> Answer {
        let action = form.get("Action").map_or("", |action| action);
        let known = match action {
            "AssumeRole" => {
                let Keys { access_key, .. } = &self.keys;
                authorization.contains(&format!("Credential={access_key}/"))
            }
            "AssumeRoleWithWebIdentity" => {
                form.get("WebIdentityToken").is_some_and(|token| token == IDENTITY)
            }
            _ => false,
        };
        if !known {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                         <Message>nobody known</Message></Error></ErrorResponse>";
            return Answer::new(403, "text/xml", error);
        }
        let Keys { access_key, secret_key } = &self.keys;
        let (role, expires) = (&form["RoleArn"], self.expires());
        let body = format!(
            r#"<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><AssumedRoleUser><AssumedRoleId>AROA:session</AssumedRoleId><Arn>{role}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken>{SESSION}</SessionToken><Expiration>{expires}</Expiration></Credentials></{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"#
        );
        Answer::new(200, "text/xml", body)
    }

    /// Credentials in the form that instances and containers get them.
    fn json(&self) -> Answer {
        let body = serde_json::json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": self.keys.access_key,
            "SecretAccessKey": self.keys.secret_key,
            "Token": SESSION,
            "Expiration": self.expires(),
        });
        Answer::new(200, "application/json", body.to_string())
    }

    fn expires(&self) -> String {
        let time = DateTime::from(SystemTime::now() + self.lifetime);
        DateTime::from_secs(time.secs()).fmt(Format::DateTime).unwrap()
    }
}

fn refused(why: &str) -> Answer {
    Answer::new(401, "text/plain", why)
}

/// The fields of a form, or of a query.
fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (unescape(name), unescape(value))).collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
                u8::try_from(digit() * 16 + digit()).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
