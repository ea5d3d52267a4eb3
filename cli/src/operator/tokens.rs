//! The token file: bearer tokens for `serve --http`, each by its hash with the tools it may call. The token itself is shown once and kept nowhere.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use server::TokenEntry;
use sha2::{Digest, Sha256};

use super::{Lock, read_yaml, write_private};
use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The default token file.
pub(crate) fn default_path(places: &Places) -> PathBuf {
    places.config.join("tokens.yaml")
}

/// The tokens of a file.
pub(crate) fn read(path: &Path) -> Outcome<Vec<TokenEntry>> {
    read_yaml(path)
}

/// Changes a token file under the lock.
pub(crate) fn change<T>(places: &Places, path: &Path, change: impl FnOnce(&mut Vec<TokenEntry>) -> Outcome<T>) -> Outcome<T> {
    let lock = Lock::take(places)?;
    let mut tokens = read(path)?;
    let result = change(&mut tokens)?;
    let text = serde_saphyr::to_string(&tokens).map_err(|error| anyhow::anyhow!("could not encode the tokens: {error}"))?;
    write_private(&lock, path, text.as_bytes())?;
    Ok(result)
}

/// Makes a token: 256 bits from the kernel, with a prefix that secret scanners can find.
pub(crate) fn generate() -> Outcome<String> {
    let mut bytes = [0_u8; 32];
    let source = Path::new("/dev/urandom");
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(|error| Failure::file("read", source, &error))?;
    Ok(format!("pgb_{}", hex(&bytes)))
}

/// The hash a token is known by.
pub(crate) fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Now, as RFC 3339 in UTC.
pub(crate) fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Seconds since 1970 as RFC 3339. The date by Howard Hinnant's `civil_from_days`, in years that begin in March.
fn rfc3339(seconds: u64) -> String {
    let (days, clock) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", clock / 3_600, clock % 3_600 / 60, clock % 60)
}

#[cfg(test)]
mod tests {
    use super::{generate, hash, rfc3339};

    #[test]
    fn dates_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn tokens_differ_and_their_hash_is_sha256() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 4 + 64);
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
