//! One tool as it is served: its compiled schemas, and the object that clients see, made once.

use std::sync::Arc;

use axum::body::Bytes;
use manifest_schema::{Manifest, ServedName, ToolSpec};
use policy::{Definition, Plugin};
use rmcp::model::{Icon, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::schema::{OutputSchema, Schema, SchemaProblem};
use crate::clean::{clean_text, one_line};

/// A tool with a schema, ready to be listed and called.
#[derive(Debug)]
pub struct ServedTool {
    /// The name it is called by.
    pub name: ServedName,
    /// Its plugin.
    pub plugin: Arc<Plugin>,
    /// What the manifest, or the sandbox for it, says of the tool; `args_schema` is always there.
    pub spec: Arc<ToolSpec>,
    /// The definition that the operator approved, for a tool of an upstream server.
    pub definition: Option<Arc<Definition>>,
    /// Checks arguments.
    pub args: Schema,
    pub(crate) output: Option<OutputSchema>,
    /// The object of `tools/list`.
    pub(crate) wire: Tool,
    /// The same as JSON, for lists that are put together without serialising again.
    pub(crate) json: Bytes,
}

impl ServedTool {
    /// Compiles a tool.
    ///
    /// # Errors
    /// The key of the schema that was refused, and why.
    pub(crate) fn compile(
        plugin: &Arc<Plugin>,
        spec: &ToolSpec,
        args: &Map<String, Value>,
        definition: Option<&Arc<Definition>>,
    ) -> Result<Self, (&'static str, SchemaProblem)> {
        let mut schema = args.clone();
        // Clients refuse a schema without it; a manifest that leaves it out can only have meant this.
        schema.entry("type").or_insert_with(|| json!("object"));
        let args = Schema::compile_arguments(&schema).map_err(|problem| ("args_schema", problem))?;
        let output =
            spec.output_schema.as_ref().map(OutputSchema::compile).transpose().map_err(|problem| ("output_schema", problem))?;
        let name = ServedName::new(&plugin.manifest.name, &spec.name);
        let mut wire = wire_tool(&name, &plugin.manifest, spec, schema.clone(), output.as_ref());
        wire.icons = definition.and_then(|definition| icons(definition));
        let json = Bytes::from(serde_json::to_vec(&wire).unwrap_or_default());
        let spec = Arc::new(ToolSpec { args_schema: Some(schema), ..spec.clone() });
        Ok(Self { name, plugin: plugin.clone(), spec, definition: definition.cloned(), args, output, wire, json })
    }

    /// Whether the tool says of itself that it changes nothing.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.spec.annotations.read_only
    }

    /// The schema of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> &Map<String, Value> {
        &self.wire.input_schema
    }

    /// The schema of the structured result as clients see it, always rooted in an object.
    #[must_use]
    pub fn output_schema(&self) -> Option<&Map<String, Value>> {
        self.output.as_ref().map(|output| &*output.served)
    }
}

/// Pictures as the server gave them, where they need no other protocol than the web's.
fn icons(definition: &Definition) -> Option<Vec<Icon>> {
    const MOST: usize = 8;
    let fits = |icon: &Icon| icon.src.starts_with("https://") || icon.src.starts_with("data:image/");
    let icons = definition.icons.iter().flatten().filter_map(|icon| serde_json::from_value(icon.clone()).ok());
    let icons: Vec<Icon> = icons.filter(fits).take(MOST).collect();
    (!icons.is_empty()).then_some(icons)
}

fn wire_tool(
    name: &ServedName,
    manifest: &Manifest,
    spec: &ToolSpec,
    schema: Map<String, Value>,
    output: Option<&OutputSchema>,
) -> Tool {
    let annotations = ToolAnnotations::new()
        .read_only(spec.annotations.read_only)
        .destructive(spec.annotations.destructive && !spec.annotations.read_only)
        .idempotent(spec.annotations.idempotent)
        .open_world(spec.annotations.open_world);
    let mut tool = Tool::new(name.as_str().to_owned(), clean_text(&spec.description).into_owned(), Arc::new(schema))
        .with_annotations(annotations);
    if let Some(title) = &spec.title {
        tool = tool.with_title(one_line(title, 200));
    }
    if let Some(output) = output {
        tool = tool.with_raw_output_schema(output.served.clone());
    }
    let mut meta = MetaObject::new();
    // For hosts, which sort and trace by it; what the model needs is in the name.
    let mut plugin = json!({"name": manifest.name.as_str(), "version": manifest.version.to_string()});
    if let (Some(category), Some(plugin)) = (&manifest.category, plugin.as_object_mut()) {
        plugin.insert("category".to_owned(), json!(one_line(category, 100)));
    }
    meta.0.insert("pegboard/plugin".to_owned(), plugin);
    if let Some(hint) = search_hint(manifest, spec) {
        meta.0.insert("anthropic/searchHint".to_owned(), json!(hint));
    }
    tool.with_meta(meta)
}

/// Words for clients that search on their own. They read it in place of the description, so its first words come along.
fn search_hint(manifest: &Manifest, spec: &ToolSpec) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    for word in spec.capabilities.iter().chain(&manifest.keywords).chain(&manifest.category) {
        if !words.contains(&word.as_str()) {
            words.push(word);
        }
    }
    if words.is_empty() {
        return None;
    }
    let sentence = spec.description.split(['.', '\n']).next().unwrap_or_default().trim();
    Some(format!("{} ({})", one_line(sentence, 120), one_line(&words.join(", "), 200)))
}
