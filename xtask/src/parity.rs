//! `cargo xtask eval-parity`: the metrics of `pegboard eval` beside those of another scorer, over the same rankings.
//!
//! The scorer is a Python program, `SCORER DIR RUN --json OUT`, that writes an object of metrics; neither it nor its sets are part of the
//! repository. The command ends with 0 when every metric is the same, with 1 when one differs, and with 3 when it could not compare.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::run::Checkout;

/// The last digits depend on the order of a sum.
const SAME: f64 = 1e-12;

pub(crate) fn parity(checkout: &Checkout, arguments: &[String]) -> Result<ExitCode> {
    let (scorer, sets) = match arguments {
        [flag, scorer, sets @ ..] if flag == "--scorer" && !sets.is_empty() => (Path::new(scorer), sets),
        _ => bail!("usage: cargo xtask eval-parity --scorer FILE DIR..."),
    };
    let binary = checkout.target.join("debug/pegboard");
    if !binary.is_file() || !scorer.is_file() {
        println!("could-not-run: eval-parity: expected `{}` and `{}`", binary.display(), scorer.display());
        return Ok(ExitCode::from(3));
    }
    let work = checkout.work.join("eval-parity");
    std::fs::create_dir_all(&work)?;
    let mut differs = 0;
    for set in sets {
        let ours = ours(&binary, set, &work)?;
        let theirs = theirs(scorer, set, &work)?;
        let problems = compare(&ours, &theirs);
        println!("{} {set}: {} metrics{}", if problems.is_empty() { "ok  " } else { "FAIL" }, theirs.len(), problems.concat());
        differs += problems.len();
    }
    Ok(ExitCode::from(u8::from(differs > 0)))
}

fn ours(binary: &Path, set: &str, work: &Path) -> Result<Map<String, Value>> {
    let mut command = Command::new(binary);
    command.arg("--home").arg(work.join("home")).args(["eval", set, "--json", "--save-run"]).arg(work.join("run.jsonl"));
    object(&output(&mut command)?)
}

fn theirs(scorer: &Path, set: &str, work: &Path) -> Result<Map<String, Value>> {
    let out = work.join("scores.json");
    output(Command::new("python3").arg(scorer).arg(set).arg(work.join("run.jsonl")).arg("--json").arg(&out))?;
    object(&std::fs::read(&out).with_context(|| format!("reading {}", out.display()))?)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).context("expected an object of metrics")
}

/// One line a difference. A scorer without a metric has compared nothing.
fn compare(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    if theirs.is_empty() {
        return vec!["\n       the scorer gave no metric".to_owned()];
    }
    let same = |key: &str, value: f64| ours.get(key).and_then(Value::as_f64).is_some_and(|ours| (ours - value).abs() <= SAME);
    theirs
        .iter()
        .filter(|(key, value)| !value.as_f64().is_some_and(|value| same(key, value)))
        .map(|(key, value)| format!("\n       {key}: ours {}, theirs {value}", ours.get(key).unwrap_or(&Value::Null)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::compare;

    #[test]
    fn a_difference_and_a_missing_metric_are_told() {
        let of = |value: Value| -> Map<String, Value> { value.as_object().cloned().unwrap_or_default() };
        let ours = of(json!({"R@1": 0.5, "MRR": 0.25, "queries": 3}));
        assert!(compare(&ours, &of(json!({"R@1": 0.5, "MRR": 0.25}))).is_empty());
        assert_eq!(compare(&ours, &of(json!({"R@1": 0.5, "MRR": 0.26}))).len(), 1);
        assert_eq!(compare(&ours, &of(json!({"R@1": 0.5, "H@1": 0.0}))).len(), 1);
        assert_eq!(compare(&ours, &Map::new()).len(), 1);
    }
}
