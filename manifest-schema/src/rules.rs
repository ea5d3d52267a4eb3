//! The rules for single texts of a manifest: names in code, paths, addresses, hosts, licences. Python's own forms are in `packages`.

use crate::fields::Fault;

/// A Python (or JavaScript) identifier: ASCII, so that no look-alike names another thing.
pub(crate) fn identifier(text: &str) -> Result<(), Fault> {
    if is_identifier(text) {
        return Ok(());
    }
    Err(Fault::new("manifest.identifier", "is not an identifier", "`[A-Za-z_][A-Za-z0-9_]*`"))
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `main`, `pkg.tools` or `pkg/tools`: it can't leave the plugin's folder.
pub(crate) fn module_path(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.module_path", "is not a module of the plugin", "identifiers joined by `.` or `/`");
    if let Some(stem) = text.strip_suffix(".py") {
        return Err(fault.hint(format!("write `{stem}`, without `.py`")));
    }
    if text.split(['.', '/']).all(is_identifier) {
        return Ok(());
    }
    Err(if text.contains('\\') { fault.hint("separate folders with `/`") } else { fault })
}

/// A file inside the plugin, such as `bin/run.py`.
pub(crate) fn relative_file(text: &str) -> Result<(), Fault> {
    let fault = Fault::new(
        "manifest.relative_path",
        "is not a file inside the plugin",
        "a relative path of `[A-Za-z0-9_.-]` joined by `/`, without `..`",
    );
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    // A leading `-` would be read as an option by the program that gets the path.
    let ok = text.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.starts_with('-') && part.bytes().all(plain));
    if ok {
        return Ok(());
    }
    Err(match text.strip_prefix("./") {
        Some(rest) => fault.hint(format!("write `{rest}`")),
        None if text.contains('\\') => fault.hint("separate folders with `/`"),
        None => fault,
    })
}

/// A folder inside the plugin: as a file, and also `.`, `./` or with a `/` at the end.
pub(crate) fn relative_folder(text: &str) -> Result<(), Fault> {
    if matches!(text, "." | "./") {
        return Ok(());
    }
    let inner = text.strip_prefix("./").unwrap_or(text);
    relative_file(inner.strip_suffix('/').unwrap_or(inner))
        .map_err(|fault| Fault { message: "is not a folder inside the plugin".to_owned(), ..fault })
}

/// An absolute path that is already in its shortest form.
pub(crate) fn absolute_folder(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.absolute_path", "is not an absolute path", "an absolute path without `..` and `//`");
    let Some(rest) = text.strip_prefix('/') else { return Err(fault) };
    if rest.is_empty() || rest.split('/').any(|part| matches!(part, "" | "." | "..")) || rest.contains(['\\', '\0']) {
        return Err(fault);
    }
    Ok(())
}

/// An absolute folder that no engine takes for more than a path: a colon or a comma ends one in the forms that mounts are written in.
pub(crate) fn mount_point(text: &str) -> Result<(), Fault> {
    absolute_folder(text)?;
    if text.chars().any(|character| matches!(character, ':' | ',' | '"') || character.is_control()) {
        return Err(Fault::new(
            "manifest.absolute_path",
            "is no path that can be mounted",
            "a path without `:`, `,`, `\"` and control characters",
        ));
    }
    Ok(())
}

/// `$scratch`, `$data`, `$data/…` or an absolute folder that is not one of the kernel's.
pub(crate) fn folder(text: &str) -> Result<(), Fault> {
    const EXPECTED: &str = "`$data`, `$data/…`, `$scratch` or an absolute path";
    if matches!(text, "$data" | "$scratch") {
        return Ok(());
    }
    if let Some(rest) = text.strip_prefix("$data/") {
        return relative_file(rest.strip_suffix('/').unwrap_or(rest)).map_err(|fault| Fault {
            code: "manifest.folder",
            message: "is not a folder under `$data`".to_owned(),
            ..fault
        });
    }
    let fault = Fault::new("manifest.folder", "is not a folder that can be asked for", EXPECTED);
    if absolute_folder(text).is_err() {
        return Err(if text == "/" {
            fault.hint("name the folder that is needed, or write `$data`")
        } else if text.starts_with('~') {
            fault.hint("write `$data`: the operator names the folder")
        } else {
            fault
        });
    }
    let first = text.split('/').nth(1).unwrap_or_default();
    if matches!(first, "proc" | "sys" | "dev") {
        return Err(fault.hint("no plugin gets a folder of the kernel"));
    }
    Ok(())
}

