//! Help that teaches: every command shows an example, completions are there, refusals say what to do.

use crate::run::Home;

const COMMANDS: [&[&str]; 79] = [
    &["serve"],
    &["engine"],
    &["engine", "start"],
    &["engine", "stop"],
    &["engine", "status"],
    &["list"],
    &["info"],
    &["call"],
    &["search"],
    &["eval"],
    &["learn"],
    &["learn", "on"],
    &["learn", "off"],
    &["learn", "show"],
    &["learn", "clear"],
    &["models"],
    &["models", "list"],
    &["models", "install"],
    &["models", "remove"],
    &["models", "use"],
    &["add"],
    &["approve"],
    &["remove"],
    &["import"],
    &["import-config"],
    &["validate"],
    &["package"],
    &["keygen"],
    &["sign"],
    &["verify"],
    &["install"],
    &["update"],
    &["rollback"],
    &["uninstall"],
    &["activate"],
    &["deactivate"],
    &["pin"],
    &["history"],
    &["sync"],
    &["store"],
    &["publish"],
    &["store", "verify"],
    &["store", "gc"],
    &["trust"],
    &["trust", "add"],
    &["trust", "list"],
    &["trust", "remove"],
    &["schema"],
    &["grant"],
    &["revoke"],
    &["grants"],
    &["secret"],
    &["secret", "set"],
    &["secret", "list"],
    &["secret", "remove"],
    &["config"],
    &["config", "get"],
    &["config", "set"],
    &["config", "unset"],
    &["config", "edit"],
    &["token"],
    &["token", "create"],
    &["token", "list"],
    &["token", "revoke"],
    &["container"],
    &["container", "list"],
    &["container", "logs"],
    &["container", "stats"],
    &["container", "rebuild"],
    &["container", "push"],
    &["container", "stop"],
    &["container", "prune"],
    &["init"],
    &["dev"],
    &["test"],
    &["doctor"],
    &["client-config"],
    &["completions"],
    &[],
];

#[test]
fn every_command_shows_an_example() {
    let home = Home::new();
    for command in COMMANDS {
        let ended = home.run(&[command, &["--help"]].concat()).ends(0);
        let wanted = if command.is_empty() { "First steps:" } else { "Example" };
        assert!(ended.stdout.contains(wanted), "{command:?}: {}", ended.stdout);
        assert!(ended.stdout.contains("--json"), "{command:?} does not show --json");
    }
}

#[test]
fn the_list_above_is_every_command() {
    let home = Home::new();
    let help = home.run(&["-h"]).ends(0).stdout;
    let commands = help.split("Usage:").nth(1).unwrap().split("Options:").next().unwrap();
    let mut listed: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next().filter(|_| line.starts_with("  ")))
        .filter(|word| *word != "help")
        .collect();
    let mut known: Vec<&str> =
        COMMANDS.iter().filter_map(|command| command.first().copied().filter(|_| command.len() == 1)).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn completions_name_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.run(&["completions", shell]).ends(0).stdout;
        assert!(script.contains("client-config"), "{shell}: {script}");
    }
}

#[test]
fn a_wrong_word_is_usage_with_a_hint() {
    let home = Home::new();
    let ended = home.run(&["grnat"]).ends(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("grant"), "{}", ended.stderr);
    let document = home.run(&["grnat", "--json"]).ends(2).json();
    assert_eq!(document["error"]["code"], "usage");
    assert!(document["error"]["message"].as_str().unwrap().contains("grnat"), "{document}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("grant"), "{document}");
}

#[test]
fn schema_is_a_schema() {
    let home = Home::new();
    let schema = home.run(&["schema"]).ends(0).json();
    assert!(schema["properties"]["mcps"].is_object());
    jsonschema::draft202012::new(&schema).unwrap();
}
