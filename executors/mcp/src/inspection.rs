//! What a server said when it was asked what it is and offers. Its words, bounded and not cleaned: untrusted.

use policy::Definition;
use serde::Serialize;

/// The name that a server goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ServerIdentity {
    /// As it calls itself.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// Its version.
    pub version: String,
}

/// A prompt or a resource: it is named to the operator, and not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offered {
    /// The prompt's name, or the resource's address.
    pub name: String,
    /// In words.
    pub description: Option<String>,
}

/// Everything that one server offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Who it says it is.
    pub server: ServerIdentity,
    /// The protocol version that was agreed on.
    pub protocol: String,
    /// How it wants to be used; for people, never handed to a model.
    pub instructions: Option<String>,
    /// Its tools, in its order, each name once.
    pub tools: Vec<Definition>,
    /// What is wrong with the tools that are left out: too large, no object schema, a name given twice.
    pub refused: Vec<String>,
    /// Its prompts; not served.
    pub prompts: Vec<Offered>,
    /// Its resources; not served.
    pub resources: Vec<Offered>,
}
