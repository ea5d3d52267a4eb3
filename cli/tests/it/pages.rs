//! Pages with shell sessions, run as they stand: every command of a page's `console` blocks, in one shell and an empty home, and each shown line
//! held against what came. `…` stands for what varies: within a line for anything in it, alone on a line for any number of lines.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::run::{BINARY, Home, package_variables};

/// One command of a page, and what the page shows of it.
#[derive(Debug)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// The steps of a page. `$ ` begins a command, `> ` goes on with it, everything else is shown of it.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (index, line) in page.lines().enumerate() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { line: index + 1, command: command.to_owned(), shown: Vec::new() }),
                (None, Some(step)) if line.starts_with('>') && step.shown.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(line.strip_prefix("> ").unwrap_or_default());
                }
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("line {}: a page begins with a command", index + 1),
            },
        }
    }
    steps
}

/// All commands in one shell, each between two lines that no program prints.
fn script(steps: &[Step]) -> String {
    let mut script = String::new();
    for step in steps {
        script.push_str("printf '\\036begin\\n'\n");
        script.push_str(&step.command);
        script.push_str("\nprintf '\\036end %s\\n' $?\n");
    }
    script
}

/// What each command printed, with its exit code.
fn ended(output: &str) -> Vec<(String, String)> {
    let parts = output.split("\u{1e}begin\n").skip(1);
    parts
        .map(|part| {
            let (text, code) = part.rsplit_once("\u{1e}end ").unwrap_or((part, "none"));
            (text.to_owned(), code.trim().to_owned())
        })
        .collect()
}

/// Whether a line is the shown one, `…` standing for anything. Runs of blanks are one: a table's columns are as wide as what varies.
fn line_fits(shown: &str, line: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (plain(shown), plain(line));
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn fits(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skip| fits(rest, lines.get(skip..).unwrap_or_default()))
        }
        Some((first, rest)) => lines.split_first().is_some_and(|(line, after)| line_fits(first, line) && fits(rest, after)),
    }
}

/// Runs a page and says how long it took.
fn run(home: &Home, page: &str) -> Duration {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page} shows no session");
    let programs = Path::new(BINARY).parent().unwrap().display().to_string();
    let search = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec 2>&1\n{}", script(&steps))).current_dir(home.path()).env_clear();
    shell.env("PATH", search).env("HOME", home.path()).env("LANG", "C.UTF-8").stdin(Stdio::null());
    shell.envs(package_variables());
    if let Some(npmrc) = std::env::home_dir().map(|home| home.join(".npmrc")).filter(|path| path.is_file()) {
        fs::copy(npmrc, home.path().join(".npmrc")).unwrap();
    }
    let begun = Instant::now();
    let output = shell.output().unwrap();
    let took = begun.elapsed();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let ended = ended(&output);
    assert_eq!(ended.len(), steps.len(), "{page}: {output}");
    for (step, (text, code)) in steps.iter().zip(&ended) {
        // A command that is meant to fail says so in a comment.
        let expected = step.command.rsplit_once("# exit code ").map_or("0", |(_, code)| code.trim());
        let lines: Vec<&str> = text.lines().collect();
        let at = format!("{page}:{}: {}", step.line, step.command);
        assert_eq!(code, expected, "{at}\n{text}");
        assert!(fits(&step.shown, &lines), "{at}\n--- the page shows\n{}\n--- it printed\n{text}", step.shown.join("\n"));
    }
    took
}

#[test]
#[allow(clippy::print_stdout, reason = "the measured time, for whoever asks with --nocapture")]
fn ones_own_tool_is_in_a_real_client_in_under_two_minutes() {
    let home = Home::new();
    let took = run(&home, "guides/first-plugin.md");
    println!("guides/first-plugin.md took {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[test]
fn a_plugin_is_packaged_signed_installed_called_updated_and_rolled_back() {
    run(&Home::new(), "guides/plugin-life.md");
}

#[test]
fn lines_fit_where_only_what_varies_differs() {
    for (shown, line, expected) in [
        ("took … ms", "took 1.5 ms", true),
        ("took … ms", "took 1.5 s", false),
        ("a … b … c", "a 1 b 2 c", true),
        ("…", "", true),
        ("exact", "exactly", false),
        ("a  b", "a      b", true),
        ("… end", "the end", true),
    ] {
        assert_eq!(line_fits(shown, line), expected, "{shown} and {line}");
    }
    let shown: Vec<String> = ["a", "…", "b"].map(str::to_owned).to_vec();
    assert!(fits(&shown, &["a", "x", "y", "b"]) && fits(&shown, &["a", "b"]) && !fits(&shown, &["a", "x"]));
    let steps = steps("text\n```console\n$ one <<'E'\n> two\n> E\nshown\n\n$ three\n```\n$ not inside\n");
    assert_eq!(steps.iter().map(|step| step.command.as_str()).collect::<Vec<_>>(), ["one <<'E'\ntwo\nE", "three"]);
    assert_eq!(steps[0].shown, ["shown", ""]);
}
