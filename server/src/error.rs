//! Every code a caller can meet, in one table, and the errors that end a start or a server. `docs/errors.md` is made from the table.
//!
//! What happened in a call is [`crate::CallOutcome`]; how it is written on the wire is `mcp/wire.rs`.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use crate::OperatorError;

macro_rules! codes {
    ($($variant:ident $code:literal $rpc:expr, $retryable:literal, $doc:literal;)*) => {
        /// A stable code: branch on it, never on text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $doc] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The JSON-RPC error number; `None` for a result with `isError`.
            #[must_use]
            pub const fn rpc(self) -> Option<i32> {
                match self { $(Self::$variant => $rpc),* }
            }

            /// Whether the same request may succeed later without a change.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable),* }
            }

            /// What it means.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc),* }
            }
        }
    };
}

codes! {
    ParseError "parse_error" Some(-32700), false, "The message is not JSON, or is nested deeper than 128 levels.";
    InvalidRequest "invalid_request" Some(-32600), false, "The JSON is not one JSON-RPC message; batches are not accepted.";
    MethodNotFound "method_not_found" Some(-32601), false, "The method is unknown, or belongs to a capability that is not declared.";
    InvalidParams "invalid_params" Some(-32602), false, "The parameters of the method do not fit, a cursor included.";
    UnknownTool "unknown_tool" Some(-32602), false, "No such tool is served; `data.nearest` names the nearest ones.";
    TooLarge "too_large" Some(-32600), false, "The message is larger than allowed: 16 MiB a line, 4 MiB a request body.";
    InternalError "internal_error" Some(-32603), true, "A fault of the server itself.";
    BadArguments "bad_arguments" None, false, "The arguments do not fit the tool's schema; the text says where, what was expected, and what was found.";
    Denied "denied" None, false, "A key is missing: a power is declared but not granted, a secret is not set, the sandbox level is not reached, or the caller's token does not cover the tool.";
    BadSession "bad_session" None, false, "The session has ended, or its handle was not made by this server for this caller.";
    Raised "raised" None, false, "The tool raised an exception or reported an error.";
    Crashed "crashed" None, true, "The tool's process died.";
    TimedOut "timed_out" None, true, "The wall clock or the CPU limit ended the call.";
    OutOfMemory "out_of_memory" None, false, "The memory limit ended the call.";
    Cancelled "cancelled" None, false, "The caller gave up.";
    OutputTooLarge "output_too_large" None, false, "The result is larger than allowed.";
    BadOutput "bad_output" None, false, "The result cannot be encoded, or does not fit the tool's output schema.";
    LoadFailed "load_failed" None, false, "The plugin cannot be loaded.";
    Preparing "preparing" None, true, "The plugin's environment is still being made.";
    Unavailable "unavailable" None, true, "The plugin failed too often and is tried again later, or the server is shutting down.";
    Overloaded "overloaded" None, true, "Too many calls wait for the plugin.";
    Unsupported "unsupported" None, false, "Not built yet, or not possible on this machine.";
    Internal "internal" None, true, "A fault of the server itself while it ran the call.";
}

impl From<executor_api::FailureKind> for Code {
    fn from(kind: executor_api::FailureKind) -> Self {
        use executor_api::FailureKind as Kind;
        match kind {
            Kind::Raised => Self::Raised,
            Kind::Crashed => Self::Crashed,
            Kind::TimedOut => Self::TimedOut,
            Kind::OutOfMemory => Self::OutOfMemory,
            Kind::Cancelled => Self::Cancelled,
            Kind::OutputTooLarge => Self::OutputTooLarge,
            Kind::BadOutput => Self::BadOutput,
            Kind::LoadFailed => Self::LoadFailed,
            Kind::Preparing => Self::Preparing,
            Kind::Unavailable => Self::Unavailable,
            Kind::Overloaded => Self::Overloaded,
            Kind::Unsupported => Self::Unsupported,
            Kind::Internal => Self::Internal,
        }
    }
}

/// The content of `docs/errors.md`.
#[must_use]
pub fn errors_page() -> String {
    let mut page = String::from(
        "# Errors\n\nMade from the table in `server/src/error.rs`; a test checks that it is fresh.\n\n\
         A protocol error is a JSON-RPC error with the number below, and its `data.code` is the word.\n\
         A tool error is a result with `isError: true`, text only; its first line begins with the word, and a hint, where there is one, is the last line.\n\n\
         | code | on the wire | may be tried again | meaning |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let wire = code.rpc().map_or_else(|| "`isError`".to_owned(), |number| number.to_string());
        let again = if code.retryable() { "yes" } else { "no" };
        let _ = writeln!(page, "| `{}` | {wire} | {again} | {} |", code.as_str(), code.doc());
    }
    page
}

/// Why the host could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the operator does not parse.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A folder of plugins cannot be read.
    #[error("plugins folder `{path}` cannot be read")]
    PluginsFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is installed can't be known: serving the rest as if nothing were would be a guess.
    #[error("the list of installed plugins can't be used")]
    Lockfile {
        /// Why.
        #[source]
        source: Box<registry::Error>,
    },
    /// A setting is out of its range.
    #[error("setting `{setting}` must be {expected}, found `{found}`")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The index cannot be made.
    #[error("the search index cannot be made: {reason}")]
    Index {
        /// Why.
        reason: String,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gave no random bytes: {reason}")]
    Random {
        /// Why.
        reason: String,
    },
}

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on `{path}`: {reason}")]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Anyone on the network could call tools.
    #[error("address `{address}` is not loopback and no tokens are set")]
    NoTokens {
        /// The address.
        address: SocketAddr,
    },
    /// Neither an address nor a socket was given.
    #[error("neither an address nor a socket was given")]
    Nowhere,
    /// An allowed origin or host that can never match.
    #[error("`{entry}` is not {expected}")]
    AllowList {
        /// The entry.
        entry: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The connection could not be served.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
}

impl ServeError {
    /// What to do, for the operator.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTokens { .. } => Some("pegboard token create --tools '*' NAME, then serve with --token-file".to_owned()),
            Self::Bind { .. } => Some("another server may be running; `--http 127.0.0.1:0` takes a free port".to_owned()),
            _ => None,
        }
    }
}
