//! `cargo xtask`: everything about the repository that is not the product. Reads its arguments, prints, exits.
//!
//! What the commands do is in their modules; this file holds only the command line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers: it talks to them")]
#![allow(clippy::disallowed_methods, reason = "runs cargo, python and node, and is no part of the product")]

mod bench;
mod groups;
mod parity;
mod python;
mod retrieval;
mod run;
mod test;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::run::Checkout;

const HELP: &str = "\
usage: cargo xtask COMMAND

  test [--only GROUP]... [--short | --soak] [--list]
           every check of the repository; makes its own set-up under target/xtask
           --only   one group (may be repeated)      --list   the groups
           --short  a soak of 500 crashes (default 1,000)   --soak  of 10,000
           exits 0 when everything ran and passed, 1 on a failure, 3 when something could not run on this machine
  tidy     the invariants of ARCHITECTURE.md
  setup    only the set-up of `test`
  eval-parity --scorer FILE DIR...   the metrics of `pegboard eval` beside those of another scorer
           exits 0 when they are the same, 1 when one differs, 3 when it could not compare
  bench [ROW]...   the numbers of benches/README.md, beside the peers', as ratios (release build)
  train --data SETS --model MINILM --wordnet DIR fit|leave-out
                   the default encoder's table, made again; see index/train/README.md
  bench-search --model MINILM SET...
                   search beside FastMCP's, langgraph-bigtool's and reciprocal ranks: quality and time
  wheel [--program FILE]
           the Python package with a release build of the program, or with this one, in target/wheels
  soak [N]         N plugin crashes against a running server (release build; default 10,000)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    let (command, rest) = arguments.split_first().map_or(("help", &[][..]), |(command, rest)| (command.as_str(), rest));
    match command {
        "test" => test::test(&checkout, &test_options(rest)?),
        "tidy" => tidy_alone(&checkout),
        "setup" => test::setup_alone(&checkout),
        "bench" => bench::bench(&checkout, rest),
        "train" => retrieval::train(&checkout, rest),
        "bench-search" => retrieval::bench(&checkout, rest),
        "eval-parity" => parity::parity(&checkout, rest),
        "wheel" => wheel(&checkout, rest),
        "soak" => bench::soak(&checkout, rest.first().map(String::as_str).unwrap_or("10000")),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command `{other}`\n{HELP}"),
    }
}

fn test_options(arguments: &[String]) -> Result<groups::Options> {
    let mut options = groups::Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--only" => options.only.push(rest.next().context("`--only` needs a group; see `cargo xtask test --list`")?.clone()),
            "--short" => options.crashes = 500,
            "--soak" => options.crashes = 10_000,
            "--list" => options.list = true,
            other => bail!("`test` has no option `{other}`\n{HELP}"),
        }
    }
    Ok(options)
}

fn wheel(checkout: &Checkout, arguments: &[String]) -> Result<ExitCode> {
    let program = match arguments {
        [] => None,
        [flag, program] if flag == "--program" => Some(std::path::absolute(program)?),
        other => bail!("`wheel` has no option `{}`\n{HELP}", other.join(" ")),
    };
    println!("{}", python::release_wheel(checkout, program.as_deref())?.display());
    Ok(ExitCode::SUCCESS)
}

fn tidy_alone(checkout: &Checkout) -> Result<ExitCode> {
    let mut broken = 0;
    for (rule, findings) in tidy::run(&checkout.root)? {
        println!("{} {rule}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in &findings {
            println!("       {finding}");
        }
        broken += findings.len();
    }
    println!("{broken} findings");
    Ok(ExitCode::from(u8::from(broken > 0)))
}
