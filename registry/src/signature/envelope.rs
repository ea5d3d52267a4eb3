//! The envelope of signatures in DSSE form: a payload with its type, and signatures over both.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{SecretKey, SignatureError};

/// What a payload must be.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const MAX_SIGNATURES: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<DocumentSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentSignature {
    keyid: String,
    sig: String,
}

/// An envelope that was read; nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct Envelope {
    /// The statement, as signed.
    pub(super) payload: Vec<u8>,
    /// Key ids with signatures; at least one.
    pub(super) signatures: Vec<(String, Vec<u8>)>,
}

impl Envelope {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let broken = |what: &str| SignatureError::Broken(what.to_owned());
        let document: Document = serde_json::from_slice(bytes).map_err(|error| SignatureError::Broken(error.to_string()))?;
        if document.payload_type != PAYLOAD_TYPE {
            return Err(SignatureError::Broken(format!("expected a payload of type `{PAYLOAD_TYPE}`")));
        }
        if document.signatures.is_empty() || document.signatures.len() > MAX_SIGNATURES {
            return Err(SignatureError::Broken(format!("expected 1 to {MAX_SIGNATURES} signatures")));
        }
        let payload = BASE64_STANDARD.decode(&document.payload).map_err(|_| broken("its payload is not base64"))?;
        let decode = |signature: DocumentSignature| {
            let id: String = signature.keyid.chars().take(64).filter(char::is_ascii_graphic).collect();
            BASE64_STANDARD.decode(signature.sig).map(|bytes| (id, bytes)).map_err(|_| broken("a signature is not base64"))
        };
        Ok(Self { payload, signatures: document.signatures.into_iter().map(decode).collect::<Result<_, _>>()? })
    }

    /// The bytes that the signatures are over.
    pub(super) fn message(&self) -> Vec<u8> {
        message(&self.payload)
    }
}

/// Signs a payload and writes the envelope.
pub(super) fn seal(payload: &[u8], key: &SecretKey) -> Result<Vec<u8>, serde_json::Error> {
    let signature = DocumentSignature { keyid: key.id().to_string(), sig: BASE64_STANDARD.encode(key.sign(&message(payload))) };
    let document =
        Document { payload_type: PAYLOAD_TYPE.to_owned(), payload: BASE64_STANDARD.encode(payload), signatures: vec![signature] };
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// DSSE's pre-authentication encoding: both parts with their lengths, so that none can pass for the other.
fn message(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signed_bytes_are_those_of_dsse() {
        assert_eq!(super::message(b"{}"), b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
    }
}
