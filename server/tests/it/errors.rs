//! The page of errors is what the table says.

use std::path::PathBuf;

use crate::support::read;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md")
}

#[test]
fn the_page_is_fresh() {
    let hint = "docs/errors.md is old: cargo test -p pegboard-server -- --ignored write_the_page_of_errors";
    assert!(read(&page()) == crate::server::errors_page(), "{hint}");
}

#[test]
#[ignore = "writes docs/errors.md"]
fn write_the_page_of_errors() {
    std::fs::write(page(), crate::server::errors_page()).unwrap();
}
