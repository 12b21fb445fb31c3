//! The SDK's client for a store: which server, which credentials, how they are
//! spoken to.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};

use super::clock::Clock;
use super::config::{Checksums, CredentialSource, S3Config};
use super::github::GithubToken;
use super::headers::Headers;
use crate::store::error::StoreErrorKind;

/// The region in which signatures are made until the bucket says where it is:
/// S3 answers there for buckets of all regions, and other servers take it.
const FIRST_REGION: &str = "us-east-1";

/// What clients of one store are made of: another one is needed when the
/// bucket turns out to be in another region.
#[derive(Debug)]
pub(super) struct Clients {
    sdk: SdkConfig,
    s3: aws_sdk_s3::config::Builder,
}

impl Clients {
    /// Looks for region and credentials. No request to S3 is made yet.
    pub(super) async fn prepare(config: &S3Config, clock: &Clock) -> Result<Self, StoreErrorKind> {
        let tls = tls(config)?;
        let https = tls.clone();
        let http = Builder::new()
            .build_with_connector_fn(move |settings, _components| connector(&https, settings));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.connect_timeout)
            .disable_read_timeout()
            .disable_operation_timeout()
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .region(region(config))
            .use_fips(config.fips)
            .use_dual_stack(config.dual_stack);
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        match &config.credentials {
            CredentialSource::Chain => {}
            CredentialSource::Anonymous => loader = loader.no_credentials(),
            CredentialSource::Keys { access_key_id, secret_access_key, session_token } => {
                loader = loader.credentials_provider(Credentials::new(
                    access_key_id.reveal(),
                    secret_access_key.reveal(),
                    session_token.as_ref().map(|token| token.reveal().to_owned()),
                    None,
                    "store location",
                ));
            }
        }
        let mut sdk = loader.load().await;
        if let Some(provider) = role(config, &sdk, &tls).await {
            sdk = sdk.into_builder().credentials_provider(provider).build();
        }
        let (on_request, on_response) = match config.checksums {
            Checksums::Supported => (
                RequestChecksumCalculation::WhenSupported,
                ResponseChecksumValidation::WhenSupported,
            ),
            Checksums::Required => {
                (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
            }
        };
        let mut s3 = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.uses_path_style(sdk.endpoint_url()))
            .accelerate(config.accelerate)
            .interceptor(clock.clone())
            .interceptor(Headers::of(config)?)
            .request_checksum_calculation(on_request)
            .response_checksum_validation(on_response)
            // Requests are repeated by this module, which also sees what goes
            // wrong after an answer has begun.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .upload_enabled(true)
                    .download_enabled(false)
                    .grace_period(config.read_timeout)
                    .build(),
            );
        if config.credentials == CredentialSource::Anonymous {
            s3 = s3.allow_no_auth();
        }
        if let Some(url) = &config.endpoint_url {
            s3 = s3.endpoint_url(url);
        }
        Ok(Self { sdk, s3 })
    }

    /// The region that requests are signed for.
    pub(super) fn region(&self) -> Option<&str> {
        self.sdk.region().map(Region::as_ref)
    }

    /// A client, for another region if one is given.
    pub(super) fn client(&self, region: Option<&str>) -> Client {
        let mut config = self.s3.clone();
        if let Some(region) = region {
            config = config.region(Region::new(region.to_owned()));
        }
        Client::from_conf(config.build())
    }
}

/// As given, or as the environment or the profile has it. The instance's
/// metadata service is not asked: where there is none, that takes seconds, and
/// it knows the machine's region, not the bucket's.
fn region(config: &S3Config) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(config.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(Region::new(FIRST_REGION))
}

/// Credentials of the role, if one is to be taken on: renewed while a long
/// save runs.
async fn role(
    config: &S3Config,
    sdk: &SdkConfig,
    tls: &TlsContext,
) -> Option<SharedCredentialsProvider> {
    let role = config.role.as_ref()?;
    let session = role.session_name.clone().unwrap_or_else(|| "larder".to_owned());
    if config.credentials == CredentialSource::Chain
        && let Some(token) = GithubToken::from_environment()
    {
        let http = SharedHttpConnector::new(connector(tls, None));
        let provider = super::github::Provider::new(token, role, session, sdk, http);
        return Some(SharedCredentialsProvider::new(provider));
    }
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(session).configure(sdk);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id.reveal());
    }
    if let Some(length) = role.session_length {
        provider = provider.session_length(length);
    }
    if let Some(region) = sdk.region() {
        provider = provider.region(region.clone());
    }
    let provider = match sdk.credentials_provider() {
        Some(base) => provider.build_from_provider(base).await,
        None => provider.build().await,
    };
    Some(SharedCredentialsProvider::new(provider))
}

/// TLS by rustls, with the certificates of the system, of `SSL_CERT_FILE`, and
/// those that were given.
fn tls(config: &S3Config) -> Result<TlsContext, StoreErrorKind> {
    let mut trusted = TrustStore::empty().with_native_roots(true);
    let bundle = std::env::var_os("AWS_CA_BUNDLE").map(std::path::PathBuf::from);
    for file in config.ca_file.iter().chain(&bundle) {
        let pem = std::fs::read(file).map_err(|error| {
            let text = format!("cannot read the certificates in {}: {error}", file.display());
            StoreErrorKind::Io(std::io::Error::new(error.kind(), text))
        })?;
        trusted = trusted.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    tls.map_err(|error| StoreErrorKind::Io(std::io::Error::other(error)))
}

/// Connections as the environment's proxy variables want them.
fn connector(tls: &TlsContext, settings: Option<&HttpConnectorSettings>) -> Connector {
    let mut connector = Connector::builder()
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(tls.clone())
        .sleep_impl(TokioSleep::new())
        .proxy_config(ProxyConfig::from_env());
    connector.set_connector_settings(settings.cloned());
    connector.build()
}
