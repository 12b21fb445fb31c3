//! What keeps web pages away from a server that asks for no keys.
//!
//! Without keys, whoever runs on this machine may use the server: also a browser, and so
//! any page that is open in it. A page cannot send what S3 clients send without saying
//! where it comes from (`Origin`), unless its own name was made to point here, which
//! `Host` tells (DNS rebinding).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("requests of web pages are refused: they carry an Origin header")]
    Origin,
    #[error("the Host header names neither this machine's loopback nor where the server listens")]
    Host,
}

/// Checks a request that came over TCP; `listened` is where to.
pub(super) fn check(headers: &HeaderMap, listened: IpAddr) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    // Programs that leave it out are no browsers.
    let Some(host) = headers.get(HOST) else { return Ok(()) };
    let is_known = host.to_str().is_ok_and(|host| is_own(without_port(host), listened));
    if is_known { Ok(()) } else { Err(Refusal::Host) }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_own(host: &str, listened: IpAddr) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.to_canonical().is_loopback() || address == listened;
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let listened: IpAddr = "10.1.2.3".parse().unwrap();
        let told = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            check(&headers, listened)
        };
        for own in [
            "localhost",
            "LOCALHOST:9440",
            "localhost.:1",
            "b.localhost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:80",
            "[::1]",
            "10.1.2.3:9440",
        ] {
            assert_eq!(told(own), Ok(()), "{own}");
        }
        for foreign in
            ["example.com", "localhost.example.com:80", "10.1.2.4:9440", "", "[::2]", "x:y"]
        {
            assert_eq!(told(foreign), Err(Refusal::Host), "{foreign}");
        }
    }

    #[test]
    fn pages_are_refused_whatever_they_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&headers, IpAddr::from([127, 0, 0, 1])), Ok(()));
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.insert(ORIGIN, "null".parse().unwrap());
        assert_eq!(check(&headers, IpAddr::from([127, 0, 0, 1])), Err(Refusal::Origin));
    }
}
