//! The program `pegboard`: reads flags, environment and `pegboard.toml`, calls the library, prints, exits. Nothing else in the product does.

#![allow(clippy::disallowed_methods, reason = "this program is where the environment is read")]

mod args;
mod bundled;
mod clean;
mod clients;
mod commands;
mod engine;
mod eval;
mod exit;
mod failure;
mod foreign;
mod help;
mod imports;
mod installs;
mod models;
mod operator;
mod output;
mod settings;
mod switchers;
mod typed;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    commands::DefaultLog,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

fn main() -> ExitCode {
    // First of all: the launcher enters namespaces, which a process with threads can't.
    if std::env::args_os().nth(1).is_some_and(|word| word == "__sandbox") {
        sandbox::launcher_main();
    }
    match Cli::try_parse() {
        Ok(cli) => finish(&cli),
        Err(error) => refused(&help::grouped(error)).into(),
    }
}

fn finish(cli: &Cli) -> ExitCode {
    let mut output = Output::new(cli.global.json);
    output.stdout_taken = match &cli.command {
        Command::Serve(_) => true,
        Command::Dev(dev) => dev.takes_stdout(),
        _ => false,
    };
    match run(cli, &output) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => output.failure(&failure).into(),
    }
}

fn run(cli: &Cli, output: &Output) -> Outcome {
    let global = &cli.global;
    // These need no folder of ours, so a broken pegboard.toml does not stop them.
    match &cli.command {
        Command::Validate(command) => return command.run(output),
        Command::Schema(command) => return command.run(output),
        Command::Init(command) => return command.run(output),
        Command::Package(command) => return command.run(global, output),
        Command::Keygen(command) => return command.run(output),
        Command::Sign(command) => return command.run(output),
        Command::Publish(command) => return command.run(output),
        Command::Completions(command) => return command.run(output),
        _ => {}
    }
    let settings = Settings::read(global)?;
    commands::start_log(global, &settings, serves(&cli.command))?;
    match &cli.command {
        Command::Serve(command) => command.run(&settings, global),
        Command::Engine(command) => command.run(&settings, global, output),
        Command::List(command) => command.run(&settings, output),
        Command::Info(command) => command.run(&settings, output),
        Command::Call(command) => command.run(&settings, output),
        Command::Search(command) => command.run(&settings, output),
        Command::Eval(command) => command.run(&settings, output),
        Command::Models(command) => command.run(&settings, output),
        Command::Learn(command) => command.run(&settings, output),
        Command::Add(command) => command.run(&settings, output),
        Command::Approve(command) => command.run(&settings, output),
        Command::Remove(command) => command.run(&settings, output),
        Command::Import(command) => command.run(output),
        Command::ImportConfig(command) => command.run(&settings, global, output),
        Command::Grant(command) => command.run(&settings, output),
        Command::Revoke(command) => command.run(&settings, output),
        Command::Grants(command) => command.run(&settings, output),
        Command::Secret(command) => command.run(&settings, output),
        Command::Config(command) => command.run(&settings, output),
        Command::Token(command) => command.run(&settings, output),
        Command::Container(command) => command.run(&settings, output),
        Command::Dev(command) => command.run(&settings, output),
        Command::Test(command) => command.run(&settings, output),
        Command::Doctor(command) => command.run(&settings, output),
        Command::ClientConfig(command) => command.run(&settings, global, output),
        Command::Verify(command) => command.run(&settings, output),
        Command::Install(command) => command.run(&settings, output),
        Command::Uninstall(command) => command.run(&settings, output),
        Command::Update(command) => command.run(&settings, output),
        Command::Rollback(command) => command.run(&settings, output),
        Command::Pin(command) => command.run(&settings, output),
        Command::Activate(command) => command.run(&settings, output),
        Command::Deactivate(command) => command.run(&settings, output),
        Command::History(command) => command.run(&settings, output),
        Command::Sync(command) => command.run(&settings, output),
        Command::Store(command) => command.run(&settings, output),
        Command::Trust(command) => command.run(&settings, output),
        Command::Validate(_) | Command::Schema(_) | Command::Init(_) | Command::Completions(_) => Ok(()),
        Command::Package(_) | Command::Keygen(_) | Command::Sign(_) | Command::Publish(_) => Ok(()),
    }
}

/// Which log a command has when nobody says.
fn serves(command: &Command) -> DefaultLog {
    match command {
        Command::Serve(_) => DefaultLog::Serving,
        Command::Engine(engine) if engine.serves() => DefaultLog::InBackground,
        _ => DefaultLog::Off,
    }
}

/// A command line that clap refused, or a request for help or the version.
fn refused(error: &clap::Error) -> Exit {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if !error.use_stderr() || !words.iter().any(|word| word == "--json") {
        // A closed pipe is all that can go wrong here, and then nobody reads on.
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
    }
    let mut output = Output::new(true);
    output.stdout_taken = words.iter().any(|word| word == "serve");
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ").to_owned();
    let hint = lines.find(|line| line.starts_with("tip:")).map(|line| line.trim_start_matches("tip: ").to_owned());
    output.failure(&Failure::usage("usage", message).maybe_hint(hint.or_else(|| Some("pegboard --help".to_owned()))))
}
