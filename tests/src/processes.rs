//! Processes as `/proc` shows them: descendants, descriptors, memory, CPU time. Looks only; sends signals where told to.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A signal that a test sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Asks to end.
    Term,
    /// Ends.
    Kill,
    /// Ctrl-C.
    Int,
}

/// Sends a signal to one process.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Kill => "KILL",
        Signal::Int => "INT",
    };
    // The shell's own `kill`: the program of that name is not on every machine.
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status()?;
    if !status.success() {
        bail!("kill -{name} {pid} failed");
    }
    Ok(())
}

/// One process: who started it, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// State letter; `Z` is a zombie.
    pub state: char,
    /// User and system time of itself and of children it has waited for, in clock ticks (100 a second).
    pub ticks: u64,
    /// Resident pages of 4 KiB.
    pub pages: u64,
    /// When it started, in ticks since boot: with the id, its identity.
    pub started: u64,
}

/// Every process that this user may see.
#[must_use]
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

/// One process; `None` when it is gone.
#[must_use]
pub fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command stands in parentheses and may hold anything, spaces and parentheses included.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Some(Process {
        pid,
        parent: u32::try_from(number(1)).ok()?,
        state: fields.first()?.chars().next()?,
        ticks: number(11) + number(12) + number(13) + number(14),
        pages: number(21),
        started: number(19),
    })
}

/// The process and everything below it, at this moment.
#[must_use]
pub fn tree(root: u32) -> Vec<Process> {
    let mut below: HashMap<u32, Vec<Process>> = HashMap::new();
    let mut found = Vec::new();
    for process in all() {
        if process.pid == root {
            found.push(process);
        } else {
            below.entry(process.parent).or_default().push(process);
        }
    }
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let children = below.remove(&process.pid).unwrap_or_default();
        found.extend(children);
        next += 1;
    }
    found
}

/// Processes below `root`, without it.
#[must_use]
pub fn descendants(root: u32) -> Vec<Process> {
    tree(root).into_iter().filter(|process| process.pid != root).collect()
}

/// Whether exactly this process (not another with its id) still runs; a zombie does not run.
#[must_use]
pub fn is_alive(process: &Process) -> bool {
    read(process.pid).is_some_and(|now| now.started == process.started && now.state != 'Z')
}

/// Open descriptors of a process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident memory of one process, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    read(pid).map_or(0, |process| process.pages * 4)
}

/// CPU seconds of the tree below and including `root`, children that were waited for included.
#[must_use]
pub fn cpu_seconds(root: u32) -> f64 {
    tree(root).iter().map(|process| process.ticks).sum::<u64>() as f64 / 100.0
}

/// Waits until a condition holds; false when it does not within the limit. Polling is for what sends no event: other processes' ends.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if began.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Those of the processes that still run when the time is over.
#[must_use]
pub fn survivors(processes: &[Process], limit: Duration) -> Vec<Process> {
    let mut left: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
    wait_until(limit, || {
        left = processes.iter().filter(|process| is_alive(process)).map(|process| process.pid).collect();
        left.is_empty()
    });
    processes.iter().filter(|process| left.contains(&process.pid)).cloned().collect()
}
