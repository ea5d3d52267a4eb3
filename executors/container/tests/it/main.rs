//! The container executor on real engines: the whole life of a plugin, every wall attacked beside its positive control, and what breaks.
//!
//! No harness: the trials run once for each engine of `PEGBOARD_TEST_ENGINES` (`podman=unix:///…` and so on, and `registry=http://…`, separated by
//! spaces), which `cargo xtask test --only containers` sets; that group says so when there is none, and without it there is nothing to run.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and read where the engines are"
)]

mod broken;
mod builds;
mod life;
mod registry;
mod walls;
mod world;

use std::future::Future;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::world::Site;

fn main() {
    let arguments = Arguments::from_args();
    let named = std::env::var("PEGBOARD_TEST_ENGINES").unwrap_or_default();
    let (registries, engines): (Vec<&str>, Vec<&str>) = named.split_whitespace().partition(|word| word.starts_with("registry="));
    let registry = registries.first().map(|word| word.trim_start_matches("registry=http://").to_owned());
    let sites: Vec<Site> = engines.into_iter().map(|word| Site::parse(word, registry.clone())).collect();
    let mut trials = Vec::new();
    for site in &sites {
        trials.extend(life::trials(site));
        trials.extend(walls::trials(site));
        trials.extend(builds::trials(site));
        trials.extend(registry::trials(site));
        trials.extend(broken::trials(site));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test on one engine, with a runtime of its own.
pub(crate) fn trial<F: Future<Output = ()>>(site: &Site, name: &str, test: impl Fn(Site) -> F + Send + 'static) -> Trial {
    let site = site.clone();
    Trial::test(format!("{}_{name}", site.name), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failed::from)?;
        runtime.block_on(test(site));
        Ok(())
    })
}
