//! Builds the worker module into OUT_DIR and lists the runtime's Python files, so that the program carries both.
//!
//! The module is its own workspace: it is compiled for the plugin's interpreter (abi3), not for the host, and `cargo install` would
//! not build a cdylib member.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script reads cargo's variables, runs cargo and talks to it"
)]

use std::{env, error::Error, fs, path::Path, path::PathBuf, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for watched in
        ["worker/src", "worker/Cargo.toml", "worker/Cargo.lock", "runtime/pegboard_runtime", "../../sandbox/src/bpf.rs"]
    {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    build_worker(&root.join("worker"), &out)?;
    list_runtime(&root.join("runtime/pegboard_runtime"), &out)
}

fn build_worker(worker: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET")?;
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(worker)
        .args(["build", "--release", "--locked", "--target", &target, "--target-dir"])
        .arg(out.join("worker"))
        // No Python is needed to build an abi3 module, and none is linked.
        .env("PYO3_NO_PYTHON", "1")
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        // Flags and wrappers of the outer build (clippy-driver among them) are not for the inner one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR");
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("the worker module does not build:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    fs::copy(out.join("worker").join(&target).join("release/libpegboard_worker.so"), out.join("pegboard_worker.so"))?;
    Ok(())
}

fn list_runtime(folder: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
    files.sort();
    let mut table = String::from("pub(crate) const RUNTIME_FILES: &[(&str, &[u8])] = &[\n");
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a runtime file without a name")?;
        table.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string()));
    }
    table.push_str("];\n");
    fs::write(out.join("runtime_files.rs"), table)?;
    Ok(())
}
