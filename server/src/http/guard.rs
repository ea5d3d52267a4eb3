//! Who may speak to the HTTP server: Host and Origin against exact lists, then the bearer token, all before a body is read.
//!
//! A web page can make a browser send requests here. Its Origin gives it away, and where it has rebound its own name to this
//! address, its Host does. Both are parsed by hand and strictly: what is not plainly one of ours is foreign.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{Caller, Host, ServeError, Tokens};

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What a guard knows.
#[derive(Clone)]
pub(crate) struct Guard {
    host: Arc<Host>,
    rules: Arc<Rules>,
    tokens: Option<Tokens>,
}

/// Hosts and origins that are ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Names and addresses without a port; any port goes with them.
    hosts: Vec<String>,
    /// Any address in digits will do: the server listens on all of them, and no name can be rebound to digits.
    any_address: bool,
    /// Scheme, host, and the port where it matters.
    origins: Vec<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    /// `None` for any port.
    port: Option<u16>,
}

impl Rules {
    /// The lists for an address to listen on, or for a socket, with what the operator added.
    pub(crate) fn new(addresses: &[SocketAddr], hosts: &[String], origins: &[String]) -> Result<Self, ServeError> {
        let mut known: Vec<String> = LOOPBACK.iter().map(|host| (*host).to_owned()).collect();
        known.extend(addresses.iter().filter(|address| !address.ip().is_unspecified()).map(|address| literal(address.ip())));
        for entry in hosts {
            let (host, port) = authority(entry).ok_or_else(|| bad(entry, "a host such as `tools.example.org`"))?;
            if port.is_some() {
                return Err(bad(entry, "a host without a port"));
            }
            known.push(host.to_ascii_lowercase());
        }
        let mut ours: Vec<Origin> = LOOPBACK
            .iter()
            .flat_map(|host| [false, true].map(|secure| Origin { secure, host: (*host).to_owned(), port: None }))
            .collect();
        for entry in origins {
            ours.push(
                allowed_origin(entry)
                    .ok_or_else(|| bad(entry, "an origin such as `https://app.example.org` or `http://localhost:*`"))?,
            );
        }
        Ok(Self { hosts: known, any_address: addresses.iter().any(|address| address.ip().is_unspecified()), origins: ours })
    }

    /// Whether the request says it is for us: one Host, plainly ours, and the same in the request line where it is there too.
    pub(crate) fn host_is_ours(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = uri.authority().is_none_or(|authority| self.knows(authority.as_str()));
        named && only(headers, header::HOST).is_some_and(|host| self.knows(host))
    }

    /// Whether a browser sent it from a page of ours, or no browser sent it.
    pub(crate) fn origin_is_ours(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::ORIGIN) {
            return true;
        }
        let Some(origin) = only(headers, header::ORIGIN).and_then(parse_origin) else { return false };
        self.origins.iter().any(|ours| {
            let default = if ours.secure { 443 } else { 80 };
            ours.secure == origin.secure
                && ours.host == origin.host
                && ours.port.is_none_or(|port| port == origin.port.unwrap_or(default))
        })
    }

    fn knows(&self, text: &str) -> bool {
        let Some((host, _)) = authority(text) else { return false };
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host) || (self.any_address && is_address(&host))
    }
}

fn bad(entry: &str, expected: &'static str) -> ServeError {
    ServeError::AllowList { entry: entry.to_owned(), expected }
}

fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>().is_ok()
        || host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// The only value of a header; none when there are several, or when it is not plain text.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// `host` or `host:port`: letters, digits, dots, hyphens, or an IPv6 address in brackets; nothing else is there.
fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            let (host, after) = text.split_at_checked(end)?;
            host.get(1..end - 1)?.parse::<Ipv6Addr>().ok()?;
            (host, after)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if host.is_empty() || !(plain || host.starts_with('[')) {
        return None;
    }
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':')?;
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((host, Some(digits.parse().ok()?)))
}

