//! Where stores and local caches are, as people write it.

use std::path::Path;

use crate::store::{CredentialSource, InvalidLocation, S3Config, Secret, StoreLocation};
use crate::tier::TierLocation;

/// A location means what it is shown as, and shows no secret.
///
/// # Panics
/// If a promise is broken.
pub fn store_url(data: &[u8]) {
    let (kind, text) = super::choose(data, 4);
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind {
        0 => check_location(StoreLocation::parse(text, None)),
        1 => check_location(StoreLocation::parse(text, Some(Path::new("/home/ci")))),
        2 => {
            let words = text.lines().filter_map(|line| line.split_once('='));
            let config = S3Config::from_words(words);
            check_location(config.map(|config| StoreLocation::S3(Box::new(config))));
        }
        _ => check_tier(text),
    }
}

fn check_location(parsed: Result<StoreLocation, InvalidLocation>) {
    let location = match parsed {
        Ok(location) => location,
        Err(error) => {
            super::check_message(&error.to_string());
            error.hint().iter().for_each(|hint| super::check_message(hint));
            return;
        }
    };
    let shown = location.to_string();
    let again = StoreLocation::parse(&shown, None).expect("what is shown is a location");
    match (&location, &again) {
        (StoreLocation::S3(config), StoreLocation::S3(again)) => {
            // Only what says where it is: how to speak to it can be secret.
            assert_eq!((&again.bucket, &again.prefix), (&config.bucket, &config.prefix));
            assert_eq!(again.endpoint_url, config.endpoint_url);
            assert_eq!(again.to_string(), shown);
            check_secrets(config);
        }
        _ => assert_eq!(again, location, "{shown}"),
    }
}

/// With other secrets, it looks the same.
fn check_secrets(config: &S3Config) {
    let mut other = config.clone();
    if let CredentialSource::Keys { access_key_id, secret_access_key, session_token } =
        &mut other.credentials
    {
        for secret in [access_key_id, secret_access_key].into_iter().chain(session_token) {
            *secret = Secret::new("another secret");
        }
    }
    if let Some(id) = other.role.as_mut().and_then(|role| role.external_id.as_mut()) {
        *id = Secret::new("another secret");
    }
    assert_eq!(format!("{other} {other:?}"), format!("{config} {config:?}"));
}

fn check_tier(text: &str) {
    match TierLocation::parse(text, None) {
        Ok(tier) => {
            assert!(tier.size > 0 && !tier.directory.as_os_str().is_empty());
            let shown = format!("{}:{}B", tier.directory.display(), tier.size);
            assert_eq!(TierLocation::parse(&shown, None), Ok(tier));
        }
        Err(error) => super::check_message(&format!("{error} {}", error.hint())),
    }
}
