//! `pegboard grant`: gives a plugin the second key of a power, after showing what that allows and what stays advisory.

use std::path::Path;

use clap::Args;
use manifest_schema::Permission;
use policy::{Declared, Grant as Granted, GrantError, Level, Plugin};
use serde_json::json;

use super::{
    asking::{self, Question},
    powers, shelf, words,
};
use crate::{
    args::Shelf,
    failure::{Failure, Outcome},
    operator,
    output::Output,
    settings::{Places, Settings},
};

/// Allow a plugin something it asks for
///
/// A power needs two keys: the plugin's manifest declares it, and you grant it. Shows what will be allowed, and what the sandbox can't hold
/// (advisory), and asks. The grant is for this plugin from this source with this declaration: other code under the same name, or a version
/// that asks for more, inherits nothing. A running server follows within a second.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard grant weather external_api\n  \
                             pegboard grant tables file_system_read=~/data file_system_read=/srv/reports\n  \
                             pegboard grant weather network_access=api.example.org:443 --yes\n  \
                             pegboard grant charts --level L1      run on a machine without user namespaces")]
pub(crate) struct Grant {
    /// Name of the plugin
    plugin: String,
    /// A power the plugin declares; with =FOLDER or =HOST:PORT for its scope
    ///
    /// file_system_read and file_system_write need a folder. Network powers take a host that the plugin declares; without one, all it declares.
    #[arg(value_name = "POWER[=SCOPE]")]
    powers: Vec<String>,
    /// The least sandbox level the plugin may run at
    ///
    /// L2 (namespaces, Landlock, seccomp) unless you say otherwise. L1 (Landlock, seccomp) is for machines that reach no more.
    #[arg(long, value_parser = words::level)]
    level: Option<Level>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// One power of the command line, with its scope made absolute.
struct Wish {
    power: Permission,
    scope: Option<String>,
}

impl Grant {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let found = shelf::load(settings, &self.shelf)?;
        let plugin = found.plugin(&self.plugin)?;
        let declared = Declared::of(&plugin.manifest);
        if self.powers.is_empty() && self.level.is_none() {
            return Err(nothing_named(plugin, &declared));
        }
        let wishes = self.powers.iter().map(|word| wish(&settings.places, word)).collect::<Outcome<Vec<_>>>()?;
        // Tried on a copy first: what can't be granted is refused before anything is asked.
        let preview = self.apply(&mut operator::grants::read(&settings.places)?, plugin, &wishes)?;
        let reached = found.reached(plugin);
        self.ask(output, plugin, &preview, reached)?;
        let granted = operator::grants::change(&settings.places, |grants| self.apply(grants, plugin, &wishes))?;
        let missing: Vec<&str> =
            declared.powers.iter().filter(|power| !granted.powers.contains_key(power)).map(|power| power.as_str()).collect();
        let said = policy::advisory(&plugin.manifest, granted.powers.keys().copied(), reached);
        let document = json!({
            "plugin": granted.plugin.as_str(),
            "source": granted.source.to_string(),
            "level": granted.least_level().as_str(),
            "reached": reached.as_str(),
            "powers": granted.powers.iter().map(|(power, scope)| json!({
                "power": power.as_str(), "folders": scope.folders, "hosts": scope.hosts, "advisory": powers::advisory(&said, *power),
            })).collect::<Vec<_>>(),
            "still_missing": missing,
        });
        output.show(&document, |_| {
            let mut text = format!("granted to `{}`\n", granted.plugin);
            if !missing.is_empty() {
                text.push_str(&format!("still declared and not granted: {}\n", missing.join(", ")));
            }
            text
        })
    }

    fn apply(&self, grants: &mut policy::Grants, plugin: &Plugin, wishes: &[Wish]) -> Outcome<Granted> {
        for wish in wishes {
            grants.give(plugin, wish.power, wish.scope.as_deref()).map_err(|error| refused(plugin, &error))?;
        }
        if let Some(level) = self.level {
            grants.set_level(plugin, level);
        }
        let fits = grants.of(plugin, &Declared::of(&plugin.manifest)).cloned();
        fits.ok_or_else(|| Failure::from(anyhow::anyhow!("the grant that was just given is not found")))
    }

