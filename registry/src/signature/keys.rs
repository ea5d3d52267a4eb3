//! Ed25519 keys: the text forms they are kept in, and what is refused as a key.
//!
//! Files are PEM as other programs write and read them (PKCS#8 for the secret, SPKI for the public key); one line is `ed25519:<base64>`.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::FileDigest;

/// Everything in a PKCS#8 Ed25519 key before its 32 bytes: version 0, the algorithm, an octet string in an octet string.
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// Everything in an SPKI Ed25519 key before its 32 bytes.
const SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const LINE: &str = "ed25519:";

/// Points of small order, without their sign: under such a "key" anyone can sign. In the encodings that verification takes.
const WEAK: [[u8; 32]; 7] = {
    const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut point = [middle; 32];
        point[0] = first;
        point[31] = last;
        point
    }
    [
        ends(0, 0, 0),
        ends(1, 0, 0),
        ends(0xec, 0xff, 0x7f),
        ends(0xed, 0xff, 0x7f),
        ends(0xee, 0xff, 0x7f),
        *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    ]
};

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor one line.
    #[error("expected an Ed25519 public key, in PEM or as `ed25519:` and 44 characters")]
    NotPublic,
    /// The other half.
    #[error("expected a public key, found a secret one")]
    Secret,
    /// Not a secret key, or one of another kind or with a password.
    #[error("expected an Ed25519 secret key in PEM (PKCS#8, without a password)")]
    NotSecret,
    /// Anyone can sign under it.
    #[error("the public key is a point of small order: anyone could sign under it")]
    Weak,
}

/// What a signature names its key by: the SHA-256 of the public key's 32 bytes, in hex.
pub type KeyId = FileDigest;

/// A public key that is not weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// A secret key. Never shown: it has neither `Display` nor a `Debug` that tells.
pub struct SecretKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl PublicKey {
    /// Reads PEM or one line.
    ///
    /// # Errors
    /// When the text is no public key, or a weak one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match text.strip_prefix(LINE) {
            Some(line) => BASE64_STANDARD.decode(line).ok(),
            None if text.contains("PRIVATE KEY") => return Err(KeyError::Secret),
            None => pem(text, "PUBLIC KEY").and_then(|der| der.strip_prefix(SPKI).map(<[u8]>::to_vec)),
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError::NotPublic).and_then(Self::of_bytes)
    }

    fn of_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let mut unsigned = bytes;
        if let Some(last) = unsigned.last_mut() {
            *last &= 0x7f;
        }
        if WEAK.contains(&unsigned) { Err(KeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// What signatures name it by.
    #[must_use]
    pub fn id(&self) -> KeyId {
        FileDigest::of(&self.0)
    }

    /// As a PEM file.
    #[must_use]
    pub fn pem(&self) -> String {
        armour("PUBLIC KEY", &[SPKI, &self.0].concat())
    }

    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LINE}{}", BASE64_STANDARD.encode(self.0))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl SecretKey {
    /// Makes a key from the kernel's randomness.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
        Self::of_seed(seed).map_err(std::io::Error::other)
    }

    fn of_seed(seed: [u8; 32]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(&seed).map(|pair| Self { seed, pair }).map_err(|_| KeyError::NotSecret)
    }

    /// Reads a PEM file.
    ///
    /// # Errors
    /// When the text is no secret key of this kind.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let der = pem(text.trim(), "PRIVATE KEY").ok_or(KeyError::NotSecret)?;
        let seed = der.strip_prefix(PKCS8).and_then(|seed| seed.try_into().ok()).ok_or(KeyError::NotSecret)?;
        Self::of_seed(seed)
    }

    /// As a PEM file: for its owner alone.
    #[must_use]
    pub fn pem(&self) -> String {
        armour("PRIVATE KEY", &[PKCS8, &self.seed].concat())
    }

    /// The half that others may have.
    ///
    /// # Errors
    /// Never for a key that was made here; a weak one is refused like any other.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        self.pair.public_key().as_ref().try_into().map_err(|_| KeyError::NotPublic).and_then(PublicKey::of_bytes)
    }

    pub(crate) fn id(&self) -> KeyId {
        FileDigest::of(self.pair.public_key().as_ref())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// The bytes in PEM armour; nothing before or after it.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(&format!("-----BEGIN {label}-----"))?.strip_suffix(&format!("-----END {label}-----"))?;
    BASE64_STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

/// Both kinds of key fit in one line of 64 characters.
fn armour(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::{BASE64_STANDARD, ED25519, Engine, KeyError, PublicKey, SecretKey, UnparsedPublicKey, WEAK};

    #[test]
    fn a_key_survives_its_files() {
        let key = SecretKey::generate().unwrap();
        let public = key.public().unwrap();
        assert_eq!(PublicKey::parse(&public.pem()), Ok(public));
        assert_eq!(PublicKey::parse(&public.to_string()), Ok(public));
        let again = SecretKey::parse(&key.pem()).unwrap();
        assert!(public.signed(b"text", &again.sign(b"text")));
        assert!(!public.signed(b"Text", &again.sign(b"text")));
        assert_ne!(SecretKey::generate().unwrap().pem(), key.pem());
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }

    /// Test 1 of RFC 8032, section 7.1.
    #[test]
    fn the_algorithm_is_ed25519() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5,
            0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = SecretKey::of_seed(seed).unwrap();
        assert_eq!(&key.sign(b"")[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert_eq!(&key.public().unwrap().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn weak_keys_are_refused_because_anyone_can_sign_under_them() {
        for point in WEAK {
            for sign in [0, 0x80] {
                let mut point = point;
                point[31] |= sign;
                let line = format!("ed25519:{}", BASE64_STANDARD.encode(point));
                assert_eq!(PublicKey::parse(&line), Err(KeyError::Weak));
            }
            // The identity and zero as a "signature" made without any key: some message out of a few dozen is taken as signed.
            let mut forged = [0; 64];
            forged[0] = 1;
            let key = UnparsedPublicKey::new(&ED25519, point);
            let taken = (0..200_u8).any(|number| key.verify(&[number], &forged).is_ok());
            let decodes = point[0] != 0xee && point[0] != 0xed || point[1] != 0xff;
            assert!(taken || !decodes, "{point:02x?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = SecretKey::generate().unwrap();
        assert_eq!(PublicKey::parse(&key.pem()), Err(KeyError::Secret));
        assert_eq!(SecretKey::parse(&key.public().unwrap().pem()).unwrap_err(), KeyError::NotSecret);
        for text in
            ["", "ed25519:", "ed25519:AAAA", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
        {
            assert_eq!(PublicKey::parse(text), Err(KeyError::NotPublic), "{text}");
        }
    }
}
