//! Percentiles of durations, by nearest rank: a number that was really measured, never one between two.

use std::time::Duration;

/// How long something took, over many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The middle.
    pub p50: Duration,
    /// One in twenty took longer.
    pub p95: Duration,
    /// One in a hundred took longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// `None` of nothing.
pub fn percentiles(mut durations: Vec<Duration>) -> Option<Percentiles> {
    durations.sort_unstable();
    let at = |share: usize| durations.get((durations.len() * share).div_ceil(100).saturating_sub(1)).copied();
    Some(Percentiles { p50: at(50)?, p95: at(95)?, p99: at(99)?, max: at(100)? })
}
