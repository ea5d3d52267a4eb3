//! `import-config`: what a client has configured becomes plugins; its file changes only when told to, and comes back.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    run::{BINARY, Home, mode},
    upstream::{benign, python},
};

/// A server of a client's file.
fn entry(folder: &Path) -> Value {
    json!({"command": python(), "args": [folder.join("upstream.py"), folder.join("offered.json")]})
}

impl Home {
    fn client(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn import(&self, args: &[&str], code: i32) -> Value {
        self.run(&[&["import-config"], args, &["--json"]].concat()).ends(code).json()
    }
}

fn states(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    document["servers"].as_array().unwrap().iter().map(|server| (text(&server["name"]), text(&server["state"]))).collect()
}

#[test]
fn every_client_is_read_in_its_own_form() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let one = entry(&folder);
    let cwd = home.path().canonicalize().unwrap();
    let cases = [
        (
            "claude-code",
            ".claude.json",
            json!({"mcpServers": {"a": one}, "projects": {cwd.to_str().unwrap(): {"mcpServers": {"b": one}}}}).to_string(),
            2,
        ),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", json!({"mcpServers": {"a": one}}).to_string(), 1),
        ("cursor", ".cursor/mcp.json", json!({"mcpServers": {"a": one}}).to_string(), 1),
        (
            "windsurf",
            ".codeium/windsurf/mcp_config.json",
            json!({"mcpServers": {"a": one, "b": {"serverUrl": "https://mcp.example.org/sse"}}}).to_string(),
            2,
        ),
        ("vscode", ".config/Code/User/mcp.json", format!("{{ // mine\n\"servers\": {{\"a\": {one},}}, \"inputs\": []}}"), 1),
        (
            "codex",
            ".codex/config.toml",
            format!("[mcp_servers.a]\ncommand = \"{}\"\nargs = ['{}']\n", python(), folder.join("upstream.py").display()),
            1,
        ),
    ];
    for (client, file, text, count) in cases {
        let path = home.client(file, &text);
        let document = home.import(&[client, "--dry-run"], 0);
        assert_eq!(document["servers"].as_array().unwrap().len(), count, "{client}: {document}");
        let same = home.import(&[path.to_str().unwrap(), "--dry-run"], 0);
        assert_eq!(states(&same), states(&document), "{client} by its file");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{client}");
    }
    // All of them: the same server in two clients is one plugin.
    let all = home.import(&["--dry-run"], 0);
    let proposed = states(&all).iter().filter(|(_, state)| state == "proposed").count();
    assert!(proposed < states(&all).len() && states(&all).iter().any(|(_, state)| state == "known"), "{all}");
    assert!(!home.config("grants.yaml").exists() && !home.path().join("data/added/a").exists());
}

