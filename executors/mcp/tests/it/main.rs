//! The executor of upstream servers in real sandboxes and over real sockets: tools carried through, pinning, life of a server, and servers
//! that misbehave, each beside a good one; and servers that others wrote, where they are installed.
//!
//! No harness: this program is also the launcher of its own sandboxes, and the servers that are started in them.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    reason = "tests fail by panicking, and a server by command prints, reads its environment and exits"
)]

mod fixture;
mod hostile;
mod life;
mod others;
mod tools;
mod web;
mod world;

use std::{cell::Cell, future::Future};

use libtest_mimic::{Arguments, Failed, Trial};
use policy::Level;

thread_local! {
    /// How strongly the servers of a test are confined; of the test that runs on this thread, or of those that are listed on it.
    static LEVEL: Cell<Level> = const { Cell::new(Level::L2) };
}

/// The level of the test that asks, before it waits for anything.
pub(crate) fn level() -> Level {
    LEVEL.get()
}

fn main() {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some("__sandbox") {
        sandbox::launcher_main();
    }
    if first.as_deref() == Some("__fixture") {
        return fixture::serve(&std::env::args().nth(2).unwrap_or_default());
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for level in [Level::L1, Level::L2] {
        LEVEL.set(level);
        trials.extend(tools::trials());
        trials.extend(life::trials());
        trials.extend(hostile::trials());
    }
    trials.extend(web::trials());
    // Where `cargo xtask test servers` has laid what others wrote; without it there is nothing to run them with.
    if let Some(folder) = std::env::var_os("PEGBOARD_SERVERS") {
        trials.extend(others::trials(std::path::Path::new(&folder)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test with a runtime of its own.
pub(crate) fn trial<F: Future<Output = ()>>(name: &str, test: impl Fn() -> F + Send + 'static) -> Trial {
    let level = level();
    Trial::test(format!("{}_{name}", format!("{level:?}").to_lowercase()), move || {
        LEVEL.set(level);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failed::from)?;
        runtime.block_on(test());
        Ok(())
    })
}
