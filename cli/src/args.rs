//! The command line: global flags and the list of commands. Each command's own flags stand beside its code, in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::styling};

use crate::commands;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "pegboard",
    version,
    about = "A plugin host for LLM agents: every plugin folder becomes sandboxed, searchable tools",
    long_about = "A plugin host for LLM agents. Hang a folder with a plugin.yaml on it and every tool in it is there for any MCP client: found \
                  by meaning, checked against its schema, run in a fresh sandbox.\n\n\
                  First steps:\n  \
                  pegboard list                          what is there, and what is missing\n  \
                  pegboard call text_statistics --arg text='two words'\n  \
                  pegboard client-config claude-code     the block to paste into a client\n  \
                  pegboard serve --plugins ./my-plugins  what the client starts",
    after_long_help = "Exit codes:\n  0 done · 1 the tool failed · 2 usage or configuration · 3 invalid manifest or package · 4 denied · 5 not found\n  \
                       6 sandbox level or engine not available · 7 unsigned · 8 unknown key · 9 tampered · 10 expired · 11 internal\n\n\
                       Files:\n  \
                       $XDG_CONFIG_HOME/pegboard  pegboard.toml, grants.yaml, tokens.yaml, trust.yaml, secrets/, config/\n  \
                       $XDG_DATA_HOME/pegboard    installed plugins, models\n  \
                       $XDG_CACHE_HOME/pegboard   virtual environments, indexes; may be deleted\n\n\
                       A flag wins over its environment variable, which wins over pegboard.toml.",
    styles = styling::Styles::styled().header(styling::AnsiColor::Green.on_default().bold()).literal(styling::AnsiColor::Cyan.on_default()),
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Keep everything under this folder
    ///
    /// Configuration, data and cache go to DIR/config, DIR/data and DIR/cache instead of the XDG folders.
    #[arg(long, global = true, env = "PEGBOARD_HOME", value_name = "DIR", hide_env_values = true, help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,

    /// Print one JSON document
    ///
    /// The result as one JSON document on standard output. A failure is {"error": {"code", "message", "hint"}}; the exit code is the same.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,

    /// Which log lines to show, on stderr
    ///
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,pegboard_server=debug`.
    /// Default: `info` for serve; none for everything else, which says itself what went wrong.
    #[arg(long, global = true, env = "PEGBOARD_LOG", value_name = "FILTER", hide_env_values = true, help_heading = "Everywhere")]
    pub(crate) log: Option<String>,

    /// Write log lines as JSON
    #[arg(long, global = true, env = "PEGBOARD_LOG_JSON", hide_env_values = true, help_heading = "Everywhere")]
    pub(crate) log_json: bool,
}

/// Which plugins a command sees. The same for all of them, so that `list` shows what `serve` serves.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shelf {
    /// A plugin's folder, or a folder of plugins; repeatable
    ///
    /// Served beside the installed and the bundled plugins. When a name occurs twice, --plugins wins over installed, installed over bundled.
    /// Without this flag PEGBOARD_PLUGINS (paths joined by `:`) holds, then `plugins` in pegboard.toml.
    #[arg(long, value_name = "DIR", help_heading = "Which plugins")]
    pub(crate) plugins: Vec<PathBuf>,

    /// Leave out the plugins inside the program
    #[arg(long, env = "PEGBOARD_NO_BUNDLED", hide_env_values = true, help_heading = "Which plugins")]
    pub(crate) no_bundled: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(commands::serve::Serve),
    Engine(commands::engine::Engine),
    List(commands::list::List),
    Info(commands::info::Info),
    Call(commands::call::Call),
    Search(commands::search::Search),
    Eval(commands::eval::Eval),
    Learn(commands::learn::Learn),
    Models(commands::models::Models),
    Add(commands::add::Add),
    Approve(commands::approve::Approve),
    Remove(commands::remove::Remove),
    Import(commands::import::Import),
    ImportConfig(commands::import_config::ImportConfig),
    Validate(commands::validate::Validate),
    Package(commands::package::Package),
    Keygen(commands::keygen::Keygen),
    Sign(commands::sign::Sign),
    Verify(commands::verify::Verify),
    Install(commands::install::Install),
    Update(commands::update::Update),
    Rollback(commands::rollback::Rollback),
    Uninstall(commands::uninstall::Uninstall),
    Activate(commands::activate::Activate),
    Deactivate(commands::activate::Deactivate),
    Pin(commands::pin::Pin),
    History(commands::history::History),
    Sync(commands::sync::Sync),
    Store(commands::store::StoreCommand),
    Publish(commands::publish::Publish),
    Trust(commands::trust::Trust),
    Schema(commands::schema::Schema),
    Grant(commands::grant::Grant),
    Revoke(commands::revoke::Revoke),
    Grants(commands::grants::Grants),
    Secret(commands::secret::Secret),
    Config(commands::config::Config),
    Token(commands::token::Token),
    Container(commands::container::Container),
    Init(commands::init::Init),
    Dev(commands::dev::Dev),
    Test(commands::test::Test),
    Doctor(commands::doctor::Doctor),
    ClientConfig(commands::client_config::ClientConfig),
    Completions(commands::completions::Completions),
}
