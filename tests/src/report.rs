//! Checks that are counted instead of ending a run at the first failure: for programs that drive others and must tell everything.

/// Counts what passed, failed, and could not run.
#[derive(Debug, Default)]
pub struct Checks {
    passed: u32,
    failures: Vec<String>,
    absent: Vec<String>,
}

impl Checks {
    /// Records one check.
    pub fn check(&mut self, name: impl Into<String>, verdict: Result<(), String>) {
        match verdict {
            Ok(()) => self.passed += 1,
            Err(why) => self.failures.push(format!("{}: {why}", name.into())),
        }
    }

    /// Records something that this machine can't run. It is neither passed nor failed.
    pub fn could_not_run(&mut self, name: &str, why: &str) {
        self.absent.push(format!("{name}: {why}"));
    }

    /// Prints the result; the exit code of the program: 0, 1, or 3 when nothing failed but something could not run.
    #[must_use]
    #[allow(clippy::print_stdout, reason = "the programs that use it report on stdout")]
    pub fn conclude(&self) -> u8 {
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        for absent in &self.absent {
            println!("could-not-run: {absent}");
        }
        println!("checks: {} passed, {} failed", self.passed, self.failures.len());
        if self.failures.is_empty() { 3 * u8::from(!self.absent.is_empty()) } else { 1 }
    }
}

/// Equal, or what differs.
pub fn equal<T: PartialEq + std::fmt::Debug>(got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {got:?}")) }
}

/// True, or why not.
pub fn holds(condition: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}
