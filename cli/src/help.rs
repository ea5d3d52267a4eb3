//! The page that `pegboard --help` shows: the commands in groups by what a person is about to do, since a list of fifty in one row is read by
//! nobody. What a command is for stands beside its code; here is only where it belongs.

use clap::{Command, CommandFactory as _, Error, builder::StyledStr, error::ErrorKind};

use crate::args::Cli;

/// The groups in reading order. Each visible command is in exactly one of them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Use tools", &["serve", "engine", "client-config", "list", "info", "search", "call"]),
    ("Get plugins", &["install", "update", "add", "approve", "remove", "import", "import-config"]),
    ("Look after what is installed", &["rollback", "uninstall", "activate", "deactivate", "pin", "history", "sync", "store"]),
    ("Allow", &["grant", "revoke", "grants", "secret", "config", "token"]),
    ("Write plugins", &["init", "dev", "test", "validate", "schema", "package", "sign", "keygen", "publish"]),
    ("Trust", &["verify", "trust"]),
    ("Look after", &["doctor", "container", "models", "learn", "eval", "completions", "help"]),
];

/// The refusal or the page that clap made, with the grouped page in its place when it is that of the whole program. Made only then: no other
/// start of the program pays for it.
pub(crate) fn grouped(error: Error) -> Error {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            command().try_get_matches().err().unwrap_or(error)
        }
        _ => error,
    }
}

fn command() -> Command {
    // Built, so that `help` is among the commands.
    let mut built = Cli::command();
    built.build();
    let page = page(&built);
    Cli::command().help_template(page)
}

/// What clap fills in, around the groups.
fn page(command: &Command) -> StyledStr {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = command.get_subcommands().map(|one| one.get_name().len()).max().unwrap_or_default();
    let mut page = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        page += &format!("\n{header}{title}:{header:#}\n");
        for one in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            page += &format!("  {literal}{:width$}{literal:#}  {about}\n", one.get_name());
        }
    }
    page += &format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    page.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{GROUPS, command};

    #[test]
    fn each_command_is_in_one_group() {
        let mut command = command();
        command.build();
        let shown: BTreeSet<&str> =
            command.get_subcommands().filter(|one| !one.is_hide_set()).map(clap::Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), shown);
        assert_eq!(grouped.len(), shown.len(), "one is in two groups");
    }
}
