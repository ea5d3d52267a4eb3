//! The Python executor in real sandboxes: contracts, life of a process, and attacks, each denial beside its positive control.
//!
//! No harness: this program is also the launcher of its own sandboxes. Every test runs for the user it is started as; started as root,
//! `ordinary_user` runs all of them once more without root.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and run programs"
)]

mod attacks;
mod imports;
mod life;
mod ordinary_user;
mod world;

use std::future::Future;

use libtest_mimic::{Arguments, Failed, Trial};
use policy::Level;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("__sandbox") {
        sandbox::launcher_main();
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for level in [Level::L2, Level::L1] {
        trials.extend(attacks::trials(level));
        trials.extend(life::trials(level));
        trials.extend(imports::trials(level));
    }
    trials.extend(ordinary_user::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test with a runtime of its own.
pub(crate) fn trial<F: Future<Output = ()>>(level: Level, name: &str, test: impl Fn(Level) -> F + Send + 'static) -> Trial {
    Trial::test(format!("{name}_at_{level}"), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failed::from)?;
        runtime.block_on(test(level));
        Ok(())
    })
}
