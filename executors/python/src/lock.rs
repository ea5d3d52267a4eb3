//! Judges a `requirements.lock` before uv sees it: a plugin's file is untrusted, and the format can hold options and addresses.
//!
//! Accepted is one pinned release a line with its hashes, and nothing else.

use std::collections::HashSet;

/// Why a lock was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A line that is not a pinned release.
    #[error("line {line}: expected `name==version --hash=sha256:…`, found `{found}`")]
    Line {
        /// One-based line where the entry starts.
        line: usize,
        /// The entry, cut.
        found: String,
    },
    /// A release without a hash.
    #[error("line {line}: `{name}` has no `--hash=sha256:…`")]
    NoHash {
        /// One-based line where the entry starts.
        line: usize,
        /// The release.
        name: String,
    },
}

/// Checks every entry.
///
/// # Errors
/// [`LockError`] names the first entry that is anything but a pinned, hashed release.
pub(crate) fn check(text: &str) -> Result<(), LockError> {
    entries(text).iter().try_for_each(|(line, entry)| check_entry(*line, entry))
}

/// The pinned releases without their hashes, such as `six==1.17.0`, with their markers.
///
/// # Errors
/// As [`check`].
pub(crate) fn releases(text: &str) -> Result<Vec<String>, LockError> {
    check(text)?;
    let release = |entry: &String| entry.split(" --hash=").next().unwrap_or_default().trim().to_owned();
    Ok(entries(text).iter().map(|(_, entry)| release(entry)).collect())
}

/// A lock that was resolved beside another, with each release of that one as it stands there: the same hashes, and no more of them.
///
/// # Errors
/// As [`check`], of either.
pub(crate) fn held_to(own: &str, resolved: &str) -> Result<String, LockError> {
    check(own)?;
    check(resolved)?;
    let own: Vec<String> = entries(own).into_iter().map(|(_, entry)| entry).collect();
    let pinned: HashSet<String> = own.iter().map(|entry| project(entry)).collect();
    let others = entries(resolved).into_iter().map(|(_, entry)| entry).filter(|entry| !pinned.contains(&project(entry)));
    Ok(own.iter().cloned().chain(others).map(|entry| entry + "\n").collect())
}

/// The name of an entry as indexes spell it, without extras: `Typing_Extensions[x]==4` is `typing-extensions`.
fn project(entry: &str) -> String {
    let name: String = entry.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

/// The entries with the one-based line where each starts; an entry may go on over several lines.
fn entries(text: &str) -> Vec<(usize, String)> {
    let mut entries = Vec::new();
    let mut entry = String::new();
    let mut start = 1;
    for (index, raw) in text.lines().enumerate() {
        // A `#` starts a comment only at the start of a word.
        let line = raw.split(" #").next().unwrap_or_default().trim();
        if line.starts_with('#') || (line.is_empty() && entry.is_empty()) {
            continue;
        }
        if entry.is_empty() {
            start = index + 1;
        }
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        entry.push_str(part);
        entry.push(' ');
        if !goes_on {
            entries.push((start, entry.trim().to_owned()));
            entry.clear();
        }
    }
    if !entry.trim().is_empty() {
        entries.push((start, entry.trim().to_owned()));
    }
    entries
}

fn check_entry(line: usize, entry: &str) -> Result<(), LockError> {
    let refused = || LockError::Line { line, found: entry.chars().take(80).collect() };
    let (requirement, hashes) = entry.split_once(" --hash=").map_or((entry, ""), |(requirement, hashes)| (requirement, hashes));
    let (release, marker) = requirement.split_once(';').map_or((requirement, ""), |(release, marker)| (release, marker));
    let (name, version) = release.trim().split_once("==").ok_or_else(refused)?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.[],".contains(c));
    let is_version =
        |version: &str| !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c));
    let is_marker =
        |marker: &str| marker.chars().all(|c| c.is_ascii_alphanumeric() || " _.'\"<>=!()-".contains(c)) && !marker.contains("--");
    if !is_name(name) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !is_version(version) || !is_marker(marker) {
        return Err(refused());
    }
    if hashes.is_empty() {
        return Err(LockError::NoHash { line, name: release.trim().to_owned() });
    }
    let hashed = hashes.split_whitespace().all(|hash| {
        let digest = hash.strip_prefix("--hash=").unwrap_or(hash).strip_prefix("sha256:");
        digest.is_some_and(|digest| digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()))
    });
    if hashed { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "--hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274";

    #[test]
    fn pinned_and_hashed_releases_are_accepted() {
        let lock = format!(
            "# made once\nsix==1.17.0 \\\n    {HASH} \\\n    {HASH}\n    # via x\ntyping-extensions==4.1 ; python_version < '3.11' \\\n {HASH}\n"
        );
        assert_eq!(check(&lock), Ok(()));
    }

    #[test]
    fn what_is_resolved_beside_a_lock_keeps_its_hashes() {
        let (own, other) = (HASH.to_owned(), HASH.replace("4721", "ffff"));
        let lock = format!("Typing_Extensions==4.1 ; python_version < '3.11' \\\n    {own}\nsix==1.17.0 {own}\n");
        let resolved =
            format!("pytest==9.0 {other}\nsix==1.17.0 \\\n    {own} \\\n    {other}\ntyping-extensions==4.1 {other}\n");
        let held = held_to(&lock, &resolved).unwrap();
        let lines: Vec<&str> = held.lines().collect();
        let typing = format!("Typing_Extensions==4.1 ; python_version < '3.11'  {own}");
        assert_eq!(lines, [typing.as_str(), &format!("six==1.17.0 {own}"), &format!("pytest==9.0 {other}")]);
        assert_eq!(check(&held), Ok(()));
        assert!(held_to("six", &resolved).is_err() && held_to(&lock, "--index-url https://evil.example").is_err());
    }

    #[test]
    fn whatever_is_not_a_pinned_release_is_refused() {
        let lines = [
            "--index-url https://evil.example/simple",
            "--extra-index-url=https://evil.example",
            "-r /etc/passwd",
            "-e .",
            "six",
            "six>=1.0",
            "six @ file:///tmp/six.whl",
            "./local.whl",
            "six==1.0 --global-option=x",
            "-f==1 ",
        ];
        for line in lines {
            for entry in [line.to_owned(), format!("{line} {HASH}")] {
                assert!(check(&entry).is_err(), "accepted: {entry}");
            }
        }
        assert_eq!(check("six==1.0"), Err(LockError::NoHash { line: 1, name: "six==1.0".to_owned() }));
        assert!(check("six==1.0 --hash=sha256:12").is_err());
        assert!(check(&format!("six==1.0 {HASH} --index-url https://evil.example")).is_err());
    }
}
