//! Credentials of a GitHub Actions job that may take on a role: its identity
//! token is exchanged for them, and again when they are about to expire.
//!
//! The protocol is GitHub's ("OpenID Connect in cloud providers") and STS's
//! `AssumeRoleWithWebIdentity`.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::error::display::DisplayErrorContext;

use super::config::{AssumeRole, Secret};

/// Whom the token is meant for: what GitHub's documents have role owners check.
const AUDIENCE: &str = "sts.amazonaws.com";

/// The longest answer that is read, in bytes: tokens have one or two thousand.
const MAX_TOKEN_ANSWER: usize = 64 << 10;

/// Where a job gets its identity token.
#[derive(Clone, Debug)]
pub(super) struct GithubToken {
    url: String,
    bearer: Secret,
}

impl GithubToken {
    /// What a job with `permissions: id-token: write` finds in its environment.
    /// A token file that is set too is somebody's explicit wish, and goes
    /// before.
    pub(super) fn from_environment() -> Option<Self> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        if text("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() || text("AWS_ACCESS_KEY_ID").is_some() {
            return None;
        }
        let url = text("ACTIONS_ID_TOKEN_REQUEST_URL")?;
        Some(Self { url, bearer: Secret::new(text("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?) })
    }
}

/// Takes on a role with identity tokens.
#[derive(Debug)]
pub(super) struct Provider {
    token: GithubToken,
    role: String,
    session: String,
    session_length: Option<Duration>,
    sts: aws_sdk_sts::Client,
    http: SharedHttpConnector,
}

impl Provider {
    pub(super) fn new(
        token: GithubToken,
        role: &AssumeRole,
        session: String,
        sdk: &SdkConfig,
        http: SharedHttpConnector,
    ) -> Self {
        let sts = aws_sdk_sts::Client::new(sdk);
        let (role, session_length) = (role.arn.clone(), role.session_length);
        Self { token, role, session, session_length, sts, http }
    }

    async fn credentials(&self) -> provider::Result {
        let token = self.identity().await?;
        let seconds = self.session_length.and_then(|length| i32::try_from(length.as_secs()).ok());
        let answer = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&self.role)
            .role_session_name(&self.session)
            .web_identity_token(token.reveal())
            .set_duration_seconds(seconds)
            .send()
            .await
            .map_err(|error| {
                let why = DisplayErrorContext(&error).to_string();
                CredentialsError::provider_error(format!("STS refused {}: {why}", self.role))
            })?;
        let found = answer
            .credentials
            .ok_or_else(|| CredentialsError::unhandled("STS gave no credentials"))?;
        let expires = found.expiration.try_into().map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            found.access_key_id,
            found.secret_access_key,
            Some(found.session_token),
            Some(expires),
            "GitHub Actions",
        ))
    }

    /// Asks for a token of the job's identity.
    async fn identity(&self) -> Result<Secret, CredentialsError> {
        let failed = |why: String| {
            CredentialsError::provider_error(format!("no identity token of GitHub: {why}"))
        };
        let separator = if self.token.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}audience={AUDIENCE}", self.token.url);
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(url).map_err(|error| failed(error.to_string()))?;
        let bearer = format!("Bearer {}", self.token.bearer.reveal());
        request.headers_mut().insert("authorization", bearer);
        request.headers_mut().insert("accept", "application/json");
        let mut answer = self
            .http
            .call(request)
            .await
            .map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("HTTP {}", answer.status().as_u16())));
        }
        let mut body = ByteStream::new(answer.take_body());
        let mut bytes = vec![];
        while let Some(more) = body.next().await {
            bytes.extend_from_slice(&more.map_err(|error| failed(error.to_string()))?);
            if bytes.len() > MAX_TOKEN_ANSWER {
                return Err(failed("the answer is too long".into()));
            }
        }
        let Answer { value } = serde_json::from_slice(&bytes)
            .map_err(|_| failed("the answer is not what GitHub documents".into()))?;
        Ok(Secret::new(value))
    }
}

/// What GitHub answers.
#[derive(serde::Deserialize)]
struct Answer {
    value: String,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
