//! `pegboard container`: the containers of this installation on the engine, whichever server runs them; images built again, pushed, cleared away.

use std::sync::Arc;

use clap::{Args, Subcommand};
use executor_api::{FailureKind, ToolFailure};
use executor_container::{ContainerExecutor, Found, Pruned};
use serde_json::json;

use super::{host, shelf};
use crate::{
    args::Shelf,
    clean,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Look after the containers of plugins
///
/// Containers are made, ended and replaced by the server that uses them; these commands look at them and clear up. Exit code 6 without a
/// container engine.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard container list\n  \
                             pegboard container logs text_stats --lines 50\n  \
                             pegboard container rebuild text_stats --plugins ./my-plugins\n  \
                             pegboard container prune")]
pub(crate) struct Container {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    shelf: Shelf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the containers
    #[command(after_long_help = "Example:\n  pegboard container list --json")]
    List,
    /// Show what a plugin's containers wrote
    #[command(after_long_help = "Example:\n  pegboard container logs text_stats --lines 20")]
    Logs {
        /// Name of the plugin, or of one container
        name: String,
        /// How many lines of each, at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        lines: u32,
    },
    /// Show what the containers use
    #[command(after_long_help = "Example:\n  pegboard container stats")]
    Stats,
    /// Build a plugin's image again, without the engine's cache
    ///
    /// For a base image that changed: what the plugin's own files change is built by itself. A running server takes the new image for the
    /// containers that it starts from then on; `container stop` makes it start them.
    ///
    /// The steps of a build have no network. A Dockerfile that installs packages is built with `--network`: once, when the plugin is installed.
    #[command(
        after_long_help = "Examples:\n  pegboard container rebuild text_stats\n  pegboard container rebuild text_stats --network"
    )]
    Rebuild {
        /// Name of the plugin
        plugin: String,
        /// Let the steps of this build reach the network, with what the plugin's author wrote running as root in the engine's container
        #[arg(long)]
        network: bool,
    },
    /// Push a plugin's image to the registry that `container.image` names
    #[command(after_long_help = "Example:\n  pegboard container push text_stats")]
    Push {
        /// Name of the plugin
        plugin: String,
        /// Take the name from another image that has it on this engine
        #[arg(long)]
        replace: bool,
    },
    /// End a plugin's containers; a running server starts them again at the next call
    #[command(after_long_help = "Example:\n  pegboard container stop text_stats")]
    Stop {
        /// Name of the plugin
        plugin: String,
    },
    /// Remove what servers that are dead left behind, and images that no plugin is built of any more
    #[command(
        after_long_help = "Examples:\n  pegboard container prune --plugins ./my-plugins\n  pegboard container prune --all-homes"
    )]
    Prune {
        /// Also what servers of other homes left behind, of homes that are gone among them. Not while a Pegboard that runs in a container of
        /// its own uses this engine: its home can't be seen from here
        #[arg(long)]
        all_homes: bool,
    },
}

impl Container {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let sockets = host::engine_sockets().map_err(no_engine)?;
        let executor = ContainerExecutor::new(host::container_settings(settings, sockets));
        let runtime = host::runtime()?;
        let ended = runtime.block_on(async {
            match &self.action {
                Action::List => list(&executor, output).await,
                Action::Logs { name, lines } => logs(&executor, name, *lines, output).await,
                Action::Stats => stats(&executor, output).await,
                Action::Rebuild { plugin, network } => self.rebuild(settings, &executor, plugin, *network, output).await,
                Action::Push { plugin, replace } => self.push(settings, &executor, plugin, *replace, output).await,
                Action::Stop { plugin } => stop(&executor, plugin, output).await,
                Action::Prune { all_homes } => self.prune(settings, &executor, *all_homes, output).await,
            }
        });
        runtime.shutdown_background();
        ended
    }

    async fn rebuild(
        &self,
        settings: &Settings,
        executor: &ContainerExecutor,
        name: &str,
        network: bool,
        output: &Output,
    ) -> Outcome {
        let plugin = self.plugin(settings, name)?;
        let failed = |failure: ToolFailure| match failure.kind {
            FailureKind::LoadFailed if !network => told(failure)
                .hint(format!("where its Dockerfile downloads something: pegboard container rebuild {name} --network")),
            _ => told(failure),
        };
        let image = executor.rebuild(plugin, network, |line| output.note(line)).await.map_err(failed)?;
        output.show(&json!({"plugin": name, "image": image}), |_| format!("built {image}"))
    }

    async fn push(
        &self,
        settings: &Settings,
        executor: &ContainerExecutor,
        name: &str,
        replace: bool,
        output: &Output,
    ) -> Outcome {
        let plugin = self.plugin(settings, name)?;
        let noted = *output;
        let image = executor.push(&plugin, replace, move |line| noted.note(&line)).await.map_err(told)?;
        output.show(&json!({"plugin": name, "image": image}), |_| format!("pushed {image}"))
    }

    async fn prune(&self, settings: &Settings, executor: &ContainerExecutor, all_homes: bool, output: &Output) -> Outcome {
        let catalog = shelf::load(settings, &self.shelf)?.catalog;
        let plugins: Vec<_> = catalog.plugins.iter().map(|entry| Arc::clone(&entry.plugin)).collect();
        let Pruned { containers, volumes, images } = executor.prune(&plugins, all_homes).await.map_err(told)?;
        output.show(&json!({"containers": containers, "volumes": volumes, "images": images}), |_| {
            format!("removed {containers} containers, {volumes} volumes, {images} images")
        })
    }

    fn plugin(&self, settings: &Settings, name: &str) -> Outcome<Arc<policy::Plugin>> {
        let found = shelf::load(settings, &self.shelf)?;
        let plugin = Arc::clone(&found.entry(name)?.plugin);
        if plugin.manifest.container.is_none() {
            return Err(Failure::usage("container.none", format!("plugin `{name}` does not run in a container")));
        }
        Ok(plugin)
    }
}

