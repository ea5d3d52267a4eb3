//! Tests of the manifest: what is refused and how it is told, what is accepted, and what hostile text costs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by failing")]

mod bad_manifests;
mod foreign;
mod good_manifests;
mod hostile;
mod rendering;
mod schemas;