#[test]
fn servers_become_plugins_and_the_file_stays() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let mut secretive = entry(&folder);
    secretive["env"] = json!({"NOTES_TOKEN": "abc-abc-abc", "LEVEL": "info"});
    let mut off = entry(&folder);
    off["disabled"] = json!(true);
    let servers = json!({"mcpServers": {
        "My Notes": secretive, "off": off, "gone": {"command": "/nowhere/at/all", "args": []},
        "asks": {"command": python(), "env": {"K": "${env:NOT_SET_HERE}"}},
        "pegboard": {"command": BINARY, "args": ["serve"]}}});
    let file = home.client(".cursor/mcp.json", &servers.to_string());
    let refused = home.import(&["cursor"], 2);
    assert_eq!(refused["error"]["code"], "import.unconfirmed");
    let document = home.import(&["cursor", "--yes"], 0);
    let found = states(&document);
    for (name, state) in
        [("My Notes", "imported"), ("off", "disabled"), ("gone", "skipped"), ("asks", "skipped"), ("pegboard", "pegboard")]
    {
        assert!(found.contains(&(name.to_owned(), state.to_owned())), "{name} is not {state}: {document}");
    }
    let tokens = &document["tokens"];
    assert!(
        tokens["before"].as_u64().unwrap() > 0 && tokens["after_all"].is_u64() && tokens["after_search"].is_u64(),
        "{tokens}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), servers.to_string(), "only --apply writes");
    assert_eq!(fs::read_to_string(home.config("secrets/my-notes/NOTES_TOKEN")).unwrap(), "abc-abc-abc");
    assert!(!document.to_string().contains("abc-abc-abc"));
    assert_eq!(home.run(&["list", "--json"]).ends(0).json()["plugins"][0]["name"], "my-notes");
    // Once more: it is there. With another key it is another account.
    assert!(states(&home.import(&["cursor", "--yes"], 0)).contains(&("My Notes".to_owned(), "known".to_owned())));
    home.client(".cursor/mcp.json", &servers.to_string().replace("abc-abc-abc", "def-def-def"));
    let other = home.import(&["cursor", "--yes"], 0);
    assert_eq!(other["servers"][0]["plugin"], "my-notes-2", "{other}");
    assert_eq!(fs::read_to_string(home.config("secrets/my-notes-2/NOTES_TOKEN")).unwrap(), "def-def-def");
    assert_eq!(fs::read_to_string(home.config("secrets/my-notes/NOTES_TOKEN")).unwrap(), "abc-abc-abc");
}

#[test]
fn apply_replaces_and_undo_restores_every_byte() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let text = format!(
        "{{\n  // how I like it\n  \"theme\": \"dark\", \"n\": 1.50,\n  \"mcpServers\": {{\n    \"notes\": {}, // mine\n    \"broken\": {{\"command\": \"/nowhere\"}},\n  }},\n}}\n",
        entry(&folder)
    );
    let file = home.client(".cursor/mcp.json", &text);
    let document = home.import(&["cursor", "--apply", "--yes"], 0);
    let backup = PathBuf::from(document["applied"][0]["backup"].as_str().unwrap());
    assert_eq!((mode(&file), mode(&backup)), (0o600, 0o600));
    assert_eq!(fs::read_to_string(&backup).unwrap(), text);
    let applied = fs::read_to_string(&file).unwrap();
    assert!(applied.starts_with("{\n  // how I like it\n  \"theme\": \"dark\", \"n\": 1.50,"), "{applied}");
    let servers =
        applied.split("\"mcpServers\": ").nth(1).unwrap().trim_end().trim_end_matches('}').trim_end().trim_end_matches(',');
    let servers: Value = serde_json::from_str(servers).unwrap();
    assert_eq!(servers["pegboard"]["command"], BINARY, "{servers}");
    assert!(servers["broken"].is_object() && servers.get("notes").is_none(), "what could not be started stays: {servers}");
    home.import(&["cursor", "--undo"], 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(!backup.exists());
    assert_eq!(home.import(&["cursor", "--undo"], 5)["error"]["code"], "import.nothing_to_undo");
}

#[test]
fn apply_replaces_in_every_file_or_in_none() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let good = home.client(".cursor/mcp.json", &json!({"mcpServers": {"notes": entry(&folder)}}).to_string());
    let inline = format!(
        "mcp_servers.other = {{command = \"{}\", args = ['{}', '{}', 'x']}}\n",
        python(),
        folder.join("upstream.py").display(),
        folder.join("offered.json").display()
    );
    let bad = home.client(".codex/config.toml", &inline);
    let before = fs::read_to_string(&good).unwrap();
    assert_eq!(home.import(&["--apply", "--yes"], 2)["error"]["code"], "import.form");
    assert_eq!((fs::read_to_string(&good).unwrap(), fs::read_to_string(&bad).unwrap()), (before, inline));
    assert_eq!(fs::read_dir(good.parent().unwrap()).unwrap().count(), 1, "a backup of a file that was not changed");
    assert_eq!(home.import(&["--undo"], 5)["error"]["code"], "import.nothing_to_undo");
    // Without the file that is refused, the other is replaced.
    home.import(&["cursor", "--apply", "--yes"], 0);
    assert!(fs::read_to_string(&good).unwrap().contains(BINARY));
}

