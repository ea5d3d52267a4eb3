//! Puts secrets where a manifest says `${NAME}`. Which secrets a plugin holds was decided in `policy`.

use executor_api::{FailureKind, ToolFailure};
use policy::Allowed;

/// The text with every `${NAME}` replaced by the secret of that name.
///
/// # Errors
/// A name that is no secret of this plugin's: nothing is started with half of its environment.
pub(crate) fn filled(template: &str, allowed: &Allowed) -> Result<String, ToolFailure> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            text.push_str("${");
            rest = after;
            continue;
        };
        let Some(secret) = allowed.secrets.get(name) else {
            return Err(ToolFailure::new(FailureKind::LoadFailed, format!("the secret `{name}` is not set for this plugin"))
                .with_hint("ask the operator to set it, or to look whether the manifest declares it"));
        };
        text.push_str(secret.reveal());
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use policy::SecretValue;

    use super::*;

    #[test]
    fn fills_what_is_held_and_refuses_what_is_not() {
        let mut allowed = Allowed::default();
        allowed.secrets.insert("KEY".to_owned(), SecretValue::new("s3${KEY}".to_owned()));
        assert_eq!(filled("Bearer ${KEY}!", &allowed).unwrap(), "Bearer s3${KEY}!");
        assert_eq!(filled("$5 ${", &allowed).unwrap(), "$5 ${");
        assert!(filled("${OTHER}", &allowed).unwrap_err().message.contains("`OTHER`"));
    }
}
