//! Fetching over HTTP for installs: https, or http on this machine alone; bounded in size and time; no redirect leads to less.

use std::{fs::File, io::Write, net::IpAddr, time::Duration};

use reqwest::{
    Client, Response, Url,
    redirect::{Attempt, Policy},
};

use crate::{
    commands::host,
    exit::Exit,
    failure::{Failure, Outcome},
};

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
const WHOLE_LIMIT: Duration = Duration::from_secs(300);
const MAX_REDIRECTS: usize = 5;

/// Writes what is at an address into a file; more than `limit` bytes are refused before they are written. Returns the address in the end.
pub(crate) fn fetch(address: &str, limit: u64, out: &mut File) -> Outcome<u64> {
    let url = allowed(address)?;
    let runtime = host::runtime()?;
    let written = runtime.block_on(download(url, limit, out));
    runtime.shutdown_background();
    written
}

/// A small document.
pub(crate) fn document(address: &str, limit: u64) -> Outcome<Vec<u8>> {
    let mut file = tempfile::tempfile().map_err(|error| anyhow::anyhow!("could not make a file: {error}"))?;
    fetch(address, limit, &mut file)?;
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file)
        .and_then(|()| std::io::Read::read_to_end(&mut file, &mut bytes))
        .map_err(|error| anyhow::anyhow!("could not read what was fetched: {error}"))?;
    Ok(bytes)
}

async fn download(url: Url, limit: u64, out: &mut File) -> Outcome<u64> {
    let shown = url.to_string();
    let failed = |error: &reqwest::Error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Failure::new(Exit::Unavailable, "fetch.failed", format!("`{shown}` could not be fetched: {text}"))
            .hint("is the address in reach from here? what is on this machine is installed by its path")
    };
    let client = client(&url).map_err(|error| failed(&error))?;
    let mut response = client.get(url).send().await.map_err(|error| failed(&error))?;
    refuse_status(&response, &shown)?;
    let too_large = || {
        Failure::new(Exit::Invalid, "fetch.too_large", format!("`{shown}` has more than {limit} bytes; nothing of it was kept"))
    };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut written = 0_u64;
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
        written += piece.len() as u64;
        if written > limit {
            return Err(too_large());
        }
        out.write_all(&piece).map_err(|error| anyhow::anyhow!("could not keep what was fetched: {error}"))?;
    }
    Ok(written)
}

fn refuse_status(response: &Response, shown: &str) -> Outcome {
    let status = response.status();
    match status.as_u16() {
        200 => Ok(()),
        404 | 410 => Err(Failure::not_found("fetch.not_found", format!("there is nothing at `{shown}` ({status})"))),
        _ => Err(Failure::new(Exit::Unavailable, "fetch.failed", format!("`{shown}` answered {status}"))),
    }
}

fn client(url: &Url) -> Result<Client, reqwest::Error> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(WHOLE_LIMIT)
        .user_agent(concat!("pegboard/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow));
    // What is on this machine is asked directly: a proxy's loopback is another machine's.
    if is_local(url) { builder.no_proxy().build() } else { builder.build() }
}

/// A redirect may lead to another place of the same kind, never from https to http, nor from the world to this machine.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    let began_here = attempt.previous().first().is_some_and(is_local);
    let target = attempt.url();
    let fits =
        if began_here { is_local(target) || target.scheme() == "https" } else { target.scheme() == "https" && !is_local(target) };
    if fits { attempt.follow() } else { attempt.error("the redirect leads away from https, or to this machine") }
}

/// Whether an address may be fetched from.
pub(crate) fn allowed(address: &str) -> Outcome<Url> {
    let refused = |what: String| Err(Failure::usage("fetch.address", what).hint("expected https://…; http only on this machine"));
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(error) => return refused(format!("`{address}` is no address: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused("an address with a password in it would be kept in the lockfile".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local(&url) => Ok(url),
        _ => refused(format!("`{address}` could be read and changed on its way")),
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn only_addresses_that_nobody_can_change_on_the_way_are_taken() {
        for address in ["https://example.org/a.zip", "http://127.0.0.1:8000/a", "http://localhost/a", "http://[::1]/a"] {
            assert!(allowed(address).is_ok(), "{address}");
        }
        for address in [
            "http://example.org/a",
            "http://127.0.0.1.example.org/a",
            "http://10.0.0.1/a",
            "https://me:secret@example.org/a",
            "ftp://example.org/a",
            "nothing",
            "file:///etc/passwd",
        ] {
            assert!(allowed(address).is_err(), "{address}");
        }
    }
}