#[test]
fn the_tokens_of_both_views_are_counted_with_the_new_plugins() {
    let home = Home::new();
    let many: Vec<Value> = (0..60)
        .map(|number| {
            json!({"name": format!("tool_{number}"), "description": "Does one of sixty things",
        "inputSchema": {"type": "object", "properties": {"path": {"type": "string", "description": "Where to do it"}}}})
        })
        .collect();
    let folder = home.server("many", &json!({"name": "many", "tools": many}));
    home.client(".cursor/mcp.json", &json!({"mcpServers": {"many": entry(&folder)}}).to_string());
    let tokens = home.import(&["cursor", "--yes"], 0)["tokens"].clone();
    let count = |key: &str| tokens[key].as_u64().unwrap();
    assert!(count("after_all") >= count("before") && count("before") > 60 * 20, "{tokens}");
    assert!(count("after_search") > 200 && count("after_search") < count("before"), "{tokens}");
}

#[test]
fn undo_keeps_what_the_client_wrote_since() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let file = home.client(".claude.json", &json!({"startups": 1, "mcpServers": {"notes": entry(&folder)}}).to_string());
    home.import(&["claude-code", "--apply", "--yes"], 0);
    let mut now: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(now["mcpServers"].get("notes").is_none());
    now["startups"] = json!(2);
    now["mcpServers"]["later"] = json!({"command": "x"});
    fs::write(&file, now.to_string()).unwrap();
    home.import(&["--undo"], 0);
    let undone: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(undone["startups"], 2);
    assert_eq!(undone["mcpServers"], json!({"later": {"command": "x"}, "notes": entry(&folder)}));
}

#[test]
fn toml_is_replaced_by_whole_tables() {
    let home = Home::new();
    let folder = home.server("notes", &benign());
    let text = format!(
        "model = \"x\" # mine\n\n[mcp_servers.notes]\ncommand = \"{}\"\nargs = ['{}', '{}']\n[mcp_servers.notes.env]\nLEVEL = \"info\"\n\n[mcp_servers.off]\ncommand = \"x\"\nenabled = false\n",
        python(),
        folder.join("upstream.py").display(),
        folder.join("offered.json").display()
    );
    let file = home.client(".codex/config.toml", &text);
    home.import(&["codex", "--apply", "--yes"], 0);
    let applied = fs::read_to_string(&file).unwrap();
    let table: toml::Table = applied.parse().unwrap();
    let names: Vec<&String> = table["mcp_servers"].as_table().unwrap().keys().collect();
    assert_eq!(names, ["off", "pegboard"]);
    assert!(applied.starts_with("model = \"x\" # mine\n"), "{applied}");
    home.import(&["codex", "--undo"], 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // Inline tables are not taken apart: the file stays, and the command says so.
    let inline = format!(
        "mcp_servers.notes = {{command = \"{}\", args = ['{}', '{}']}}\n",
        python(),
        folder.join("upstream.py").display(),
        folder.join("offered.json").display()
    );
    fs::write(&file, &inline).unwrap();
    assert_eq!(home.import(&["codex", "--apply", "--yes"], 2)["error"]["code"], "import.form");
    assert_eq!(fs::read_to_string(&file).unwrap(), inline);
}

#[test]
fn what_is_not_there_or_not_readable_is_said() {
    let home = Home::new();
    assert_eq!(home.import(&[], 5)["error"]["code"], "import.not_found");
    assert_eq!(home.import(&["cursr"], 5)["error"]["hint"], "did you mean `cursor`?");
    let file = home.client(".cursor/mcp.json", "{\"mcpServers\": ");
    assert_eq!(home.import(&["cursor", "--yes", "--apply"], 2)["error"]["code"], "import.invalid");
    assert_eq!(fs::read_to_string(file).unwrap(), "{\"mcpServers\": ");
}
