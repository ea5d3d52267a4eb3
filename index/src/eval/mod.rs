//! How well does an index find? Tools, requests with their right answers, a ranking for each, and the metrics over them.
//!
//! Files in, numbers out: nothing here searches, prints, or knows how a ranking was made. The formats are those of
//! `docs/reference/eval.md`, and so are the definitions of the metrics.

mod dataset;
mod folds;
mod metrics;
mod percentiles;
mod ranking;

pub use dataset::{Dataset, EvalError, Judged, Matching};
pub use folds::{fold, half_is_odd};
pub use metrics::{KEYS, Metrics, mean, score};
pub use percentiles::{Percentiles, percentiles};
pub use ranking::Rankings;