fn no_engine(problem: String) -> Failure {
    Failure::new(Exit::Unavailable, "container.engine", problem).hint("pegboard doctor says which engine is used")
}

/// What the executor says, as a command says it.
fn told(failure: ToolFailure) -> Failure {
    let detail = failure.detail.map(|detail| format!("\n{detail}")).unwrap_or_default();
    let (exit, code) = match failure.kind {
        FailureKind::Unavailable => (Exit::Unavailable, "container.engine"),
        FailureKind::Internal => (Exit::Internal, "internal"),
        _ => (Exit::ToolFailed, "container.failed"),
    };
    Failure::new(exit, code, format!("{}{detail}", failure.message)).maybe_hint(failure.hint)
}

async fn list(executor: &ContainerExecutor, output: &Output) -> Outcome {
    let found = executor.containers(false).await.map_err(told)?;
    output.show(&json!({ "containers": found }), |output| {
        if found.is_empty() {
            return "no containers; one is started at the first call of a container plugin".to_owned();
        }
        let rows = found.iter().map(|container| {
            let (tone, owner) =
                if container.owned { (Tone::Good, "a server") } else { (Tone::Care, "nobody: pegboard container prune") };
            vec![
                Cell::toned(Tone::Strong, &container.plugin),
                Cell::from(&container.name),
                Cell::toned(tone, &container.state),
                Cell::from(&container.status),
                Cell::from(owner),
                Cell::from(&container.image),
            ]
        });
        output.table(&["plugin", "container", "state", "status", "held by", "image"], rows.collect())
    })
}

async fn stats(executor: &ContainerExecutor, output: &Output) -> Outcome {
    let mut found = executor.containers(true).await.map_err(told)?;
    found.retain(|container| container.usage.is_some());
    output.show(&json!({ "containers": found }), |output| {
        let rows = found.iter().filter_map(|container| {
            let usage = container.usage?;
            let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
            Some(vec![
                Cell::toned(Tone::Strong, &container.plugin),
                Cell::from(&container.name),
                Cell::from(format!("{}.{:02} s", usage.cpu_ns / 1_000_000_000, usage.cpu_ns / 10_000_000 % 100)),
                Cell::from(format!("{} of {}", mib(usage.memory), mib(usage.memory_limit))),
                Cell::from(usage.processes.to_string()),
            ])
        });
        output.table(&["plugin", "container", "cpu", "memory", "processes"], rows.collect())
    })
}

async fn logs(executor: &ContainerExecutor, name: &str, lines: u32, output: &Output) -> Outcome {
    let mut said = Vec::new();
    for container in of(executor, name).await? {
        let mut text = Vec::new();
        executor.logs(&container.id, lines, |line| text.extend_from_slice(line)).await.map_err(told)?;
        said.push((container.name, String::from_utf8_lossy(&text).into_owned()));
    }
    let document = json!({"logs": said.iter().map(|(name, text)| json!({"container": name, "text": text})).collect::<Vec<_>>()});
    output.show(&document, |output| {
        let several = said.len() > 1;
        let each = said.iter().map(|(name, text)| {
            let heading = if several { format!("{}\n", output.paint(Tone::Strong, name)) } else { String::new() };
            format!("{heading}{}", clean::block(text))
        });
        each.collect()
    })
}

async fn stop(executor: &ContainerExecutor, name: &str, output: &Output) -> Outcome {
    let found = of(executor, name).await?;
    for container in &found {
        executor.remove(&container.id).await.map_err(told)?;
    }
    let names: Vec<&str> = found.iter().map(|container| container.name.as_str()).collect();
    output.show(&json!({ "stopped": names }), |_| names.iter().map(|name| format!("stopped {name}\n")).collect())
}

/// The containers of a plugin, or the one of that name.
async fn of(executor: &ContainerExecutor, name: &str) -> Outcome<Vec<Found>> {
    let all = executor.containers(false).await.map_err(told)?;
    let (found, others): (Vec<Found>, Vec<Found>) = all
        .into_iter()
        .partition(|container| container.plugin == name || container.name == name || container.id.starts_with(name));
    if !found.is_empty() && !name.is_empty() {
        return Ok(found);
    }
    let known = others.iter().map(|container| container.plugin.as_str());
    let hint = nearest(name, known).unwrap_or_else(|| "pegboard container list".to_owned());
    Err(Failure::not_found("container.not_found", format!("no container of `{name}` is there")).hint(hint))
}
