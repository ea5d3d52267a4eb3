//! Which values of a client's configuration are secrets: by the name they go by, by the marks that vendors give their keys, by their randomness.
//!
//! A guess in favour of the store: what is taken for a secret and is none works all the same.

/// Parts of names of secrets.
const NAMES: &[&str] = &[
    "key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "pat",
    "dsn",
    "jwt",
    "private",
];

/// How keys of well-known vendors begin.
const PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "hf_",
    "npm_",
    "pypi-",
    "eyJ",
    "pgb_",
    "dop_v1_",
    "shpat_",
    "secret_",
    "ntn_",
    "lin_api_",
    "-----BEGIN",
];

/// Whether a value should be kept as a secret.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    let named = parts(name).iter().any(|part| NAMES.contains(&part.as_str()));
    (named && !is_plain(value)) || looks_like_one(value)
}

/// Whether a value alone gives itself away.
pub(crate) fn looks_like_one(value: &str) -> bool {
    let value = value.trim();
    PREFIXES.iter().any(|prefix| value.len() >= prefix.len() + 8 && value.starts_with(prefix))
        || has_userinfo(value)
        || is_random(value)
}

/// A switch, a small number, a path or an address: whatever its name, not a secret.
fn is_plain(value: &str) -> bool {
    let value = value.trim();
    let number = value.len() <= 8 && value.chars().all(|character| character.is_ascii_digit() || character == '.');
    let word = ["true", "false", "yes", "no", "on", "off", "none", "null", "auto", "default"]
        .contains(&value.to_ascii_lowercase().as_str());
    let place = ["/", "~/", "./", "http://", "https://"].iter().any(|start| value.starts_with(start));
    value.is_empty() || number || word || (place && !has_userinfo(value))
}

/// `scheme://user:password@host`.
fn has_userinfo(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// One long word of letters and digits with at least 3.5 bits a character: sentences, paths and names of packages have less or have separators.
fn is_random(value: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '+' | '=' | '.');
    let has = |kind: fn(&u8) -> bool| value.as_bytes().iter().any(kind);
    if value.len() < 20 || !value.chars().all(fits) || !has(u8::is_ascii_digit) || !has(u8::is_ascii_alphabetic) {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = value.len() as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum();
    bits >= 3.5 && digits_are_spread(value)
}

/// A version or a date has its digits in few places; random text has them everywhere.
fn digits_are_spread(value: &str) -> bool {
    let kinds: Vec<bool> =
        value.chars().filter(char::is_ascii_alphanumeric).map(|character| character.is_ascii_digit()).collect();
    kinds.windows(2).filter(|pair| pair.first() != pair.last()).count() >= 4
}

/// The name that a secret of this variable or header goes by in the store: `^[A-Z][A-Z0-9_]*$`.
pub(crate) fn name_of(variable: &str) -> String {
    let upper: String = variable
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    let trimmed = upper.trim_matches('_');
    let named =
        if trimmed.starts_with(|first: char| first.is_ascii_uppercase()) { trimmed.to_owned() } else { format!("S_{trimmed}") };
    named.chars().take(64).collect()
}

/// The parts of a name, in lower case: `apiKey`, `api-key` and `API_KEY` are `api` and `key`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        if !character.is_ascii_alphanumeric() || (character.is_ascii_uppercase() && was_lower) {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut().filter(|_| character.is_ascii_alphanumeric()) {
            last.push(character.to_ascii_lowercase());
        }
        was_lower = character.is_ascii_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::{is_secret, name_of};

    #[test]
    fn secrets_are_told_from_settings() {
        for (name, value) in [
            ("API_KEY", "abc"),
            ("githubToken", "x1"),
            ("DB_PASSWORD", "hunter2"),
            ("SLACK", "xoxb-1234567890-abc"),
            ("DATABASE_URL", "postgres://app:pw@db/x"),
            ("SESSION", "9f8Gh2kLm4Qp7Rs1Tv5Wx8Yz"),
            ("Authorization", "Basic abc"),
        ] {
            assert!(is_secret(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("LOG_LEVEL", "debug"),
            ("MAX_TOKENS", "4096"),
            ("AUTH_ENABLED", "true"),
            ("KEY_FILE", "/home/me/key.pem"),
            ("TOKEN_URL", "https://example.org/token"),
            ("KEYBOARD", "qwertz"),
            ("AUTHOR", "somebody"),
            ("NODE_OPTIONS", "--max-old-space-size=4096"),
            ("MODEL", "claude-something-4-20250514"),
            ("ALLOWED", "read_file,write_file,list_directory"),
            ("DB", "postgres://localhost/x"),
        ] {
            assert!(!is_secret(name, value), "{name}={value}");
        }
    }

    #[test]
    fn names_fit_the_store() {
        for (variable, name) in [("apiKey", "APIKEY"), ("X-Api-Key", "X_API_KEY"), ("_T", "T"), ("1PASSWORD", "S_1PASSWORD")] {
            assert_eq!(name_of(variable), name);
        }
    }
}
