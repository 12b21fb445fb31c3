//! The S3 server that a Vela pipeline names: a URL, a bare host, or one of
//! Amazon's host names, which also say a region and a bucket.

use super::setting::Value;

/// What a server's name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// The server, unless it is Amazon's.
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    /// The bucket that is part of the host's name.
    pub(super) bucket: Option<String>,
    /// Whether the bucket goes into the path; `None` leaves that to the store.
    pub(super) path_style: Option<bool>,
    /// Through Amazon's edge locations.
    pub(super) accelerate: bool,
    /// Over IPv6 too.
    pub(super) dual_stack: bool,
}

/// Services that take the bucket only in the host's name, as minio-go knows
/// them, the library that Vela's plugin speaks to servers with.
const HOST_STYLE: [&str; 2] = [".aliyuncs.com", "storage.googleapis.com"];

impl Server {
    /// Reads a server's name.
    pub(super) fn parse(text: &str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.strip_suffix(":443").unwrap_or(host);
        let amazon = [".amazonaws.com", ".amazonaws.com.cn"];
        // A password before the host is not for us to pass over.
        if scheme != "http"
            && !rest.contains('@')
            && let Some(labels) = amazon.iter().find_map(|end| host.strip_suffix(end))
            && let Some(server) = Self::amazon(labels)
        {
            return server;
        }
        let is_host_style = HOST_STYLE.iter().any(|end| host.ends_with(end));
        Self {
            endpoint: Some(text.to_owned()),
            path_style: (!is_host_style).then_some(true),
            ..Self::default()
        }
    }

    /// What is before `.amazonaws.com`: `bucket.s3-region`, `s3.region` and so
    /// on. Amazon's guide on S3 endpoints has them; `s3-region` is the old form.
    /// `None` for endpoints of one's own (`vpce`), by FIPS and others, which are
    /// not for us to take apart.
    fn amazon(labels: &str) -> Option<Self> {
        let labels: Vec<&str> = labels.split('.').collect();
        let service =
            labels.iter().rposition(|label| *label == "s3" || label.starts_with("s3-"))?;
        let (bucket, after) = (&labels[..service], &labels[service + 1..]);
        let mut server = Self {
            bucket: (!bucket.is_empty()).then(|| bucket.join(".")),
            dual_stack: after.contains(&"dualstack"),
            ..Self::default()
        };
        let mut after = after.iter().filter(|label| **label != "dualstack");
        let region = after.next().copied();
        if after.next().is_some() || region.is_some_and(|region| !is_region(region)) {
            return None;
        }
        server.region = region.map(str::to_owned);
        match labels[service].strip_prefix("s3-") {
            None => {}
            Some("accelerate") => server.accelerate = true,
            // The name that us-east-1 had before regions had names.
            Some("external-1") => server.region = Some("us-east-1".to_owned()),
            Some(region) if is_region(region) => server.region = Some(region.to_owned()),
            Some(_) => return None,
        }
        Some(server)
    }

    /// Adds what it says to the words of a store's location, unless they are there.
    pub(super) fn add_to(&self, words: &mut Vec<(&'static str, Value)>, said: &Value) {
        let truth = |it: bool| it.then(|| "true".to_owned());
        let all = [
            ("endpoint_url", self.endpoint.clone()),
            ("region", self.region.clone()),
            ("use_path_style", self.path_style.map(|it| it.to_string())),
            ("dual_stack", truth(self.dual_stack)),
            ("accelerate", truth(self.accelerate)),
        ];
        for (word, text) in all {
            let Some(text) = text else { continue };
            if !words.iter().any(|(given, _)| *given == word) {
                words.push((word, Value { from: said.from.clone(), text }));
            }
        }
    }
}

/// Whether a text is like `us-west-2` or `us-gov-east-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, names)) = parts.split_last() else { return false };
    names.len() >= 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.is_empty()
        && names[0] != "fips"
        && names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amazon(text: &str, region: &str, bucket: &str) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let server = Server { region: some(region), bucket: some(bucket), ..Server::default() };
        assert_eq!(Server::parse(text), server, "{text}");
    }

    #[test]
    fn amazon_says_region_and_bucket() {
        amazon("mybucket.s3-us-west-2.amazonaws.com", "us-west-2", "mybucket");
        amazon("https://mybucket.s3-us-west-2.amazonaws.com", "us-west-2", "mybucket");
        amazon("my.bucket.s3.eu-west-1.amazonaws.com", "eu-west-1", "my.bucket");
        amazon("s3.amazonaws.com", "", "");
        amazon("s3.us-gov-west-1.amazonaws.com:443", "us-gov-west-1", "");
        amazon("https://s3.amazonaws.com/", "", "");
        amazon("s3-external-1.amazonaws.com", "us-east-1", "");
        amazon("s3.cn-north-1.amazonaws.com.cn", "cn-north-1", "");
        let dual = Server::parse("s3.dualstack.us-west-2.amazonaws.com");
        assert_eq!((dual.region.as_deref(), dual.dual_stack), (Some("us-west-2"), true));
        let fast = Server::parse("s3-accelerate.amazonaws.com");
        assert_eq!((fast.accelerate, fast.region), (true, None));
    }

    #[test]
    fn all_others_are_endpoints() {
        let check = |text: &str, path_style: Option<bool>| {
            let endpoint = Some(text.to_owned());
            assert_eq!(Server::parse(text), Server { endpoint, path_style, ..Server::default() });
        };
        check("http://minio:9000", Some(true));
        check("s3.example.org", Some(true));
        check("https://s3.example.org", Some(true));
        check("http://s3.amazonaws.com", Some(true));
        check("s3-fips.us-east-1.amazonaws.com", Some(true));
        check("oss-cn-hangzhou.aliyuncs.com", None);
        check("https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com", Some(true));
        check("s3-accesspoint.us-east-1.amazonaws.com", Some(true));
        check("https://KEY:SECRET@mybucket.s3-us-west-2.amazonaws.com", Some(true));
    }
}
