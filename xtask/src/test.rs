//! `cargo xtask test`: sets up, runs the groups in order, and says how each ended.
//!
//! Never stops at the first failure: one run tells everything. A group that could not run is neither passed nor failed.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::groups::{GROUPS, Group, Options};
use crate::run::{Checkout, Outcome};
use crate::toolchain::{self, Part};

/// Runs the groups. Exit code 0: all ran and passed; 1: something failed; 3: nothing failed but something could not run.
pub(crate) fn test(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    if options.list {
        for group in GROUPS {
            println!("{:<12} {}", group.name, group.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &options.only {
        if !GROUPS.iter().any(|group| group.name == name) {
            bail!("there is no group `{name}`; see `cargo xtask test --list`");
        }
    }
    let chosen: Vec<&Group> =
        GROUPS.iter().filter(|group| options.only.is_empty() || options.only.iter().any(|name| name == group.name)).collect();
    let began = Instant::now();
    let missing = match set_up(checkout, &chosen) {
        Ok(missing) => missing,
        Err(why) => {
            eprintln!("could not set up: {why}");
            return Ok(ExitCode::from(3));
        }
    };
    let ended: Vec<Ended> = chosen.iter().map(|group| run_group(checkout, group, options, &missing)).collect();
    Ok(conclude(&ended, began.elapsed()))
}

/// Only the set-up.
pub(crate) fn setup_alone(checkout: &Checkout) -> Result<ExitCode> {
    let groups: Vec<&Group> = GROUPS.iter().collect();
    match set_up(checkout, &groups) {
        Ok(missing) if missing.is_empty() => Ok(ExitCode::SUCCESS),
        Ok(missing) => {
            missing.iter().for_each(|(_, why)| eprintln!("could not set up {why}"));
            Ok(ExitCode::from(3))
        }
        Err(why) => {
            eprintln!("could not set up: {why}");
            Ok(ExitCode::from(3))
        }
    }
}

/// Makes what the groups need. A part that can't be made is named and its groups can't run; without Python's venv nothing can.
fn set_up(checkout: &Checkout, groups: &[&Group]) -> Result<Vec<(Part, String)>, String> {
    let parts: BTreeSet<Part> = groups.iter().flat_map(|group| group.needs.iter().copied()).collect();
    let mut missing = Vec::new();
    for part in parts {
        match toolchain::make(checkout, part) {
            Ok(()) => {}
            Err(problem) if problem.fatal => return Err(problem.why),
            Err(problem) => missing.push((part, problem.why)),
        }
    }
    Ok(missing)
}

struct Ended {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

fn run_group(checkout: &Checkout, group: &Group, options: &Options, missing: &[(Part, String)]) -> Ended {
    println!("  {:<12} {}", group.name, group.what);
    let began = Instant::now();
    let absent: Vec<String> = missing.iter().filter(|(part, _)| group.needs.contains(part)).map(|(_, why)| why.clone()).collect();
    let outcome = if absent.is_empty() {
        (group.run)(checkout, options).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    } else {
        Outcome::CouldNotRun(absent)
    };
    let took = began.elapsed();
    match &outcome {
        Outcome::Passed(counts) => println!("  {:<12} passed in {:.1} s  {counts}", "", took.as_secs_f64()),
        Outcome::Failed(why) => println!("  {:<12} FAILED after {:.1} s: {why}", "", took.as_secs_f64()),
        Outcome::CouldNotRun(why) => println!("  {:<12} could not run: {}", "", why.join("; ")),
    }
    Ended { name: group.name, outcome, took }
}

fn conclude(ended: &[Ended], took: Duration) -> ExitCode {
    println!("\n{:<12} {:<14} {:>8}", "group", "status", "seconds");
    let (mut passed, mut failed, mut absent) = (0, 0, Vec::new());
    for Ended { name, outcome, took } in ended {
        let status = match outcome {
            Outcome::Passed(_) => {
                passed += 1;
                "passed"
            }
            Outcome::Failed(_) => {
                failed += 1;
                "FAILED"
            }
            Outcome::CouldNotRun(why) => {
                absent.extend(why.iter().map(|why| format!("could-not-run: {name}: {why}")));
                "could not run"
            }
        };
        println!("{name:<12} {status:<14} {:>8.1}", took.as_secs_f64());
    }
    println!("{:<12} {:<14} {:>8.1}\n", "all", "", took.as_secs_f64());
    absent.iter().for_each(|line| println!("{line}"));
    let skipped = ended.len() - passed - failed;
    let tail = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    println!("groups: {passed} passed, {failed} failed{tail}");
    ExitCode::from(if failed > 0 { 1 } else { 3 * u8::from(skipped > 0) })
}
