//! An engine that `.ci/engines` started: ended and started again by tests of what happens then.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use pegboard_tests::processes::{Signal, send, wait_until};

use crate::{PATIENCE, repository};

/// An engine of `.ci/engines`, which can be ended and started again.
pub(crate) struct Engine {
    pub(crate) folder: PathBuf,
    pub(crate) kind: String,
}

impl Engine {
    pub(crate) fn of_the_environment() -> Result<Self> {
        let socket = std::env::var("DOCKER_HOST").context("DOCKER_HOST is not set")?;
        let folder = Path::new(socket.trim_start_matches("unix://")).parent().context("no folder")?.to_owned();
        let kind = folder.file_name().context("no name")?.to_string_lossy().into_owned();
        Ok(Self { folder, kind })
    }

    pub(crate) fn end(&self, signal: Signal) -> Result<()> {
        let pid: u32 = fs::read_to_string(self.folder.join("pid")).context("not an engine of .ci/engines")?.trim().parse()?;
        send(pid, signal)?;
        ensure!(
            wait_until(PATIENCE, || !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid)),
            "the engine does not end"
        );
        Ok(())
    }

    pub(crate) fn start(&self) -> Result<()> {
        let started = Command::new(repository().join(".ci/engines")).arg(self.folder.parent().context("no folder")?).output()?;
        let said = String::from_utf8_lossy(&started.stdout).into_owned();
        if !said.contains(&format!("{}=", self.kind)) {
            bail!("the engine did not start again: {}", String::from_utf8_lossy(&started.stderr));
        }
        Ok(())
    }
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
