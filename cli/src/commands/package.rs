//! `pegboard package`: a plugin's folder becomes one file, the same bytes on any machine.

use std::path::{Path, PathBuf};

use clap::Args;
use registry::{Folder, Packed};
use serde_json::json;

use super::{check_folder::Severity, packages, validate, vendor};
use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Tone},
};

/// Make a package of a plugin's folder
///
/// Validates the plugin, then writes its files and an inventory of them (path, size, mode, SHA-256) into one archive. The same files are the
/// same bytes on any machine. What an install would refuse is refused here: links, special files, names that collide or mean something else
/// elsewhere, more than 2,000 files, 16 MiB a file or 64 MiB together. Histories, caches, environments, `.env` and what .pegboardignore names
/// (in the form of .gitignore) stay out.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  pegboard package ./text-analysis -o text-analysis.zip\n  pegboard package . -o ../mine.zip --json"
)]
pub(crate) struct Package {
    /// The plugin's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Put the wheels of its Python dependencies inside, with the lock that names them
    ///
    /// The package then installs where there is no network, on machines with the same platform and Python as this one. `requirements.lock` in
    /// the folder says which releases; without one they are resolved now. Wheels of other platforms are not fetched.
    #[arg(long)]
    vendor: bool,

    /// The package to write
    ///
    /// Default: NAME-VERSION.zip in the current folder. A file of that name is replaced, whole or not at all.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Package {
    pub(crate) fn run(&self, global: &Global, output: &Output) -> Outcome {
        let manifest = self.folder.join(registry::MANIFEST);
        if !self.folder.is_dir() || !manifest.exists() {
            let message = format!("`{}` is no plugin: it holds no plugin.yaml", self.folder.display());
            return Err(Failure::not_found("manifest.not_found", message));
        }
        let report = validate::check(&manifest)?;
        let errors = report.count(Severity::Error);
        if errors > 0 {
            if !output.json {
                output.text(&report.render(output))?;
            }
            let message = format!("{errors} {}: nothing was packaged", if errors == 1 { "error" } else { "errors" });
            return Err(
                Failure::new(Exit::Invalid, "manifest.invalid", message).document(json!({"plugins": [report.document()]}))
            );
        }
        let mut folder = Folder::read(&self.folder).map_err(|error| packages::failure(&error))?;
        // Holds the wheels until they are packed.
        let vendored = if self.vendor { Some(vendor::fetch(&self.folder, &mut folder, global, output)?) } else { None };
        let name = format!("{}-{}.zip", folder.manifest().name, folder.manifest().version);
        let target = self.output.clone().unwrap_or_else(|| PathBuf::from(name));
        outside(&self.folder, &target)?;
        let file = packages::beside(&target)?;
        let handle = file.as_file().try_clone().map_err(|error| Failure::file("write", &target, &error))?;
        let packed = folder.pack(handle).map_err(|error| packages::failure(&error))?;
        packages::persist(file, &target)?;
        let wheels = vendored.map(|vendored| vendored.wheels);
        show(&packed, &target, wheels.as_deref(), output)
    }
}

/// A package inside the folder would be in the next package.
fn outside(folder: &Path, target: &Path) -> Outcome {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = match (folder.canonicalize(), parent.canonicalize()) {
        (Ok(folder), Ok(parent)) => parent.starts_with(folder),
        _ => false,
    };
    if !inside {
        return Ok(());
    }
    let message = format!("`{}` is inside the plugin's folder: the next package would hold this one", target.display());
    Err(Failure::usage("package.inside", message).hint("give another place: -o ../NAME.zip"))
}

fn show(packed: &Packed, target: &Path, wheels: Option<&[String]>, output: &Output) -> Outcome {
    let mut document = packages::document(&packed.bundle);
    if let Some(map) = document.as_object_mut() {
        map.insert("package".to_owned(), json!(target));
        map.insert("package_bytes".to_owned(), json!(packed.bytes));
        map.insert("left_out".to_owned(), json!(packed.left_out));
        if let Some(wheels) = wheels {
            map.insert("wheels".to_owned(), json!(wheels));
        }
    }
    output.show(&document, |output| {
        let left_out = match packed.left_out.len() {
            0 => String::new(),
            _ => output.paint(Tone::Dim, &format!("\nleft out: {}", packed.left_out.join(" "))),
        };
        let head = format!("{} ({} bytes)", target.display(), packed.bytes);
        let inside = match wheels {
            None => String::new(),
            Some([]) => "\nno wheels inside: it needs none".to_owned(),
            Some(wheels) => format!("\nwheels inside: {}", wheels.join(" ")),
        };
        format!("{}\n{}{inside}{left_out}", output.paint(Tone::Strong, &head), packages::line(&packed.bundle))
    })
}
