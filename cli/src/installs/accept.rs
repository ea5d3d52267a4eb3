//! What the operator is shown before a package is installed, and what counts as a yes.

use std::collections::BTreeSet;

use registry::{Approved, Consent, Difference, Proposal, Turn};
use serde_json::{Value, json};

use crate::{
    commands::asking::{self, Question},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Tone},
};

const QUESTION: Question = Question {
    ask: "Install?",
    unconfirmed: "install.unconfirmed",
    declined: "install.declined",
    nothing: "nothing was installed",
};
/// How much of a definition is shown.
const SHOWN: usize = 600;

/// How the operator answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Do not ask.
    pub(crate) yes: bool,
    /// What is accepted without being asked for.
    pub(crate) named: BTreeSet<String>,
}

/// Shows the differences and asks, or holds them against what was named.
pub(crate) fn accept(output: &Output, proposal: Proposal, answer: &Answer) -> Outcome<Approved> {
    let unnamed = proposal.unnamed(&answer.named).len();
    if unnamed == 0 && (answer.yes || proposal.differences().is_empty() || !asking::somebody()) {
        return proposal.approve(Consent::Named(&answer.named)).map_err(|left| refused(&left, &[]));
    }
    if answer.yes || !asking::somebody() {
        let all: Vec<Value> = proposal.differences().iter().map(document).collect();
        return proposal.approve(Consent::Named(&answer.named)).map_err(|left| refused(&left, &all));
    }
    asking::confirm(output, false, &render(output, &proposal), &QUESTION)?;
    proposal.approve(Consent::Shown).map_err(|left| refused(&left, &[]))
}

fn refused(left: &[Difference], all: &[Value]) -> Failure {
    let list: Vec<String> = left.iter().map(|difference| format!("{} ({})", difference.key, word(difference))).collect();
    let message = format!("nothing was installed: nobody accepted {}", list.join(", "));
    let flags: BTreeSet<String> = left.iter().map(|difference| format!("--allow {}", flag(&difference.key))).collect();
    let flags: Vec<String> = flags.into_iter().collect();
    Failure::new(Exit::Denied, "install.not_accepted", message)
        .hint(format!("look at it on a terminal, or accept it by name: {}", flags.join(" ")))
        .document(json!({"differences": all}))
}

/// The shortest word that covers a key.
fn flag(key: &str) -> &str {
    match key.split_once(':') {
        Some(("power", power)) => power,
        Some(("host", _)) => "network_access",
        Some(("tool", _)) => "tools",
        Some(("secret", _)) => "secrets",
        Some(("runtime", _)) => "runtime",
        Some(("needs", _)) => "needs",
        _ => key,
    }
}

/// A difference for machines.
pub(crate) fn document(difference: &Difference) -> Value {
    json!({
        "key": difference.key,
        "turn": word(difference),
        "before": difference.before,
        "after": difference.after,
        "widens": difference.widens,
    })
}

const fn word(difference: &Difference) -> &'static str {
    match difference.turn {
        Turn::Added => "new",
        Turn::Changed => "changed",
        Turn::Removed => "gone",
    }
}

/// What a package is and how it differs from what is there.
fn render(output: &Output, proposal: &Proposal) -> String {
    let (release, bundle) = (proposal.release(), proposal.vouched().bundle());
    let output = output.plain();
    let vouched = match proposal.vouched().missing() {
        None => format!("signed by {}", release.signed_by.join(", ")),
        Some(why) => why.to_string(),
    };
    let head = format!("{} {}", bundle.manifest().name, release.version);
    let mut text = format!(
        "{}\n{}\nfrom {}\n{vouched}\nsha256:{}\n",
        output.paint(Tone::Strong, &head),
        crate::clean::line(&bundle.manifest().description),
        crate::clean::line(&release.source),
        release.digest
    );
    for difference in proposal.differences() {
        let mark = match difference.turn {
            Turn::Added => "+",
            Turn::Changed => "~",
            Turn::Removed => "-",
        };
        let care = if difference.widens { "  (more than was accepted)" } else { "" };
        text.push_str(&format!("{mark} {}{care}\n", crate::clean::line(&difference.key)));
        for (label, part) in [("was", &difference.before), ("is", &difference.after)] {
            let Some(part) = part else { continue };
            let cut: String = part.chars().take(SHOWN).collect();
            let more = if cut.len() < part.len() { " …" } else { "" };
            text.extend(cut.lines().map(|line| format!("    {label}: {}{more}\n", crate::clean::line(line))));
        }
    }
    text
}
