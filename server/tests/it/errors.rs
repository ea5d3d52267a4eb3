//! The page of errors is what the table says.

use crate::support::read;

#[test]
fn the_page_is_fresh() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::env::var_os("PEGBOARD_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, crate::server::errors_page()).unwrap();
    }
    assert!(read(&path) == crate::server::errors_page(), "docs/errors.md is old: run this test with PEGBOARD_WRITE_DOCS=1");
}