/// `host:port`, `*.host:port`, `1.2.3.4:port` or `[::1]:port`.
pub(crate) fn host(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.host", "is not a host with a port", "`host:port` or `*.host:port`, in lower case");
    if let Some((scheme, rest)) = text.split_once("://") {
        let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let port = if scheme == "http" { 80 } else { 443 };
        let hint = if has_port(name) { name.to_owned() } else { format!("{name}:{port}") };
        return Err(if is_host_and_port(&hint) { fault.hint(format!("write `{hint}`")) } else { fault });
    }
    if is_host_and_port(text) {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    Err(if is_host_and_port(&lower) {
        fault.hint(format!("write `{lower}`"))
    } else if !text.contains(':') && is_host_and_port(&format!("{lower}:443")) {
        fault.hint(format!("write `{lower}:443`"))
    } else if text.starts_with("*:") || text == "*" {
        fault.hint("for any host, set `requires_network: true` and leave `network.hosts` out")
    } else {
        fault
    })
}

/// Whether a text names one host, or all hosts under a name, with a port: `host:port` or `*.host:port`, in lower case.
#[must_use]
pub fn is_host_with_port(text: &str) -> bool {
    is_host_and_port(text)
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let canonical = !port.starts_with('0') && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if !canonical || !port.parse::<u32>().is_ok_and(|port| (1..=65535).contains(&port)) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    match host.strip_prefix("*.") {
        // `*.com` would be nearly every host.
        Some(rest) => rest.contains('.') && is_host_name(rest),
        None => is_host_name(host),
    }
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= 253 && if numeric { text.parse::<std::net::Ipv4Addr>().is_ok() } else { text.split('.').all(label) }
}

/// An `https://` or `http://` address without credentials.
pub(crate) fn web_address(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.url", "is not a web address", "`https://…`");
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        let bare = !text.contains("://") && text.contains('.') && !text.contains(['@', ' ']);
        return Err(if bare { fault.hint(format!("write `https://{text}`")) } else { fault });
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let fault = Fault { hidden: true, ..fault };
        return Err(fault.hint("take the user name and password out: secrets are set with `pegboard secret set`"));
    }
    let host =
        if has_port(authority) { authority.to_ascii_lowercase() } else { format!("{}:443", authority.to_ascii_lowercase()) };
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
    if host.starts_with('*') || !is_host_and_port(&host) || !rest.bytes().all(plain) {
        return Err(fault);
    }
    Ok(())
}

/// Plausible as an SPDX expression: identifiers joined by AND, OR and WITH, with balanced brackets. The list of licences is not shipped.
pub(crate) fn license(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.license", "is not an SPDX expression", "such as `MIT` or `Apache-2.0 OR MIT`");
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut open, mut want_name) = (0_u32, true);
    for word in spaced.split_whitespace() {
        match word {
            "(" if want_name => open += 1,
            ")" if !want_name && open > 0 => open -= 1,
            "AND" | "OR" | "WITH" if !want_name => want_name = true,
            "and" | "or" | "with" if !want_name => {
                return Err(fault.hint(format!("write `{}`", word.to_ascii_uppercase())));
            }
            name if want_name && is_license_name(name) => want_name = false,
            _ => return Err(license_hint(fault, text)),
        }
    }
    if open > 0 || want_name { Err(license_hint(fault, text)) } else { Ok(()) }
}

fn is_license_name(word: &str) -> bool {
    !matches!(word, "AND" | "OR" | "WITH" | "and" | "or" | "with")
        && word.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b':'))
}

fn license_hint(fault: Fault, text: &str) -> Fault {
    let lower = text.to_ascii_lowercase();
    let meant = [("apache", "Apache-2.0"), ("mit", "MIT"), ("bsd", "BSD-3-Clause"), ("gpl", "GPL-3.0-or-later")];
    match meant.into_iter().find(|(word, _)| lower.contains(word)) {
        Some((_, name)) => fault.hint(format!("perhaps `{name}`; the identifiers are listed at https://spdx.org/licenses/")),
        None => fault.hint("for a licence that has no identifier, write `LicenseRef-…`"),
    }
}

