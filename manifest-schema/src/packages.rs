//! The forms of package names and versions: PEP 508 names, PEP 440 specifiers, npm names, git addresses. Nothing is looked up.

use semver::VersionReq;

use crate::{DependencySource, PluginName, fields::Fault, rules};

/// The name of a dependency, by its source. Direct addresses, options and markers are refused: what is installed must be readable in the manifest.
pub(crate) fn dependency_name(source: DependencySource, text: &str) -> Result<(), Fault> {
    match source {
        DependencySource::Pypi => pypi_name(text),
        DependencySource::Npm => npm_name(text),
        DependencySource::Marketplace => PluginName::parse(text)
            .map(drop)
            .map_err(|error| Fault::new("manifest.dependency_name", error.to_string(), "the name of a plugin")),
        DependencySource::Git => {
            let ok = rules::web_address(text).is_ok() && text.starts_with("https://") && !text.contains(['#', '?']);
            if ok {
                Ok(())
            } else {
                Err(Fault::new("manifest.dependency_name", "is not the address of a repository", "`https://host/path`"))
            }
        }
    }
}

/// The version of a dependency, by its source.
pub(crate) fn dependency_version(source: DependencySource, text: &str) -> Result<(), Fault> {
    match source {
        DependencySource::Pypi => python_specifier(text),
        DependencySource::Marketplace => VersionReq::parse(text).map(drop).map_err(|_| {
            Fault::new("manifest.dependency_version", "is not a version requirement", "such as `^1.2` or `>=1.0, <2.0`")
        }),
        DependencySource::Npm => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".^~<>=|* -+".contains(&byte);
            let ok = text.bytes().all(plain)
                && !text.starts_with('-')
                && (text.contains('*') || text.bytes().any(|byte| byte.is_ascii_digit()));
            if ok { Ok(()) } else { Err(Fault::new("manifest.dependency_version", "is not a version range", "such as `^1.2.0`")) }
        }
        DependencySource::Git => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
            let ok = text.bytes().all(plain) && !text.starts_with(['-', '/', '.']) && !text.contains("..");
            if ok {
                Ok(())
            } else {
                Err(Fault::new("manifest.dependency_version", "is not a commit or a tag", "such as `v1.2.0`"))
            }
        }
    }
}

/// PEP 503: `A._-b` and `a-b` are one project.
pub(crate) fn normalised(name: &str) -> String {
    let bare = name.split('[').next().unwrap_or(name);
    let parts: Vec<String> = bare.split(['-', '_', '.']).filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    parts.join("-")
}

/// A requirement in one text, such as `requests>=2.25`, as a mapping.
pub(crate) fn as_mapping(text: &str) -> Option<String> {
    let end = text.find(|character: char| "<>=!~ ".contains(character)).unwrap_or(text.len());
    let (name, version) = text.split_at(end);
    let version = version.trim();
    match (pypi_name(name).is_ok(), version.is_empty(), python_specifier(version).is_ok()) {
        (true, true, _) => Some(format!("{{name: {name}}}")),
        (true, false, true) => Some(format!("{{name: {name}, version: \"{version}\"}}")),
        _ => None,
    }
}

fn pypi_name(text: &str) -> Result<(), Fault> {
    let fault =
        Fault::new("manifest.dependency_name", "is not the name of a Python package", "a PEP 508 name, such as `requests`");
    let (name, extras) = match text.split_once('[') {
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(extras) => (name, Some(extras)),
            None => return Err(fault),
        },
        None => (text, None),
    };
    if is_project(name) && extras.is_none_or(|extras| extras.split(',').all(|extra| is_project(extra.trim()))) {
        return Ok(());
    }
    let end = text.find(|character: char| "<>=!~ ;@".contains(character)).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    Err(if text.contains("://") || text.contains(" @ ") || text.starts_with('-') {
        fault.hint("addresses and options are refused: name the package, and give its `version`")
    } else if is_project(head) && tail.contains(['<', '>', '=', '!', '~']) {
        fault.hint(format!("write `name: {head}` and `version: \"{}\"`", tail.trim()))
    } else {
        fault
    })
}

fn is_project(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn npm_name(text: &str) -> Result<(), Fault> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '_', '-'])
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-~".contains(&byte))
    };
    let ok = match text.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(text),
    };
    if ok {
        Ok(())
    } else {
        Err(Fault::new("manifest.dependency_name", "is not the name of an npm package", "`name` or `@scope/name`"))
    }
}

/// A PEP 440 specifier set: comparisons joined by commas.
pub(crate) fn python_specifier(text: &str) -> Result<(), Fault> {
    let fault = Fault::new("manifest.specifier", "is not a PEP 440 specifier", "such as `>=3.10` or `>=2.25,<3`");
    for clause in text.split(',').map(str::trim) {
        let Some((operator, version)) = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"]
            .into_iter()
            .find_map(|operator| clause.strip_prefix(operator).map(|version| (operator, version.trim())))
        else {
            return Err(bare_version_hint(fault, clause));
        };
        let prefix = version.strip_suffix(".*").filter(|_| matches!(operator, "==" | "!="));
        let ok = match prefix {
            Some(prefix) => is_release(prefix),
            None => is_python_version(version) && (operator != "~=" || version.contains('.')),
        };
        if !ok {
            return Err(fault);
        }
    }
    Ok(())
}

fn bare_version_hint(fault: Fault, clause: &str) -> Fault {
    let npm = clause.strip_prefix(['^', '~', '=']).filter(|version| is_python_version(version));
    if is_python_version(clause) {
        fault.hint(format!("write `=={clause}` or `>={clause}`"))
    } else if let Some(version) = npm {
        fault.hint(format!("write `~={version}` or `>={version}`"))
    } else {
        fault
    }
}

fn is_release(text: &str) -> bool {
    let text = text.split_once('!').map_or(text, |(epoch, rest)| if is_digits(epoch) { rest } else { "" });
    !text.is_empty() && text.split('.').all(is_digits)
}

fn is_digits(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[N!]N(.N)*[{a|b|rc}N][.postN][.devN][+local]`, as PEP 440 normalises it, with an optional `v`.
fn is_python_version(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_prefix('v').unwrap_or(&lower);
    let (public, local) = lower.split_once('+').map_or((lower, None), |(public, local)| (public, Some(local)));
    let release_end = public
        .find(|character: char| !character.is_ascii_digit() && character != '.' && character != '!')
        .unwrap_or(public.len());
    let (release, suffix) = public.split_at(release_end);
    let local_ok = local.is_none_or(|local| {
        local.split(['.', '-', '_']).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    });
    is_release(release.strip_suffix('.').filter(|_| !suffix.is_empty()).unwrap_or(release)) && is_suffix(suffix) && local_ok
}

/// The words after the release, in order, each at most once.
fn is_suffix(mut suffix: &str) -> bool {
    for words in [&["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"][..], &["post", "rev", "r"], &["dev"]] {
        let bare = suffix.trim_start_matches(['.', '-', '_']);
        if let Some(rest) = words.iter().find_map(|word| bare.strip_prefix(word)) {
            suffix = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        }
    }
    suffix.is_empty()
}
