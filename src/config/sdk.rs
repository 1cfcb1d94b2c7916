//! The variables that the AWS SDK reads by itself. It ignores a wrong URL, and panics at a wrong number of attempts.

use http::Uri;

type Check = fn(&str) -> Option<String>;

/// The proxies in the order in which the SDK reads them, the endpoints of the APIs that the function and the command
/// line call, and the retries.
pub(super) const VARIABLES: &[(&str, Check)] = &[
    ("HTTPS_PROXY", proxy),
    ("https_proxy", proxy),
    ("HTTP_PROXY", proxy),
    ("http_proxy", proxy),
    ("ALL_PROXY", proxy),
    ("all_proxy", proxy),
    ("AWS_ENDPOINT_URL", endpoint),
    #[cfg(feature = "network")]
    ("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint),
    #[cfg(feature = "network")]
    ("AWS_ENDPOINT_URL_EC2", endpoint),
    ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", endpoint),
    #[cfg(feature = "network")]
    ("AWS_ENDPOINT_URL_RAM", endpoint),
    ("AWS_ENDPOINT_URL_RDS", endpoint),
    ("AWS_ENDPOINT_URL_STS", endpoint),
    #[cfg(feature = "network")]
    ("AWS_ENDPOINT_URL_VPC_LATTICE", endpoint),
    ("AWS_MAX_ATTEMPTS", attempts),
    ("AWS_RETRY_MODE", retry_mode),
];

fn parse(text: &str) -> Option<Uri> {
    text.parse().ok().filter(|url: &Uri| url.host().is_some_and(|host| !host.is_empty()))
}

/// The message leaves out the value, because it may hold a password.
fn proxy(text: &str) -> Option<String> {
    let url = parse(text);
    let reason = match url.as_ref().map(Uri::scheme_str) {
        // The SDK reads a URL without a scheme as http.
        Some(None | Some("http" | "https")) => return None,
        Some(Some(scheme)) => format!("has the scheme {scheme}, which is not supported"),
        None => "is not a URL".to_owned(),
    };
    Some(format!(
        "{reason}. Fix: give the URL of an HTTP proxy, such as http://proxy.example.com:3128, or unset it"
    ))
}

fn endpoint(text: &str) -> Option<String> {
    match parse(text).as_ref().and_then(Uri::scheme_str) {
        Some("http" | "https") => None,
        _ => Some(format!(
            "{text:?} is not a URL that begins with https:// or http://. Fix: give one, or unset it"
        )),
    }
}

fn attempts(text: &str) -> Option<String> {
    match text.parse::<u32>() {
        Ok(1..) => None,
        _ => Some(format!("{text:?} is not a whole number from 1. Fix: give one, such as 3, or unset it")),
    }
}

fn retry_mode(text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        "standard" | "adaptive" => None,
        _ => Some(format!("{text:?} is neither standard nor adaptive. Fix: give one of them, or unset it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_number_and_a_known_mode() {
        for (valid, invalid) in [("1", "0"), ("3", "three"), ("10", "-1")] {
            assert_eq!((attempts(valid), attempts(invalid).is_some()), (None, true));
        }
        for (valid, invalid) in [("standard", "fast"), ("Adaptive", "legacy")] {
            assert_eq!((retry_mode(valid), retry_mode(invalid).is_some()), (None, true));
        }
    }

    #[test]
    fn proxy_is_an_http_url_with_or_without_scheme() {
        for valid in [
            "http://proxy:3128",
            "https://user:secret@proxy.example.com",
            "proxy:3128",
            "10.0.0.1:8080",
            "proxy",
            "http://[fd00::1]:80/",
        ] {
            assert_eq!(proxy(valid), None, "{valid}");
        }
        for wrong in [
            "http://",
            "http://:3128",
            "http//proxy:3128",
            "socks5://user:secret@proxy:1080",
            "http://user:secret@",
            "a b",
            "/proxy",
        ] {
            let problem = proxy(wrong).unwrap_or_else(|| panic!("{wrong} is accepted"));
            assert!(problem.contains("Fix: give the URL of an HTTP proxy"), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn endpoint_is_a_url_with_its_scheme() {
        for valid in ["http://127.0.0.1:4566", "https://vpce-1.rds.us-east-1.vpce.amazonaws.com"] {
            assert_eq!(endpoint(valid), None, "{valid}");
        }
        for wrong in [
            "127.0.0.1:4566",
            "rds.example.com",
            "localhost",
            "https://",
            "ftp://example.com",
            "https//example.com",
        ] {
            assert!(endpoint(wrong).is_some(), "{wrong}");
        }
    }
}