/// `^[A-Z][A-Z0-9_]*$`
pub(crate) fn secret_name(text: &str) -> Result<(), Fault> {
    let ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if ok {
        return Ok(());
    }
    let fault = Fault::new("manifest.secret_name", "is not a name for a secret", "`^[A-Z][A-Z0-9_]*$`");
    let upper = text.to_ascii_uppercase().replace(['-', '.', ' '], "_");
    Err(if secret_name_is(&upper) { fault.hint(format!("write `{upper}`")) } else { fault })
}

fn secret_name_is(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Anything that is one line: the reader has already looked at length and blanks.
pub(crate) fn any(_: &str) -> Result<(), Fault> {
    Ok(())
}

/// An HTTP path.
pub(crate) fn http_path(text: &str) -> Result<(), Fault> {
    let ok =
        text.starts_with('/') && !text.starts_with("//") && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ok { Ok(()) } else { Err(Fault::new("manifest.http_path", "is not the path of a request", "such as `/execute`")) }
}

/// A whole number with `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<(), Fault> {
    let number = ["ms", "s", "m", "h"].into_iter().find_map(|unit| text.strip_suffix(unit).filter(|number| is_number(number)));
    if number.is_some() {
        return Ok(());
    }
    let fault = Fault::new("manifest.duration", "is not a time", "a number with `ms`, `s`, `m` or `h`, such as `30s`");
    Err(if is_number(text) { fault.hint(format!("write `{text}s`")) } else { fault })
}

fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Memory as container engines write it.
pub(crate) fn memory(text: &str) -> Result<(), Fault> {
    if ["b", "k", "m", "g"].into_iter().any(|unit| text.strip_suffix(unit).is_some_and(is_number)) {
        return Ok(());
    }
    let fault = Fault::new("manifest.memory", "is not an amount of memory", "a number with `b`, `k`, `m` or `g`, such as `256m`");
    Err(if is_number(text) { fault.hint(format!("write `{text}m` for MiB")) } else { fault })
}

/// Cores, above 0 and at most 64.
pub(crate) fn cores(text: &str) -> Result<(), Fault> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match text.parse::<f64>() {
        Ok(cores) if plain && cores > 0.0 && cores <= 64.0 => Ok(()),
        _ => Err(Fault::new("manifest.cores", "is not a number of cores", "above `0` and at most `64`, such as `0.5`")),
    }
}

/// A container image, `registry/name:tag` or `name@sha256:…`; it can't be read as an option.
pub(crate) fn image(text: &str) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    let ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(plain)
        && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if ok {
        Ok(())
    } else {
        Err(Fault::new("manifest.image", "is not the name of an image", "such as `registry.example.org/name:1.0.0`"))
    }
}

/// The name of a volume.
pub(crate) fn volume_name(text: &str) -> Result<(), Fault> {
    let ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if ok {
        Ok(())
    } else {
        Err(Fault::new("manifest.volume_name", "is not the name of a volume", "`[A-Za-z0-9][A-Za-z0-9_.-]*`"))
    }
}

/// What a refused name is told, with the nearest name that would do.
pub(crate) fn name_fault(
    text: &str,
    error: &crate::NameError,
    what: &str,
    limit: usize,
    is_name: impl Fn(&str) -> bool,
) -> Fault {
    let expected = format!("a name for {what}: ^[a-z][a-z0-9]*([_-][a-z0-9]+)*$, at most {limit} characters");
    let fault = Fault::new("manifest.name", error.to_string(), expected);
    if !text.is_ascii() {
        // What is left of a look-alike name without its foreign letters is another name.
        return fault;
    }
    let mut better = String::new();
    let mut lower = false;
    for character in text.chars() {
        if lower && character.is_ascii_uppercase() {
            better.push('_');
        }
        lower = character.is_ascii_lowercase();
        match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => better.push(plain),
            _ if better.ends_with('_') || better.is_empty() => {}
            _ => better.push('_'),
        }
    }
    let better = better.trim_end_matches('_');
    if is_name(better) { fault.hint(format!("write `{better}`")) } else { fault }
}
