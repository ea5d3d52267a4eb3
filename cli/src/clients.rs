//! The MCP clients that the program knows: where each keeps its configuration, how a server is written there, and what it can take.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// Claude Code.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Codex CLI and its IDE extension.
    Codex,
    /// Cursor.
    Cursor,
    /// VS Code with Copilot.
    Vscode,
    /// Windsurf.
    Windsurf,
    /// A Python program with langchain-mcp-adapters.
    Langchain,
}

/// How a client reaches the server.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The client starts it.
    Stdio {
        /// Absolute path of the program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Environment that the client must pass on.
        environment: Map<String, Value>,
    },
    /// It runs already.
    Http {
        /// Its address.
        url: String,
        /// Environment variable of the client that holds the bearer token.
        token_variable: Option<String>,
    },
}

/// The block to paste.
#[derive(Debug)]
pub(crate) struct Block {
    /// `json`, `toml` or `python`.
    pub(crate) format: &'static str,
    /// The text.
    pub(crate) text: String,
}

impl Client {
    /// The word of the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Langchain => "langchain",
        }
    }

    /// For people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Codex => "Codex",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Langchain => "LangChain",
        }
    }

    /// Where its configuration is: for this user first, then for the current folder. None for a program one writes oneself.
    pub(crate) fn files(self) -> Vec<PathBuf> {
        let home = std::env::home_dir().unwrap_or_default();
        let config = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| home.join(".config"));
        match self {
            Self::ClaudeCode => vec![home.join(".claude.json"), PathBuf::from(".mcp.json")],
            Self::ClaudeDesktop => vec![config.join("Claude/claude_desktop_config.json")],
            Self::Codex => {
                vec![std::env::var_os("CODEX_HOME").map_or_else(|| home.join(".codex"), PathBuf::from).join("config.toml")]
            }
            Self::Cursor => vec![home.join(".cursor/mcp.json"), PathBuf::from(".cursor/mcp.json")],
            Self::Vscode => vec![config.join("Code/User/mcp.json"), PathBuf::from(".vscode/mcp.json")],
            Self::Windsurf => vec![home.join(".codeium/windsurf/mcp_config.json")],
            Self::Langchain => Vec::new(),
        }
    }

    /// Keeps long tool lists out of the prompt by itself, so that the whole list costs nothing.
    pub(crate) const fn defers_tools(self) -> bool {
        matches!(self, Self::ClaudeCode)
    }

    /// The most tools it offers to a model at once, where it has such a limit.
    pub(crate) const fn most_tools(self) -> Option<usize> {
        match self {
            Self::Vscode => Some(128),
            _ => None,
        }
    }

    /// Whether a server over HTTP can be written into its configuration.
    pub(crate) const fn takes_http(self) -> bool {
        !matches!(self, Self::ClaudeDesktop)
    }

    /// The block to paste.
    pub(crate) fn block(self, reach: &Reach) -> Block {
        match self {
            Self::ClaudeCode => json_block("mcpServers", &self.entry(reach, true)),
            Self::ClaudeDesktop | Self::Cursor | Self::Windsurf => json_block("mcpServers", &self.entry(reach, false)),
            Self::Vscode => json_block("servers", &self.entry(reach, true)),
            Self::Codex => Block { format: "toml", text: codex(reach) },
            Self::Langchain => Block { format: "python", text: langchain(reach) },
        }
    }

    /// The entry alone, as it stands in the map of servers; `None` where the client has no such map in JSON or TOML.
    pub(crate) fn server(self, reach: &Reach) -> Option<(Value, String)> {
        let key = match self {
            Self::ClaudeCode | Self::Vscode => return Some((self.entry(reach, true), String::new())),
            Self::ClaudeDesktop | Self::Cursor | Self::Windsurf => return Some((self.entry(reach, false), String::new())),
            Self::Codex => "mcp_servers",
            Self::Langchain => return None,
        };
        let text = codex(reach);
        let table: toml::Table = toml::from_str(&text).ok()?;
        Some((serde_json::to_value(table.get(key)?.get("pegboard")?).ok()?, text))
    }

    fn entry(self, reach: &Reach, typed: bool) -> Value {
        let mut entry = Map::new();
        match reach {
            Reach::Stdio { command, args, environment } => {
                if typed {
                    entry.insert("type".to_owned(), json!("stdio"));
                }
                entry.insert("command".to_owned(), json!(command));
                entry.insert("args".to_owned(), json!(args));
                if !environment.is_empty() {
                    entry.insert("env".to_owned(), json!(environment));
                }
            }
            Reach::Http { url, token_variable } => {
                if typed {
                    entry.insert("type".to_owned(), json!("http"));
                }
                let key = if self == Self::Windsurf { "serverUrl" } else { "url" };
                entry.insert(key.to_owned(), json!(url));
                if let Some(variable) = token_variable {
                    let place = match self {
                        Self::ClaudeCode => format!("${{{variable}}}"),
                        _ => format!("${{env:{variable}}}"),
                    };
                    entry.insert("headers".to_owned(), json!({"Authorization": format!("Bearer {place}")}));
                }
            }
        }
        Value::Object(entry)
    }
}

