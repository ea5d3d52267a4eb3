//! Which program a command means, and what of the host it needs to read to run: its installation, and nothing around it.
//!
//! What a plugin may touch besides was granted, and is mounted in `jail`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use executor_api::{FailureKind, ToolFailure};
use policy::{Allowed, Plugin};
use sandbox::Mount;

/// Folders of an installation that its programs need; what else lies beside them may be a person's.
const PARTS: [&str; 5] = ["bin", "lib", "lib64", "libexec", "pyvenv.cfg"];
/// Prefixes that are the host's; their libraries are mounted for everybody.
const SHARED: [&str; 3] = ["/", "/usr", "/usr/local"];
/// How many of the host's Python interpreters a launcher sees.
const MAX_PYTHONS: usize = 4;
/// How many interpreters may stand behind one another.
const MAX_SHEBANGS: usize = 3;

/// A program that was found, ready for a jail.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) mounts: Vec<Mount>,
    /// Package launchers download and run what they are told to: they need a folder to keep it in.
    pub(crate) is_launcher: bool,
}

/// Finds a program. Named without a folder it is looked for on the search path; a path must be one that the plugin may use anyway, or be a
/// program: else a manifest could have any file of the host mounted as one.
///
/// # Errors
/// It is not there, or not the plugin's to use.
pub(crate) fn find(name: &str, plugin: &Plugin, allowed: &Allowed, search_path: &[PathBuf]) -> Result<Program, ToolFailure> {
    let path = if name.contains('/') { named(name, plugin, allowed, search_path)? } else { searched(name, search_path)? };
    let mut mounts = Vec::new();
    needs(&path, search_path, &mut mounts, 0);
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_launcher = matches!(file, "npx" | "npm" | "uvx" | "uv" | "pipx" | "pnpm" | "bunx" | "bun" | "deno");
    // Without an interpreter of the host's they would download one; that of a virtual environment does not do.
    if matches!(file, "uvx" | "uv" | "pipx") {
        let found = search_path.iter().map(|folder| folder.join("python3")).filter(|path| path.is_file());
        for python in found.take(MAX_PYTHONS) {
            needs(&python, search_path, &mut mounts, 0);
        }
    }
    Ok(Program { path, mounts, is_launcher })
}

fn searched(name: &str, search_path: &[PathBuf]) -> Result<PathBuf, ToolFailure> {
    search_path.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        ToolFailure::new(FailureKind::LoadFailed, format!("the program `{name}` is not installed on the host"))
            .with_hint("ask the operator to install it, or to look at the PATH that Pegboard was started with")
    })
}

fn named(name: &str, plugin: &Plugin, allowed: &Allowed, search_path: &[PathBuf]) -> Result<PathBuf, ToolFailure> {
    let path = if name.starts_with('/') { PathBuf::from(name) } else { plugin.root.join(name) };
    let plain = !path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    let granted = allowed.powers.values().flat_map(|scope| &scope.folders);
    let inside = path.starts_with(&plugin.root) || search_path.iter().chain(granted).any(|folder| path.starts_with(folder));
    if !plain || !(inside || is_program(&path)) {
        let refused = format!(
            "`{name}` does not exist or is no program, and lies neither in the plugin's folder, nor on the host's search path, nor in a granted folder"
        );
        return Err(ToolFailure::new(FailureKind::LoadFailed, refused)
            .with_hint("the manifest can declare `file_system_read` for its folder, and the operator can grant it"));
    }
    if !path.is_file() {
        return Err(ToolFailure::new(FailureKind::LoadFailed, format!("the program `{name}` does not exist")));
    }
    Ok(path)
}

/// Whether a file is meant to be run: executable, and a binary or a script that names its interpreter.
fn is_program(path: &Path) -> bool {
    let executable = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
    let mut start = [0; 4];
    let read = executable.then(|| fs::File::open(path).and_then(|mut file| file.read(&mut start)).ok()).flatten();
    read.is_some_and(|length| start.starts_with(b"\x7fELF") || (length > 2 && start.starts_with(b"#!")))
}

