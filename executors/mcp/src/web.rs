//! What every connection to an address shares: which host may be reached, headers with secrets, bounded bodies, refused redirects.
//!
//! The connection is the host's own, so no sandbox stands behind it: the granted hosts are enforced here.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use executor_api::{FailureKind, ToolFailure};
use policy::{Allowed, Plugin};
use reqwest::{
    Client, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::{Attempt, Policy},
};

use crate::secrets;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 3;

/// An address that may be reached, and what every request to it carries.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) max_message: usize,
}

impl Site {
    /// # Errors
    /// The address is malformed, or its host was not granted.
    pub(crate) fn open(plugin: &Plugin, allowed: &Allowed, max_message: usize) -> Result<Self, ToolFailure> {
        let server = plugin.manifest.mcp.as_ref();
        let text = server.and_then(|server| server.url.as_deref()).unwrap_or_default();
        let load = |problem: String| ToolFailure::new(FailureKind::LoadFailed, problem);
        let url = Url::parse(text).map_err(|error| load(format!("the server's address is malformed: {error}")))?;
        let public_only = judge(&url, allowed)?;
        let mut headers = HeaderMap::new();
        for (name, value) in server.iter().flat_map(|server| &server.headers) {
            let bad = || load(format!("the header `{name}` can't be sent"));
            let mut value = HeaderValue::from_str(&secrets::filled(value, allowed)?).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
        }
        // Whoever was first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("pegboard/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(same_origin));
        if public_only {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = builder.build().map_err(|error| load(format!("the HTTP client could not be made: {error}")))?;
        Ok(Self { client, url, headers, max_message })
    }

    /// The whole body, when it is not too large.
    pub(crate) async fn body(&self, mut response: Response) -> Result<Vec<u8>, ToolFailure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > self.max_message {
                return Err(self.too_large());
            }
        }
        Ok(body)
    }

    pub(crate) fn too_large(&self) -> ToolFailure {
        let message = format!("the server sent a message of more than {} bytes", self.max_message);
        ToolFailure::new(FailureKind::OutputTooLarge, message)
    }
}

/// Whether the address may be reached; `true` when only public addresses may.
fn judge(url: &Url, allowed: &Allowed) -> Result<bool, ToolFailure> {
    let refused = |problem: String| {
        Err(ToolFailure::new(FailureKind::LoadFailed, problem)
            .with_hint("the manifest must declare `network_access` and name the host, and the operator must grant it"))
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refused(format!("expected an http or https address, found `{}`", url.scheme()));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return refused("the server's address names no host".to_owned());
    };
    let Some(scope) = allowed.powers.iter().find(|(power, _)| power.is_network()).map(|(_, scope)| scope) else {
        return refused(format!("`{host}` can't be reached: the plugin holds no network power"));
    };
    if scope.hosts.is_empty() {
        let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        return match literal {
            Some(address) if !is_public(address) => {
                refused(format!("`{host}` is no public host, and is not named among the granted ones"))
            }
            _ => Ok(true),
        };
    }
    let named = format!("{host}:{port}");
    let fits = |granted: &String| match granted.strip_prefix('*') {
        Some(suffix) => named.ends_with(suffix) || host.ends_with(suffix),
        None => *granted == named || granted == host,
    };
    if scope.hosts.iter().any(fits) { Ok(false) } else { refused(format!("`{named}` is not among the granted hosts")) }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || shared
                || a == 0)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}

/// Leaves out addresses inside the host's own networks: a public name can point there.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.filter(|address| is_public(address.ip())).collect();
            if found.is_empty() {
                return Err(format!("`{}` has no public address", name.as_str()).into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// A redirect may move within the granted origin and nowhere else: headers with secrets would follow it.
fn same_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if first != Some(attempt.url().origin()) {
        return attempt.error("the server redirects to another host");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("the server redirects without end");
    }
    attempt.follow()
}

/// A request that failed on the way. The address is not repeated: it may hold a key.
pub(crate) fn broken(error: &reqwest::Error) -> ToolFailure {
    let mut words =
        if error.is_connect() { "the server can't be reached" } else { "the exchange with the server failed" }.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    ToolFailure::new(if error.is_connect() { FailureKind::Unavailable } else { FailureKind::Crashed }, words)
}

#[cfg(test)]
mod tests {
    use manifest_schema::Permission;
    use policy::Scope;

    use super::*;

    fn judged(url: &str, hosts: &[&str]) -> Result<bool, String> {
        let mut allowed = Allowed::default();
        let hosts = hosts.iter().map(ToString::to_string).collect();
        allowed.powers.insert(Permission::NetworkAccess, Scope { folders: Vec::new(), hosts });
        judge(&Url::parse(url).unwrap(), &allowed).map_err(|failure| failure.message)
    }

    #[test]
    fn reaches_granted_hosts_and_no_others() {
        assert_eq!(judged("https://a.example.org/mcp", &["a.example.org:443"]), Ok(false));
        assert_eq!(judged("https://a.example.org/mcp", &["*.example.org:443"]), Ok(false));
        assert!(judged("https://a.example.org:8443/mcp", &["a.example.org:443"]).unwrap_err().contains("not among the granted"));
        assert!(judged("https://evil-example.org/", &["*.example.org:443"]).is_err());
        assert_eq!(judged("https://a.example.org/mcp", &[]), Ok(true));
        for inside in
            ["http://127.0.0.1:1/", "http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"]
        {
            assert!(judged(inside, &[]).unwrap_err().contains("no public host"), "{inside}");
        }
        assert_eq!(judged("http://127.0.0.1:1/", &["127.0.0.1:1"]), Ok(false));
        assert!(judged("ftp://a.example.org/", &[]).is_err());
        assert!(judge(&Url::parse("https://a.example.org/").unwrap(), &Allowed::default()).is_err());
    }
}
