//! Whom the operator trusts, for which plugins and until when; and the package that passed.

use serde::{Deserialize, Serialize};

use super::{Contents, Day, PublicKey, SignatureError, envelope::Envelope, statement::Statement};
use crate::Bundle;

/// The keys that the operator trusts: the contents of `trust.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustStore {
    /// Each with a name of its own.
    pub keys: Vec<TrustedKey>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What the operator calls its owner.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// Names of the plugins that it may sign; one `*` at the end of a name stands for any rest.
    pub plugins: Vec<String>,
    /// The day on which the operator began to trust it.
    pub added: Day,
    /// The last day on which it is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Day>,
}

/// A bundle that is signed by someone whom the operator trusts for this plugin today.
#[derive(Debug)]
pub struct Trusted {
    /// The package.
    pub bundle: Bundle,
    /// Names of the keys that vouch for it; at least one.
    pub by: Vec<String>,
}

impl TrustedKey {
    /// Whether the key may sign this plugin.
    #[must_use]
    pub fn may_sign(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => plugin.starts_with(start),
            None => plugin == pattern,
        })
    }
}

impl TrustStore {
    /// Checks the signatures of a package on a day.
    ///
    /// A signature under the id of a trusted key that does not hold makes the package tampered with, whoever else signed it. Of the others,
    /// one that holds is enough.
    ///
    /// # Errors
    /// What is missing for trust: see [`SignatureError`].
    pub fn check(&self, bundle: Bundle, today: Day) -> Result<Trusted, SignatureError> {
        let by = self.vouchers(&bundle, today)?;
        Ok(Trusted { bundle, by })
    }

    pub(crate) fn vouchers(&self, bundle: &Bundle, today: Day) -> Result<Vec<String>, SignatureError> {
        self.vouch(&Contents::of(bundle), bundle.signature(), today)
    }

    /// The same of a package wherever it lies.
    pub(crate) fn vouch(
        &self,
        contents: &Contents<'_>,
        signature: Option<&[u8]>,
        today: Day,
    ) -> Result<Vec<String>, SignatureError> {
        let envelope = Envelope::parse(signature.ok_or(SignatureError::Unsigned)?)?;
        let known = self.known(&envelope)?;
        let first = known.first().map(|key| key.name.clone()).unwrap_or_default();
        // Only now, as it is properly signed, is the statement read.
        let statement = Statement::check(&envelope.payload, contents)
            .map_err(|what| SignatureError::OtherPackage { key: first.clone(), what })?;
        let plugin = contents.manifest.name.as_str();
        let scoped: Vec<&TrustedKey> = known.iter().copied().filter(|key| key.may_sign(plugin)).collect();
        if scoped.is_empty() {
            return Err(SignatureError::OtherPlugins { key: first, plugin: plugin.to_owned() });
        }
        let over = |until: Option<Day>| until.filter(|until| *until < today);
        let valid: Vec<String> = scoped.iter().filter(|key| over(key.expires).is_none()).map(|key| key.name.clone()).collect();
        if let (true, Some(key)) = (valid.is_empty(), scoped.first()) {
            let until = key.expires.unwrap_or(today);
            return Err(SignatureError::KeyExpired { key: key.name.clone(), until });
        }
        match over(statement.predicate.expires) {
            Some(until) => Err(SignatureError::Expired { key: valid.into_iter().next().unwrap_or_default(), until }),
            None => Ok(valid),
        }
    }

    /// The trusted keys whose signatures are in the envelope, each of which holds.
    fn known(&self, envelope: &Envelope) -> Result<Vec<&TrustedKey>, SignatureError> {
        let message = envelope.message();
        let mut known: Vec<&TrustedKey> = Vec::new();
        for (id, signature) in &envelope.signatures {
            for key in self.keys.iter().filter(|key| key.key.id().to_string() == *id) {
                if !key.key.signed(&message, signature) {
                    return Err(SignatureError::Forged(key.name.clone()));
                }
                known.push(key);
            }
        }
        if known.is_empty() {
            return Err(SignatureError::UnknownKey(envelope.signatures.iter().map(|(id, _)| id.clone()).collect()));
        }
        Ok(known)
    }
}
