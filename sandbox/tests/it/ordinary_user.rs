//! All tests once more without root: a server under an ordinary user has other means (user namespaces, no own uids).

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{is_root, programs};

#[test]
fn everything_again_as_an_ordinary_user() {
    if !is_root() {
        // Then this is what the other tests are doing.
        return;
    }
    let own = programs().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let output = Command::new(&own)
        .args(["--test-threads", "2"])
        .env("PEGBOARD_TEST_NESTED", "1")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = text.rsplit("test result: ok. ").next().and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|count| count > 20), "{text}");
}