/// An Origin as browsers write it: scheme, host in lower case, port; no path, no user, no `null`.
fn parse_origin(text: &str) -> Option<Origin> {
    let (secure, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let (host, port) = authority(rest)?;
    let lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    lower.then(|| Origin { secure, host: host.to_owned(), port })
}

fn allowed_origin(entry: &str) -> Option<Origin> {
    match entry.strip_suffix(":*") {
        Some(base) => parse_origin(base).filter(|origin| origin.port.is_none()),
        // Without a port the scheme's own is meant, as in a browser's Origin.
        None => parse_origin(entry)
            .map(|origin| Origin { port: Some(origin.port.unwrap_or(if origin.secure { 443 } else { 80 })), ..origin }),
    }
}

impl Guard {
    pub(crate) const fn new(host: Arc<Host>, rules: Arc<Rules>, tokens: Option<Tokens>) -> Self {
        Self { host, rules, tokens }
    }

    fn refuse(&self, status: StatusCode, reason: &'static str, headers: &HeaderMap) -> Response {
        self.host.metrics.refused(reason);
        let shown = |name| {
            headers.get(name).map(|value: &HeaderValue| crate::clean::one_line(&String::from_utf8_lossy(value.as_bytes()), 120))
        };
        tracing::warn!(reason, host = shown(header::HOST), origin = shown(header::ORIGIN), "request refused");
        (status, [(header::CONNECTION, "close")], reason).into_response()
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, &'static str> {
        // Whoever reaches the port may call; that is no reason to learn from it.
        let Some(tokens) = &self.tokens else { return Ok(Caller::local().teaching(false)) };
        let value = only(headers, header::AUTHORIZATION).ok_or("Bearer realm=\"pegboard\"")?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        let known = scheme.eq_ignore_ascii_case("bearer").then(|| tokens.caller(token.trim())).flatten();
        known.ok_or("Bearer realm=\"pegboard\", error=\"invalid_token\"")
    }
}

/// Refuses what is foreign, on every route.
pub(crate) async fn check_source(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !guard.rules.host_is_ours(request.uri(), request.headers()) {
        return guard.refuse(StatusCode::FORBIDDEN, "host not allowed", request.headers());
    }
    if !guard.rules.origin_is_ours(request.headers()) {
        return guard.refuse(StatusCode::FORBIDDEN, "origin not allowed", request.headers());
    }
    next.run(request).await
}

/// Lets callers with a token through, and says who they are.
pub(crate) async fn check_token(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(challenge) => {
            let mut response: Response<Body> =
                guard.refuse(StatusCode::UNAUTHORIZED, "token missing or unknown", request.headers());
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(address: &str, hosts: &[&str], origins: &[&str]) -> Rules {
        let owned = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        Rules::new(&[address.parse().expect("an address")], &owned(hosts), &owned(origins)).expect("rules")
    }

    fn origin(rules: &Rules, values: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ORIGIN, HeaderValue::from_bytes(value).expect("a header"));
        }
        rules.origin_is_ours(&headers)
    }

    fn host(rules: &Rules, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        rules.host_is_ours(&Uri::from_static("/mcp"), &headers)
    }

    /// Origins that a hostile page, or a hostile parser's friend, would try.
    const HOSTILE: &[&str] = &[
        "null",
        "",
        " ",
        "http://evil.com",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://127.0.0.1.nip.io:7337",
        "http://evil-localhost",
        "http://notlocalhost",
        "http://localhost@evil.com",
        "http://evil.com@localhost",
        "http://localhost:7337@evil.com",
        "http://user:pass@localhost",
        "http://localhost/",
        "http://localhost/evil",
        "http://localhost#evil",
        "http://localhost?evil",
        "http://localhost\\evil.com",
        "http://localhost.",
        "http://LOCALHOST",
        "HTTP://localhost",
        "http:localhost",
        "http:///localhost",
        "//localhost",
        "localhost",
        "localhost:7337",
        "ftp://localhost",
        "file://",
        "chrome-extension://localhost",
        "http://localhost:",
        "http://localhost:99999",
        "http://localhost:80:80",
        "http://localhost:0x50",
        "http://localhost:+80",
        "http://localhost, http://evil.com",
        "http://localhost http://evil.com",
        "http://[::1",
        "http://::1",
        "http://[::1].evil.com",
        "http://[::1]evil.com",
        "http://[::ffff:127.0.0.1]",
        "http://[0:0:0:0:0:0:0:1]:7337",
        "http://[::1%25lo]",
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://127.1",
        "http://0.0.0.0",
        "http://127.0.0.2",
        "http://lo\u{441}alhost",
        "http://localhost%00.evil.com",
        "http://localhost\t",
    ];

    #[test]
    fn refuses_every_hostile_origin() {
        let rules = rules("127.0.0.1:7337", &[], &[]);
        for hostile in HOSTILE {
            assert!(!origin(&rules, &[hostile.as_bytes()]), "{hostile:?}");
        }
        assert!(!origin(&rules, &[b"http://localhost", b"http://localhost"]), "two headers");
        assert!(!origin(&rules, &[b"http://localhost", b"http://evil.com"]), "two headers");
        assert!(!origin(&rules, &[b"http://localhost\xff"]), "not text");
    }

    #[test]
    fn lets_pages_of_this_machine_and_listed_origins_through() {
        let rules = rules("127.0.0.1:7337", &[], &["https://app.example.org", "http://tools.example.org:*"]);
        assert!(origin(&rules, &[]), "no browser");
        for ours in [
            "http://localhost",
            "http://localhost:7337",
            "https://localhost:6274",
            "http://127.0.0.1:7337",
            "http://[::1]:7337",
            "https://app.example.org",
            "https://app.example.org:443",
            "http://tools.example.org:8080",
        ] {
            assert!(origin(&rules, &[ours.as_bytes()]), "{ours}");
        }
        for foreign in [
            "https://app.example.org:8443",
            "http://app.example.org",
            "https://tools.example.org:8080",
            "https://x.app.example.org",
        ] {
            assert!(!origin(&rules, &[foreign.as_bytes()]), "{foreign}");
        }
    }

    #[test]
    fn knows_its_own_hosts_only() {
        let local = rules("127.0.0.1:7337", &[], &[]);
        for ours in ["localhost", "localhost:7337", "LOCALHOST:1", "127.0.0.1:7337", "[::1]:7337"] {
            assert!(host(&local, ours), "{ours}");
        }
        for foreign in [
            "evil.com",
            "evil.com:7337",
            "localhost.evil.com",
            "localhost:x",
            "192.168.1.2",
            "user@localhost",
            "localhost.",
            "[::1",
            "",
        ] {
            assert!(!host(&local, foreign), "{foreign}");
        }
        let wide = rules("0.0.0.0:7337", &["tools.example.org"], &[]);
        assert!(host(&wide, "192.168.1.2:7337") && host(&wide, "[fe80::1]:7337") && host(&wide, "Tools.Example.org"));
        assert!(!host(&wide, "evil.com") && !host(&wide, "1.2.3") && !host(&wide, "0x7f.1"));
        let named = rules("192.168.1.2:7337", &[], &[]);
        assert!(host(&named, "192.168.1.2") && !host(&named, "192.168.1.3"));
    }

    #[test]
    fn refuses_a_missing_second_or_contradicted_host() {
        let rules = rules("127.0.0.1:7337", &[], &[]);
        let mut headers = HeaderMap::new();
        assert!(!rules.host_is_ours(&Uri::from_static("/mcp"), &headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(rules.host_is_ours(&Uri::from_static("/mcp"), &headers));
        assert!(!rules.host_is_ours(&Uri::from_static("http://evil.com/mcp"), &headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(!rules.host_is_ours(&Uri::from_static("/mcp"), &headers));
    }

    #[test]
    fn refuses_lists_that_could_never_match() {
        for (hosts, origins) in [
            (vec!["http://x".to_owned()], vec![]),
            (vec!["x:80".to_owned()], vec![]),
            (vec![], vec!["x".to_owned()]),
            (vec![], vec!["null".to_owned()]),
        ] {
            assert!(Rules::new(&[], &hosts, &origins).is_err(), "{hosts:?} {origins:?}");
        }
    }
}
