//! From the text of `plugin.yaml` to a [`Manifest`], or to every problem with its place.

use crate::{Diagnostic, Diagnostics, MAX_MANIFEST_BYTES, Manifest};

/// Parses and checks a manifest. `file` only names the source in diagnostics.
///
/// # Errors
/// Every problem found, in the order of the document.
pub fn parse(file: &str, text: &str) -> Result<Manifest, Diagnostics> {
    let problem = |code, message: String| {
        Diagnostics(vec![Diagnostic {
            code,
            file: file.to_owned(),
            line: 1,
            column: 1,
            path: String::new(),
            message,
            expected: None,
            found: None,
            hint: None,
        }])
    };
    if text.len() > MAX_MANIFEST_BYTES {
        return Err(problem("manifest.too_large", "is too large".to_owned()));
    }
    serde_saphyr::from_str(text).map_err(|error| problem("manifest.invalid", error.to_string()))
}
