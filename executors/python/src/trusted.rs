//! Our own programs that run unconfined: interpreters that are asked what they are, uv, pip. Nothing of a plugin runs here.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    sync::Arc,
    time::Duration,
};

use sandbox::{Ceiling, TrustedRun, run_trusted};

use crate::settings::PythonSettings;

/// How much of a failed program's words is kept.
const WORDS: usize = 2000;

/// Runs a program to its end and returns its output, or the end of what it said when it failed.
pub(crate) fn run(
    program: &Path,
    args: &[&OsStr],
    environment: &[(String, String)],
    settings: &PythonSettings,
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<String, String> {
    let run = TrustedRun {
        program: program.to_owned(),
        args: args.iter().map(OsString::from).collect(),
        env: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: None,
        timeout: limit,
        cancel: Some(Arc::clone(&settings.stop)),
        ceiling: Ceiling::default(),
    };
    let output = run_trusted(&run, line).map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = output.stderr.trim();
    let tail: String = said.chars().skip(said.chars().count().saturating_sub(WORDS)).collect();
    Err(format!("`{}` ended with {}: {tail}", program.display(), output.status))
}
