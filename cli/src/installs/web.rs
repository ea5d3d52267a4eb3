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

const MAX_REDIRECTS: usize = 5;

/// What is asked for, and how much of it is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) address: &'a str,
    /// More bytes than these are refused before they are kept.
    pub(crate) limit: u64,
    pub(crate) patience: Patience,
    /// Sent to this address; never to another host that it leads to.
    pub(crate) bearer: Option<&'a str>,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For the next byte.
    pub(crate) silence: Duration,
    /// For all of it.
    pub(crate) whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), silence: Duration::from_mins(1), whole: Duration::from_mins(5) }
    }
}

/// What came, beside the bytes themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) bytes: u64,
    /// The header `Link`, where there is one: lists come in pages.
    pub(crate) links: Option<String>,
}

/// Writes what is at an address into a file; more than `limit` bytes are refused before they are written. Returns how many there are.
pub(crate) fn fetch(address: &str, limit: u64, out: &mut File) -> Outcome<u64> {
    let mut keep =
        |piece: &[u8]| out.write_all(piece).map_err(|error| anyhow::anyhow!("could not keep what was fetched: {error}").into());
    get(&Wanted { address, limit, patience: Patience::default(), bearer: None }, &mut keep).map(|came| came.bytes)
}

/// A small document.
pub(crate) fn document(address: &str, limit: u64) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut keep = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    get(&Wanted { address, limit, patience: Patience::default(), bearer: None }, &mut keep)?;
    Ok(bytes)
}

/// Gives what is at an address piece by piece to `keep`. Blocking.
pub(crate) fn get(wanted: &Wanted<'_>, keep: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome<Came> {
    let url = allowed(wanted.address)?;
    let runtime = host::runtime()?;
    let came = runtime.block_on(download(url, wanted, keep));
    runtime.shutdown_background();
    came
}

async fn download(url: Url, wanted: &Wanted<'_>, keep: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome<Came> {
    let shown = url.to_string();
    let client = client(&url, wanted.patience).map_err(|error| failed(&shown, &error))?;
    let mut request = client.get(url);
    if let Some(token) = wanted.bearer {
        request = request.bearer_auth(token);
    }
    let mut response = request.send().await.map_err(|error| failed(&shown, &error))?;
    refuse_status(&response, &shown)?;
    let limit = wanted.limit;
    let too_large = || {
        Failure::new(Exit::Invalid, "fetch.too_large", format!("`{shown}` has more than {limit} bytes; nothing of it was kept"))
    };
    let announced = response.content_length();
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let links = response.headers().get(reqwest::header::LINK).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut bytes = 0_u64;
    loop {
        let piece = match response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Came { bytes, links }),
            Err(error) if error.is_timeout() => return Err(failed(&shown, &error)),
            Err(_) => return Err(cut_short(&shown, bytes, announced)),
        };
        bytes += piece.len() as u64;
        if bytes > limit {
            return Err(too_large());
        }
        keep(&piece)?;
    }
}

/// Nothing came, or not in time, or from where it may not come.
fn failed(shown: &str, error: &reqwest::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let code = match () {
        () if error.is_redirect() => "fetch.redirect",
        () if error.is_timeout() => "fetch.timeout",
        () => "fetch.failed",
    };
    let failure = Failure::new(Exit::Unavailable, code, format!("`{shown}` could not be fetched: {text}"));
    if error.is_redirect() {
        return failure.hint("nothing was asked of the place that it leads to");
    }
    failure.hint("is the address in reach from here? what is on this machine is installed by its path")
}

fn cut_short(shown: &str, bytes: u64, announced: Option<u64>) -> Failure {
    let of = announced.map(|announced| format!(" of {announced}")).unwrap_or_default();
    Failure::new(Exit::Unavailable, "fetch.cut_short", format!("`{shown}` ended after {bytes}{of} bytes; nothing of it was kept"))
        .hint("try again: the connection was lost, or the server does not have what it announced")
}

fn refuse_status(response: &Response, shown: &str) -> Outcome {
    let status = response.status();
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 => Err(Failure::new(Exit::Denied, "fetch.denied", format!("`{shown}` is not given to everybody ({status})"))),
        404 | 410 => Err(Failure::not_found("fetch.not_found", format!("there is nothing at `{shown}` ({status})"))),
        _ => Err(Failure::new(Exit::Unavailable, "fetch.failed", format!("`{shown}` answered {status}"))),
    }
}

fn client(url: &Url, patience: Patience) -> Result<Client, reqwest::Error> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(patience.connect)
        .read_timeout(patience.silence)
        .timeout(patience.whole)
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
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        time::Duration,
    };

    use super::{Patience, Wanted, allowed, get};

    /// A server that sends pieces for ever, or one and then nothing; its address.
    fn slow(endless: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "a request");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npiece");
            while endless && stream.write_all(b"piece").is_ok() {}
            // Until the other side has gone.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    #[test]
    fn neither_silence_nor_an_endless_trickle_is_waited_for() {
        let short = Duration::from_millis(300);
        let patience = Patience { silence: short, ..Patience::default() };
        for (endless, patience) in [(false, patience), (true, Patience { whole: short, ..Patience::default() })] {
            let address = slow(endless);
            let mut bytes = 0;
            let mut keep = |piece: &[u8]| {
                bytes += piece.len();
                Ok(())
            };
            let wanted = Wanted { address: &address, limit: u64::MAX, patience, bearer: None };
            assert_eq!(get(&wanted, &mut keep).unwrap_err().code, "fetch.timeout", "endless: {endless}");
            assert!(bytes > 0, "the control: something came");
        }
    }

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
