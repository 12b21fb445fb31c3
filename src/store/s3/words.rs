//! The words in the location of an S3 store, as a person writes them.
//!
//! ```text
//! s3://bucket/prefix?region=eu-west-1&endpoint_url=https://s3.example.org
//! type=s3,bucket=bucket,prefix=prefix,region=eu-west-1,name=main;fallback
//! ```
//!
//! The second form is the one of `docker buildx --cache-to`, read by the rules
//! of its CSV; both have the same words. Front ends with settings of their own
//! give the words one by one ([`S3Config::from_words`]).

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::config::{
    AssumeRole, CacheMode, Checksums, CredentialSource, CustomerKey, Encryption, S3Config, Secret,
    host,
};
use crate::store::location::{InvalidLocation, decode};

impl S3Config {
    /// Reads words and their values from wherever a front end has them, such as
    /// the settings of a CI plugin. The words are those of a location; a word
    /// whose value is empty counts as absent.
    ///
    /// # Errors
    /// [`InvalidLocation`], saying what part of it means nothing.
    pub fn from_words<'a>(
        words: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidLocation> {
        let mut read = Words::default();
        for (word, value) in words {
            read.set(word, value)?;
        }
        read.config()
    }

    /// Reads what follows `s3:` in a URL.
    ///
    /// # Errors
    /// [`InvalidLocation`], saying what part of it means nothing.
    pub(in crate::store) fn parse_url(rest: &str) -> Result<Self, InvalidLocation> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let text = |text: &str| decode(text).ok_or_else(|| InvalidLocation::Encoding(text.into()));
        let mut words = Words::default();
        if !bucket.is_empty() {
            words.set("bucket", &text(bucket)?)?;
        }
        words.set("prefix", &text(prefix)?)?;
        for parameter in query.split('&').filter(|text| !text.is_empty()) {
            let (word, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // What a bare word means in a query: it is there.
            let value = match decode(value) {
                _ if !parameter.contains('=') => "true".to_owned(),
                Some(value) => value,
                // It may be a secret.
                None => return Err(InvalidLocation::Encoding(format!("{word}=***"))),
            };
            words.set(word, &value)?;
        }
        words.config()
    }

    /// Reads buildx's words, `type=s3` among them.
    ///
    /// # Errors
    /// [`InvalidLocation`], saying what part of it means nothing.
    pub(in crate::store) fn parse_csv(text: &str) -> Result<Self, InvalidLocation> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        let record = reader.records().next().and_then(Result::ok);
        let mut words = Words::default();
        for field in record.iter().flatten() {
            let (word, value) =
                field.split_once('=').ok_or_else(|| InvalidLocation::Field(field.to_owned()))?;
            if word != "type" {
                words.set(word, value)?;
            }
        }
        words.config()
    }
}

/// All words, as buildx has them where it has them; docs/cli.md says what each
/// means.
const WORDS: [&str; 37] = [
    "access_key_id",
    "accelerate",
    "anonymous",
    "blobs_prefix",
    "bucket",
    "ca_file",
    "checksums",
    "conditional_writes",
    "connect_timeout",
    "dual_stack",
    "endpoint_url",
    "expected_bucket_owner",
    "external_id",
    "fips",
    "ignore-error",
    "manifests_prefix",
    "mode",
    "name",
    "prefix",
    "profile",
    "read_timeout",
    "region",
    "request_payer",
    "role_arn",
    "role_session_duration",
    "role_session_name",
    "secret_access_key",
    "session_token",
    "sse",
    "sse_customer_key",
    "sse_kms_key_id",
    "storage_class",
    "tags",
    "touch_refresh",
    "type",
    "upload_parallelism",
    "use_path_style",
];

/// What is never shown, beside [`CREDENTIALS`].
const SECRETS: [&str; 2] = ["external_id", "sse_customer_key"];

/// The words that are credentials.
const CREDENTIALS: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];

/// What STS takes for `DurationSeconds`, whatever the role allows of it.
const SESSION_LENGTHS: RangeInclusive<Duration> =
    Duration::from_secs(15 * 60)..=Duration::from_secs(12 * 60 * 60);

/// Words while they are being read: some mean something only together.
#[derive(Default)]
struct Words {
    values: std::collections::BTreeMap<&'static str, String>,
}

impl Words {
    fn set(&mut self, word: &str, value: &str) -> Result<(), InvalidLocation> {
        let Some(word) = WORDS.into_iter().find(|known| *known == word) else {
            return Err(InvalidLocation::Word(word.to_owned()));
        };
        if self.values.insert(word, value.to_owned()).is_some() && word != "prefix" {
            return Err(InvalidLocation::Twice(word));
        }
        Ok(())
    }