    /// Shows what the plugin will hold, and asks unless told not to.
    fn ask(&self, output: &Output, plugin: &Plugin, preview: &Granted, reached: Level) -> Outcome {
        const WORDS: Question = Question {
            ask: "Grant?",
            unconfirmed: "grant.unconfirmed",
            declined: "grant.declined",
            nothing: "nothing was granted",
        };
        asking::confirm(output, self.yes, &consequences(plugin, preview, reached), &WORDS)
    }
}

/// What a plugin may do with a grant, for the person who gives it.
pub(crate) fn consequences(plugin: &Plugin, preview: &Granted, reached: Level) -> String {
    let mut text = format!("plugin {} {} ({}) may then:\n", plugin.manifest.name, plugin.manifest.version, plugin.source);
    let said = policy::advisory(&plugin.manifest, preview.powers.keys().copied(), reached);
    for (power, scope) in &preview.powers {
        text.push_str(&format!("  {}: {}\n", powers::with_scope(*power, scope), powers::allows(*power)));
        let declared = plugin.manifest.network.iter().flat_map(|network| &network.hosts).map(String::as_str).collect::<Vec<_>>();
        if power.is_network() && scope.hosts.is_empty() {
            let hosts = if declared.is_empty() { "any host".to_owned() } else { declared.join(", ") };
            text.push_str(&format!("    it says it needs {hosts}\n"));
        }
        for advisory in said.iter().filter(|advisory| advisory.power == Some(*power)) {
            text.push_str(&format!("    not enforced: {advisory}\n"));
        }
    }
    if preview.powers.is_empty() {
        text.push_str("  nothing beyond its own scratch folder\n");
    }
    text.push_str(&format!("  at sandbox level {} or more; this machine reaches {reached}\n", preview.least_level()));
    if reached < preview.least_level() {
        text.push_str(&format!("  so it will not run here; --level {reached} would let it\n"));
    }
    text
}

fn wish(places: &Places, word: &str) -> Outcome<Wish> {
    let (power, scope) = word.split_once('=').map_or((word, None), |(power, scope)| (power, Some(scope)));
    let power = words::power(power)?;
    let scope = match (power, scope) {
        (Permission::FileSystemRead | Permission::FileSystemWrite, Some(folder)) => {
            let real = operator::reserved::grantable(places, Path::new(folder))?;
            let text = real.into_os_string().into_string();
            Some(text.map_err(|path| Failure::usage("grant.folder", format!("the path is not UTF-8: `{}`", path.display())))?)
        }
        (_, scope) => scope.map(str::to_owned),
    };
    Ok(Wish { power, scope })
}

fn refused(plugin: &Plugin, error: &GrantError) -> Failure {
    let declared = Declared::of(&plugin.manifest);
    let failure = Failure::usage("grant.refused", error.to_string());
    match error {
        GrantError::NotDeclared { .. } if declared.powers.is_empty() => {
            failure.hint("it declares nothing and runs without a grant")
        }
        GrantError::NotDeclared { .. } => {
            let words: Vec<&str> = declared.powers.iter().map(|power| power.as_str()).collect();
            failure.hint(format!("it declares {}", words.join(", ")))
        }
        GrantError::HostNotDeclared { .. } => failure.hint(format!("it declares {}", declared.hosts.join(", "))),
        GrantError::NoFolder { power } => {
            failure.hint(format!("pegboard grant {} {power}=/path/to/folder", plugin.manifest.name))
        }
        GrantError::FolderNotDeclared { power, .. } => {
            let folders = if *power == Permission::FileSystemWrite { &declared.write } else { &declared.read };
            failure.hint(format!("it declares {}", folders.join(", ")))
        }
        GrantError::NotAbsolute { .. }
        | GrantError::NotAHost { .. }
        | GrantError::NoScope { .. }
        | GrantError::SecretNotDeclared { .. } => failure,
    }
}

fn nothing_named(plugin: &Plugin, declared: &Declared) -> Failure {
    let name = &plugin.manifest.name;
    if declared.powers.is_empty() {
        return Failure::usage("grant.nothing", format!("plugin `{name}` declares no power and needs no grant"));
    }
    let words: Vec<String> = declared
        .powers
        .iter()
        .map(|power| match power {
            Permission::FileSystemRead | Permission::FileSystemWrite => format!("{power}=FOLDER"),
            power => power.to_string(),
        })
        .collect();
    Failure::usage("grant.nothing", "name the powers to grant").hint(format!("pegboard grant {name} {}", words.join(" ")))
}
