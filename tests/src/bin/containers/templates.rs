//! The templates that `pegboard init` writes for containers: their own tests, and a call of what they build. Python's is everywhere else here.
//!
//! Compilers are this machine's, for want of images that have them; each checks that the template's Dockerfile says what was done here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use pegboard_tests::server::Home;

use crate::{
    deployed::{add_libraries, docker, said},
    document, pegboard,
};

/// A home with one plugin, as `pegboard init` writes it.
fn begin(name: &str, how: &[&str]) -> Result<(Home, PathBuf)> {
    let home = Home::with(&[])?;
    let folder = home.plugins().join(name);
    let into = folder.display().to_string();
    let arguments = [&["init", name], how, &["--into", &into]].concat();
    let begun = pegboard(&home, &arguments)?;
    ensure!(begun.status.success(), "init: {}", said(&begun));
    Ok((home, folder))
}

/// The plugin is built and answers; nothing of it stays on the engine.
fn counts(home: &Home) -> Result<()> {
    let called = document(&pegboard(home, &["call", "count_words", "--arg", "text=one two three", "--json"])?)?;
    ensure!(called.to_string().contains("\"words\":3"), "{called}");
    fs::remove_dir_all(home.plugins())?;
    fs::create_dir(home.plugins())?;
    pegboard(home, &["container", "prune"])?;
    Ok(())
}

/// The template in Rust, built here and run in an image that holds nothing else.
pub(crate) fn a_static_binary_in_an_empty_image() -> Result<()> {
    let (home, folder) = begin("bare", &["--template", "container-rust"])?;
    let target = std::env::temp_dir().join("pegboard-test-template-rust");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--target", &host()?]).current_dir(&folder);
    let built = build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", &target).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::copy(target.join(host()?).join("release/server"), folder.join("server"))?;
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY server /server\nENTRYPOINT [\"/server\"]\n")?;
    counts(&home)
}

/// The template in Go: its own test, then its static binary in an image that holds nothing else.
pub(crate) fn the_template_in_go() -> Result<()> {
    let (home, folder) = begin("gopher", &["--template", "container-go"])?;
    let cache = std::env::temp_dir().join("pegboard-test-template-go");
    let go = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("go");
        command
            .args(arguments)
            .current_dir(&folder)
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", &cache)
            .env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off");
        let output = command.output().context("go can't be started")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "go {arguments:?}: {}", String::from_utf8_lossy(&said));
        Ok(())
    };
    go(&["vet", "./..."])?;
    go(&["test", "./..."])?;
    // As the template's Dockerfile builds it, for want of an image with Go.
    ensure!(
        fs::read_to_string(folder.join("Dockerfile"))?.contains("go build -trimpath -ldflags \"-s -w\" -o /server ."),
        "the Dockerfile's command"
    );
    go(&["build", "-trimpath", "-ldflags", "-s -w", "-o", "server", "."])?;
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY server /server\nENTRYPOINT [\"/server\"]\n")?;
    counts(&home)
}

/// The template in Node: its own tests, then its Dockerfile as it stands on a base that is this machine's node.
pub(crate) fn the_template_in_node() -> Result<()> {
    let base = NodeBase::build()?;
    let (home, folder) = begin("noder", &["--template", "container-node", "--base-image", &base.image])?;
    let tests = Command::new("node").args(["--test", "tool.test.mjs"]).current_dir(&folder).output().context("node")?;
    ensure!(tests.status.success(), "the template's own tests: {}", said(&tests));
    let refused = document(&pegboard(&home, &["call", "count_words", "--arg", "words=one", "--json"])?)?;
    ensure!(!refused.to_string().contains("\"words\":"), "a wrong argument is served: {refused}");
    counts(&home)
}

/// An image with node and the libraries that it needs, and nothing else; it goes when it is dropped.
struct NodeBase {
    folder: tempfile::TempDir,
    image: String,
}

impl NodeBase {
    fn build() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let found = Command::new("node").args(["-p", "process.execPath"]).output().context("node can't be started")?;
        let node = String::from_utf8(found.stdout)?.trim().to_owned();
        fs::copy(&node, folder.path().join("node")).with_context(|| node.clone())?;
        fs::create_dir(folder.path().join("lib"))?;
        add_libraries(Path::new(&node), &folder.path().join("lib"))?;
        // The loader has a place of its own, which the program names.
        let dockerfile = "FROM scratch\nCOPY lib/ /lib/x86_64-linux-gnu/\nCOPY lib/ld-linux-x86-64.so.2 /lib64/\nCOPY node /usr/bin/node\n\
                          ENV PATH=/usr/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu\n";
        fs::write(folder.path().join("Dockerfile"), dockerfile)?;
        let image = format!("localhost/pegboard-test/node:{}", std::process::id());
        let built = docker(folder.path(), &["build", "-q", "-t", &image, "."])?;
        ensure!(built.status.success(), "{}", said(&built));
        Ok(Self { folder, image })
    }
}

impl Drop for NodeBase {
    fn drop(&mut self) {
        drop(docker(self.folder.path(), &["rmi", "--force", &self.image]));
    }
}

fn host() -> Result<String> {
    let said = String::from_utf8(Command::new("rustc").arg("-vV").output()?.stdout)?;
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not say its host")
}