fn json_block(key: &str, entry: &Value) -> Block {
    Block { format: "json", text: pretty(&json!({key: {"pegboard": entry}})) }
}

fn pretty(value: &Value) -> String {
    // The alternate form of a JSON value is its indented text.
    format!("{value:#}")
}

fn codex(reach: &Reach) -> String {
    let string = |text: &str| toml::Value::from(text).to_string();
    let mut lines = vec!["[mcp_servers.pegboard]".to_owned()];
    match reach {
        Reach::Stdio { command, args, environment } => {
            lines.push(format!("command = {}", string(command)));
            lines.push(format!("args = {}", toml::Value::from(args.clone())));
            // Its default of 10 seconds is short for a first start that makes environments.
            lines.push("startup_timeout_sec = 30".to_owned());
            if !environment.is_empty() {
                let pairs = environment.iter().filter_map(|(key, value)| Some(format!("{key} = {}", string(value.as_str()?))));
                lines.push(format!("env = {{ {} }}", pairs.collect::<Vec<_>>().join(", ")));
            }
        }
        Reach::Http { url, token_variable } => {
            lines.push(format!("url = {}", string(url)));
            lines.extend(token_variable.iter().map(|variable| format!("bearer_token_env_var = {}", string(variable))));
        }
    }
    lines.join("\n") + "\n"
}

fn langchain(reach: &Reach) -> String {
    let (import, entries) = match reach {
        Reach::Stdio { command, args, environment } => {
            let mut entries = vec![
                ("transport", json!("stdio").to_string()),
                ("command", json!(command).to_string()),
                ("args", json!(args).to_string()),
            ];
            if !environment.is_empty() {
                entries.push(("env", json!(environment).to_string()));
            }
            ("", entries)
        }
        Reach::Http { url, token_variable } => {
            let mut entries = vec![("transport", json!("http").to_string()), ("url", json!(url).to_string())];
            if let Some(variable) = token_variable {
                entries.push(("headers", format!("{{\"Authorization\": \"Bearer \" + os.environ[{}]}}", json!(variable))));
            }
            (if token_variable.is_some() { "import os\n" } else { "" }, entries)
        }
    };
    let entries: String = entries.iter().map(|(key, value)| format!("        \"{key}\": {value},\n")).collect();
    format!(
        r#"# pip install langchain-mcp-adapters
import asyncio
{import}
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

client = MultiServerMCPClient({{
    "pegboard": {{
{entries}    }},
}})


async def main():
    # One held session: without it every call starts a server of its own.
    async with client.session("pegboard") as session:
        tools = await load_mcp_tools(session)
        print([tool.name for tool in tools])


asyncio.run(main())
"#
    )
}