/// What must be readable for a program to run: itself, its installation where it has one of its own, and its interpreter's.
fn needs(path: &Path, search_path: &[PathBuf], mounts: &mut Vec<Mount>, depth: usize) {
    mounts.push(Mount::system(path));
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real != path {
        mounts.push(Mount::system(&real));
    }
    // A virtual environment's program is a link into another installation: both count.
    installation(path, mounts);
    installation(&real, mounts);
    if depth < MAX_SHEBANGS
        && let Some(interpreter) = shebang(&real, search_path, mounts)
    {
        needs(&interpreter, search_path, mounts, depth + 1);
    }
}

fn installation(path: &Path, mounts: &mut Vec<Mount>) {
    if let Some(modules) = path.ancestors().filter(|above| above.ends_with("node_modules")).last() {
        mounts.push(Mount::system(modules));
        return;
    }
    let Some(folder) = path.parent().filter(|folder| folder.ends_with("bin")) else { return };
    let Some(prefix) = folder.parent() else { return };
    if SHARED.iter().any(|shared| prefix == Path::new(shared)) {
        mounts.extend(["/usr/share/nodejs", "/usr/share/node_modules"].map(Mount::system_if_present));
        return;
    }
    // A virtual environment's interpreter reads where its base is, and its library there.
    if let Ok(config) = fs::read_to_string(prefix.join("pyvenv.cfg")) {
        let home = config.lines().find_map(|line| line.strip_prefix("home")?.trim_start().strip_prefix('=')).map(str::trim);
        if let Some(base) = home.map(Path::new).filter(|home| home.is_absolute() && home.ends_with("bin")) {
            installation(&base.join("python"), mounts);
        }
    }
    mounts.extend(PARTS.iter().map(|part| Mount::system_if_present(prefix.join(part))));
}

/// The interpreter that a script names in its first line.
fn shebang(path: &Path, search_path: &[PathBuf], mounts: &mut Vec<Mount>) -> Option<PathBuf> {
    let mut line = Vec::new();
    let mut file = BufReader::new(fs::File::open(path).ok()?).take(256);
    file.read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    let mut words = line.strip_prefix("#!")?.split_whitespace();
    let first = PathBuf::from(words.next()?);
    if !first.is_absolute() {
        return None;
    }
    if first.file_name()? != "env" {
        return Some(first);
    }
    mounts.push(Mount::system_if_present(&first));
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    search_path.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mounted(mounts: &[Mount], path: &Path) -> bool {
        mounts.iter().any(|mount| path.starts_with(&mount.path))
    }

    #[test]
    fn an_installation_is_read_and_its_neighbours_are_not() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        for folder in ["home/bin", "home/lib/node_modules/npm/bin", "home/.ssh"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("home/bin/node"), "\x7fELF").unwrap();
        fs::write(root.join("home/lib/node_modules/npm/bin/npx-cli.js"), "#!/usr/bin/env node\n").unwrap();
        symlink("../lib/node_modules/npm/bin/npx-cli.js", root.join("home/bin/npx")).unwrap();
        let search = [root.join("home/bin")];
        let mut mounts = Vec::new();
        needs(&searched("npx", &search).unwrap(), &search, &mut mounts, 0);
        assert!(mounted(&mounts, &root.join("home/bin/node")));
        assert!(mounted(&mounts, &root.join("home/lib/node_modules/npm/package.json")));
        assert!(mounted(&mounts, Path::new("/usr/bin/env")));
        assert!(!mounted(&mounts, &root.join("home/.ssh/id")));
    }

    #[test]
    fn a_file_is_a_program_by_its_mode_and_its_first_bytes() {
        let root = tempfile::tempdir().unwrap();
        for (name, text, mode, expected) in [
            ("binary", "\x7fELF\u{2}", 0o755, true),
            ("script", "#!/bin/sh\n", 0o755, true),
            ("kept", "#!/bin/sh\n", 0o600, false),
            ("key", "-----BEGIN", 0o755, false),
            ("empty", "", 0o755, false),
        ] {
            let path = root.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_program(&path), expected, "{name}");
        }
        assert!(!is_program(root.path()));
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = searched("no-such-program", &[PathBuf::from("/usr/bin")]).unwrap_err();
        assert!(failure.message.contains("`no-such-program` is not installed"), "{failure}");
    }
}
