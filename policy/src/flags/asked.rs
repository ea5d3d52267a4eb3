//! Parameters that ask for a secret or for the conversation, by their name or by what is said about them.

use super::phrases::{self, Word};

/// Names of parameters, without separators and in lower case, that ask for a secret.
const SECRETS: &[&str] = &[
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "accesstoken",
    "authtoken",
    "bearertoken",
    "refreshtoken",
    "sshkey",
    "sessioncookie",
    "clientsecret",
    "mnemonic",
    "seedphrase",
];

/// And those that ask for what was said before.
const CONTEXT: &[&str] = &[
    "systemprompt",
    "conversationhistory",
    "chathistory",
    "chatlog",
    "fullconversation",
    "messagehistory",
    "previousmessages",
    "sidenote",
    "fullcontext",
    "conversationcontext",
    "toolresults",
    "hiddencontext",
    "userprompt",
    "originalprompt",
    "conversationsofar",
];

const SECRET_TEXT: &[&str] = &[
    "pass|include|send|provide|copy|append|attach|paste|enter|supply|put|give ~5 password|passwords|credential|credentials|passphrase|secrets|cookies",
    "pass|include|send|provide|copy|append|attach|paste|enter|supply|put|give|read ~5 api|private|ssh|access|secret|auth|bearer key|keys|token|tokens",
    "environment variables ~6 here|value|values|pass|include|send",
];

/// Anywhere: an order to hand over what was said.
const CONTEXT_TEXT: &[&str] = &[
    "pass|include|send|provide|copy|append|attach|paste|summarize|summarise|put|store|repeat|add ~6 entire|full|whole|complete|current|previous|all ~2 conversation|chat|dialogue|transcript|context|messages",
    "pass|include|send|provide|copy|append|attach|paste|repeat|reveal|print|add ~5 system prompt|message|instructions",
    "your ~1 system prompt|instructions",
    "content|contents|results|outputs|output of ~2 other|previous|all|any ~1 tool|tools|files",
];

/// Of a parameter: a mere name of it.
const CONTEXT_OF_PARAMETER: &[&str] = &[
    "entire|full|whole|complete|current|our|this ~1 conversation|chat|dialogue|transcript",
    "conversation|chat ~1 so far",
    "system prompt",
];

/// The rule that a parameter's name raises.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    let joined = parts(name).concat();
    if SECRETS.iter().any(|secret| joined.contains(secret)) {
        return Some("TXT-SECRET");
    }
    CONTEXT.iter().any(|context| joined.contains(context)).then_some("TXT-CONTEXT")
}

/// The rules that a text raises, with where; also the marks that need the text and not its words.
pub(super) fn by_text(text: &str, words: &[Word], of_arguments: bool) -> Vec<(&'static str, usize)> {
    let mut found = phrases::marks(text);
    let first = |patterns: &[&str]| patterns.iter().find_map(|pattern| phrases::place(words, pattern));
    found.extend(first(SECRET_TEXT).map(|at| ("TXT-SECRET", at)));
    let parameter = first(CONTEXT_OF_PARAMETER).filter(|_| of_arguments);
    found.extend(first(CONTEXT_TEXT).or(parameter).map(|at| ("TXT-CONTEXT", at)));
    found
}

/// The parts of a name, in lower case: `apiKey`, `api-key` and `API_KEY` are `api` and `key`.
pub(super) fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut was_lower = false;
    let mut fresh = true;
    for character in name.chars() {
        if !character.is_alphanumeric() {
            fresh = true;
            continue;
        }
        if fresh || (character.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
        fresh = false;
    }
    parts
}