    fn text(&self, word: &str) -> Option<String> {
        self.values.get(word).filter(|value| !value.is_empty()).cloned()
    }

    fn secret(&self, word: &str) -> Option<Secret> {
        self.text(word).map(Secret::new)
    }

    fn invalid(word: &'static str, value: &str) -> InvalidLocation {
        InvalidLocation::Value { parameter: word, value: value.to_owned() }
    }

    fn boolean(&self, word: &'static str) -> Result<Option<bool>, InvalidLocation> {
        let Some(value) = self.text(word) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(Some(true)),
            "false" | "0" | "no" => Ok(Some(false)),
            _ => Err(Self::invalid(word, &value)),
        }
    }

    fn flag(&self, word: &'static str) -> Result<bool, InvalidLocation> {
        self.boolean(word).map(|value| value.unwrap_or(false))
    }

    /// One of a few words.
    fn choice<T: Copy>(
        &self,
        word: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, InvalidLocation> {
        let Some(value) = self.text(word) else { return Ok(None) };
        let found = choices.iter().find(|(name, _)| *name == value);
        found.map(|(_, choice)| Some(*choice)).ok_or_else(|| Self::invalid(word, &value))
    }

    fn config(self) -> Result<S3Config, InvalidLocation> {
        let bucket = self.text("bucket").ok_or(InvalidLocation::NoBucket)?;
        let is_bucket = (3..=255).contains(&bucket.len())
            && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        // An access point's ARN stands where a bucket's name does.
        if !is_bucket && !bucket.starts_with("arn:") {
            // Other programs take keys there: they are not repeated.
            let shown = if bucket.contains([':', '@']) { "***" } else { &bucket };
            return Err(Self::invalid("bucket", shown));
        }
        let prefix = self.text("prefix").unwrap_or_default();
        if prefix.chars().any(char::is_control) || prefix.len() > 512 {
            return Err(Self::invalid("prefix", &prefix));
        }
        self.check_characters()?;
        let session_length = self.session_length()?;
        let defaults = S3Config::new(bucket, prefix);
        let listed = ["manifests_prefix", "blobs_prefix"];
        Ok(S3Config {
            region: self.text("region"),
            endpoint_url: self.endpoint()?,
            path_style: self.boolean("use_path_style")?,
            credentials: self.credentials()?,
            profile: self.text("profile"),
            role: self.text("role_arn").map(|arn| AssumeRole {
                arn,
                session_name: self.text("role_session_name"),
                external_id: self.secret("external_id"),
                session_length,
            }),
            accelerate: self.flag("accelerate")?,
            dual_stack: self.flag("dual_stack")?,
            fips: self.flag("fips")?,
            encryption: self.encryption()?,
            storage_class: self.text("storage_class").map(|class| class.to_ascii_uppercase()),
            tags: self.tags()?,
            requester_pays: self.requester_pays()?,
            expected_owner: self.text("expected_bucket_owner"),
            ca_file: self.text("ca_file").map(PathBuf::from),
            checksums: self
                .choice(
                    "checksums",
                    &[
                        ("when_supported", Checksums::Supported),
                        ("when_required", Checksums::Required),
                    ],
                )?
                .unwrap_or_default(),
            parallelism: match self.text("upload_parallelism") {
                None => None,
                Some(value) => {
                    Some(value.parse().map_err(|_| Self::invalid("upload_parallelism", &value))?)
                }
            },
            conditional_writes: self.boolean("conditional_writes")?,
            names: self.names(),
            ignore_error: self.flag("ignore-error")?,
            mode: self
                .choice("mode", &[("min", CacheMode::Min), ("max", CacheMode::Max)])?
                .unwrap_or_default(),
            touch_refresh: self.duration("touch_refresh")?,
            connect_timeout: self.duration("connect_timeout")?.unwrap_or(defaults.connect_timeout),
            read_timeout: self.duration("read_timeout")?.unwrap_or(defaults.read_timeout),
            without_effect: listed.into_iter().filter(|word| self.text(word).is_some()).collect(),
            ..defaults
        })
    }

    /// No value has line ends and the like: they would be in headers, and in what is
    /// shown. Credentials say more of what they have.
    fn check_characters(&self) -> Result<(), InvalidLocation> {
        let is_wrong = |(_, value): &(&&'static str, &String)| value.contains(char::is_control);
        match self.values.iter().filter(|(word, _)| !CREDENTIALS.contains(word)).find(is_wrong) {
            None => Ok(()),
            Some((&word, _)) if SECRETS.contains(&word) => Err(Self::invalid(word, "***")),
            Some((&word, value)) => Err(Self::invalid(word, value)),
        }
    }

    /// An endpoint; without a scheme, https is meant.
    fn endpoint(&self) -> Result<Option<String>, InvalidLocation> {
        let Some(url) = self.text("endpoint_url") else { return Ok(None) };
        let url = if url.contains("://") { url } else { format!("https://{url}") };
        // A password would be shown wherever the location is, and S3 takes none.
        if let Some((_, host)) = url.rsplit_once('@') {
            return Err(Self::invalid("endpoint_url", &format!("***@{host}")));
        }
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        if !is_http || host(&url).is_empty() || url.contains(char::is_whitespace) {
            return Err(Self::invalid("endpoint_url", &url));
        }
        Ok(Some(url.trim_end_matches('/').to_owned()))
    }

    fn credentials(&self) -> Result<CredentialSource, InvalidLocation> {
        if self.flag("anonymous")? {
            return Ok(CredentialSource::Anonymous);
        }
        // They go into headers; and what ends a line was no part of them.
        for word in CREDENTIALS {
            let is_printable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
            if self.text(word).is_some_and(|text| !is_printable(&text)) {
                return Err(Self::invalid(word, "***"));
            }
        }
        match (self.secret("access_key_id"), self.secret("secret_access_key")) {
            (Some(access_key_id), Some(secret_access_key)) => Ok(CredentialSource::Keys {
                access_key_id,
                secret_access_key,
                session_token: self.secret("session_token"),
            }),
            (None, None) => Ok(CredentialSource::Chain),
            (Some(_), None) => Err(InvalidLocation::HalfOfKeys("secret_access_key")),
            (None, Some(_)) => Err(InvalidLocation::HalfOfKeys("access_key_id")),
        }
    }

    fn encryption(&self) -> Result<Encryption, InvalidLocation> {
        if let Some(key) = self.text("sse_customer_key") {
            use base64::Engine as _;
            // The value stays out of the message: it is a secret.
            let bytes = base64::engine::general_purpose::STANDARD.decode(key).ok();
            let key = bytes.and_then(|bytes| bytes.try_into().ok());
            let key = key.ok_or(Self::invalid("sse_customer_key", "***"))?;
            return Ok(Encryption::Customer(CustomerKey(key)));
        }
        let key_id = self.text("sse_kms_key_id");
        let Some(value) = self.text("sse") else {
            return Ok(match key_id {
                Some(_) => Encryption::Kms { dual_layer: false, key_id },
                None => Encryption::BucketDefault,
            });
        };
        match value.as_str() {
            "AES256" => Ok(Encryption::S3),
            "aws:kms" => Ok(Encryption::Kms { dual_layer: false, key_id }),
            "aws:kms:dsse" => Ok(Encryption::Kms { dual_layer: true, key_id }),
            _ => Err(Self::invalid("sse", &value)),
        }
    }

    /// `name=value` pairs, separated by semicolons.
    fn tags(&self) -> Result<Vec<(String, String)>, InvalidLocation> {
        let text = self.text("tags").unwrap_or_default();
        let pairs = text.split(';').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').or_else(|| pair.split_once(':'))?;
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        pairs.map(|text| pair(text).ok_or_else(|| Self::invalid("tags", text))).collect()
    }

    /// `requester`, as S3 calls it, or a truth value.
    fn requester_pays(&self) -> Result<bool, InvalidLocation> {
        match self.text("request_payer").as_deref() {
            Some("requester") => Ok(true),
            _ => self.flag("request_payer"),
        }
    }

    fn names(&self) -> Vec<String> {
        let text = self.text("name").unwrap_or_default();
        text.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// A duration such as `90s`, `24h` or `1h30m`, and not nothing.
    fn duration(&self, word: &'static str) -> Result<Option<Duration>, InvalidLocation> {
        let Some(value) = self.text(word) else { return Ok(None) };
        let duration = humantime::parse_duration(&value).ok().filter(|time| !time.is_zero());
        duration.map(Some).ok_or_else(|| Self::invalid(word, &value))
    }

    /// How long credentials of a role last: what STS takes.
    fn session_length(&self) -> Result<Option<Duration>, InvalidLocation> {
        const WORD: &str = "role_session_duration";
        let length = self.duration(WORD)?;
        if length.is_some_and(|length| !SESSION_LENGTHS.contains(&length)) {
            return Err(Self::invalid(WORD, &self.text(WORD).unwrap_or_default()));
        }
        Ok(length)
    }
}

/// The words that may stand in a location, for suggestions.
pub(in crate::store) fn words() -> &'static [&'static str] {
    &WORDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreLocation;

    fn parse(text: &str) -> Result<S3Config, InvalidLocation> {
        match StoreLocation::parse(text, None)? {
            StoreLocation::S3(config) => Ok(*config),
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn a_url_and_buildx_words_mean_the_same() {
        let url = "s3://bucket/a%20b/c/?region=eu-west-1&endpoint_url=http://host:9000/\
                   &use_path_style=true&name=x;y&ignore-error&touch_refresh=24h\
                   &upload_parallelism=8&mode=max";
        let csv = "type=s3,bucket=bucket,prefix=a b/c,region=eu-west-1,\
                   endpoint_url=http://host:9000,use_path_style=true,name=x;y,\
                   ignore-error=true,touch_refresh=24h,upload_parallelism=8,mode=max";
        let config = parse(url).unwrap();
        assert_eq!(config, parse(csv).unwrap());
        assert_eq!((config.bucket.as_str(), config.prefix.as_str()), ("bucket", "a b/c"));
        assert_eq!(config.endpoint_url.as_deref(), Some("http://host:9000"));
        assert_eq!(config.names, ["x", "y"]);
        assert_eq!(config.touch_refresh, Some(Duration::from_secs(86_400)));
        assert_eq!(config.mode, CacheMode::Max);
        assert!(config.ignore_error && config.path_style == Some(true));
        assert_eq!(parse("s3://bucket").unwrap(), S3Config::new("bucket", ""));
    }

    /// Found by fuzzing: what is shown of it was another location, or none.
    #[test]
    fn a_location_is_shown_so_that_it_can_be_given() {
        for (prefix, region) in [("a#b", "r"), ("100%", "a&mode=max"), ("a?b=c", "x:y/z")] {
            for bucket in ["bucket", "arn:aws:s3:eu-west-1:1:accesspoint/name"] {
                let words = [("bucket", bucket), ("prefix", prefix), ("region", region)];
                let config = S3Config::from_words(words).unwrap();
                assert_eq!(parse(&config.to_string()), Ok(config));
            }
        }
        let plain = parse("s3://bucket/a b/c?endpoint_url=http://host:9000&region=x").unwrap();
        assert_eq!(plain.to_string(), "s3://bucket/a b/c?region=x&endpoint_url=http://host:9000");
    }

    /// Found by fuzzing: a region with a NUL was taken, and shown as what is no location.
    #[test]
    fn values_have_no_control_characters() {
        let read = |word, value| S3Config::from_words([("bucket", "bucket"), (word, value)]);
        let error = read("region", "eu\u{1b}[2J").unwrap_err();
        assert_eq!(
            format!("{error}; {}", error.hint().unwrap()),
            r#""eu\u{1b}[2J" is no value of the parameter "region"; leave out line ends and other control characters"#
        );
        let error = read("external_id", "SECRET\n").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
    }

    #[test]
    fn words_from_elsewhere_mean_the_same() {
        let words = [("bucket", "bucket"), ("prefix", "/a b/"), ("region", ""), ("mode", "max")];
        let config = S3Config::from_words(words).unwrap();
        assert_eq!(config, parse("s3://bucket/a%20b?mode=max").unwrap());
        let told = |words: [(&'static str, &'static str); 2]| S3Config::from_words(words);
        assert_eq!(told([("prefix", "p"), ("bucket", "")]), Err(InvalidLocation::NoBucket));
        let unknown = told([("bucket", "bucket"), ("regoin", "")]);
        assert_eq!(unknown, Err(InvalidLocation::Word("regoin".into())));
    }

    #[test]
    fn sessions_last_as_long_as_sts_takes() {
        let length = |text: &str| {
            let words =
                [("bucket", "bucket"), ("role_arn", "arn:x"), ("role_session_duration", text)];
            S3Config::from_words(words).map(|config| config.role.unwrap().session_length)
        };
        assert_eq!(length(""), Ok(None));
        for (text, minutes) in [("15m", 15), ("20m", 20), ("12h", 720)] {
            assert_eq!(length(text), Ok(Some(Duration::from_secs(minutes * 60))), "{text}");
        }
        for text in ["899s", "12h 1s", "0s", "long"] {
            let error = length(text).unwrap_err();
            let told = format!("{error}; {}", error.hint().unwrap());
            let expected = format!(
                "{text:?} is no value of the parameter \"role_session_duration\"; \
                 write a duration from 15m to 12h, which is what S3 takes"
            );
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn values_with_commas_are_quoted() {
        let config = parse(r#"type=s3,bucket=bucket,"tags=a=1,2;b=3",prefix=p"#).unwrap();
        let tags = [("a", "1,2"), ("b", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(config.tags, tags);
        assert_eq!(config.prefix, "p");
    }

    #[test]
    fn path_style_is_chosen_by_the_endpoint() {
        let uses = |text: &str| parse(text).unwrap().uses_path_style(None);
        assert!(parse("s3://bucket").unwrap().uses_path_style(Some("http://minio:9000")));
        for path in [
            "s3://bucket?endpoint_url=http://127.0.0.1:9000",
            "s3://bucket?endpoint_url=http://[::1]:9000",
            "s3://bucket?endpoint_url=http://minio:9000",
            "s3://bucket?endpoint_url=localhost:9000",
            "s3://my.bucket",
            "s3://bucket?endpoint_url=https://s3.example.org&use_path_style=true",
        ] {
            assert!(uses(path), "{path}");
        }
        for host in [
            "s3://bucket",
            "s3://bucket?endpoint_url=https://s3.example.org",
            "s3://my.bucket?use_path_style=false",
        ] {
            assert!(!uses(host), "{host}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let text = format!(
            "s3://bucket/p?access_key_id=SECRET1&secret_access_key=SECRET2&session_token=SECRET3\
             &sse_customer_key={key}&role_arn=arn:x&external_id=SECRET4\
             &endpoint_url=http://host:9000"
        );
        let config = parse(&text).unwrap();
        for shown in [format!("{config}"), format!("{config:?}"), format!("{config:#?}")] {
            assert!(!shown.contains("SECRET"), "{shown}");
            assert!(!shown.contains("AAAA"), "{shown}");
        }
        assert_eq!(config.to_string(), "s3://bucket/p?endpoint_url=http://host:9000");
        // Nor in messages about what is wrong with them.
        for wrong in [
            "sse_customer_key=SECRET",
            "endpoint_url=http://user:SECRET@host",
            "access_key_id=SECRET%0A&secret_access_key=x",
            "access_key_id=x&secret_access_key=SE%20CRET",
            "access_key_id=x&secret_access_key=x&session_token=SECRET%00",
        ] {
            let error = parse(&format!("s3://bucket?{wrong}")).unwrap_err();
            assert!(!format!("{error} {:?}", error.hint()).contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let told = |text: &str| {
            let error = parse(text).unwrap_err();
            format!("{error}; {}", error.hint().unwrap())
        };
        let cases = [
            (
                "s3://",
                "the store's location names no bucket; write s3://bucket/prefix, or bucket=… \
                 after type=s3",
            ),
            (
                "s3://bucket?regoin=eu-west-1",
                r#"unknown word "regoin" in the store's location; did you mean "region"?"#,
            ),
            (
                "type=s3,bucket=bucket,mode=minn",
                r#""minn" is no value of the parameter "mode"; did you mean "min"?"#,
            ),
            (
                "s3://bucket?use_path_style=maybe",
                r#""maybe" is no value of the parameter "use_path_style"; write true or false"#,
            ),
            (
                "s3://bucket?region=a&region=b",
                "the store's location says region twice; leave one region out",
            ),
            (
                "s3://bucket?access_key_id=a",
                "the store's location has keys without secret_access_key; give both \
                 access_key_id and secret_access_key, or neither",
            ),
            (
                "type=s3,bucket=bucket,nonsense",
                r#""nonsense" in the store's location is no word=value; write word=value, separated by commas, in double quotes if the value has commas"#,
            ),
            (
                "s3://bucket?touch_refresh=soon",
                r#""soon" is no value of the parameter "touch_refresh"; write a duration such as 90s, 24h or 1h30m"#,
            ),
        ];
        for (text, message) in cases {
            assert_eq!(told(text), message);
        }
    }

    /// Buildx's words that mean nothing here are taken, and said to.
    #[test]
    fn words_without_effect_are_told() {
        let config = parse("type=s3,bucket=bucket,blobs_prefix=b/,manifests_prefix=m/").unwrap();
        assert_eq!(config.without_effect, ["manifests_prefix", "blobs_prefix"]);
    }

    #[test]
    fn every_word_is_in_the_documents() {
        let page = include_str!("../../../docs/s3.md");
        for word in WORDS.into_iter().filter(|word| *word != "type") {
            assert!(page.contains(&format!("`{word}`")), "docs/s3.md does not name {word}");
        }
    }
}
