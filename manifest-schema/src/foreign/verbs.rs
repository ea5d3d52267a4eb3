//! `manifest.json` with a verb and definitions of inputs: one tool, whose code is a function or a script.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Adapter, Converted, ForeignError, ForeignPlugin, Form,
    words::{self, cut, text},
};

/// Keys that are read; what else there is, is named in a note.
const KNOWN: [&str; 15] = [
    "verb",
    "actionVerb",
    "name",
    "id",
    "version",
    "description",
    "inputDefinitions",
    "outputDefinitions",
    "language",
    "entryPoint",
    "security",
    "configuration",
    "metadata",
    "explanation",
    "author",
];
const FUNCTION: &str = "execute_plugin";
const MAX_INPUTS: usize = 100;

pub(super) fn convert(plugin: &ForeignPlugin<'_>, document: &Map<String, Value>) -> Result<Converted, ForeignError> {
    let file = Form::ManifestJson.file();
    let verb = text(document, "verb").or_else(|| text(document, "actionVerb"));
    if verb.is_none() && !document.contains_key("inputDefinitions") && !document.contains_key("entryPoint") {
        return Err(ForeignError::NotAPlugin { file, expected: "`verb` or `actionVerb`, `inputDefinitions` or `entryPoint`" });
    }
    let mut notes = Vec::new();
    let metadata = document.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    let language = text(document, "language").unwrap_or("python").to_ascii_lowercase();
    let said = verb.or_else(|| text(document, "name")).unwrap_or(plugin.folder);
    let name = [text(document, "name"), Some(plugin.folder), text(document, "id"), verb]
        .into_iter()
        .flatten()
        .find_map(|text| words::name(text, 30));
    let tool = words::name(said, 32).or_else(|| name.clone());
    let (Some(name), Some(tool)) = (name, tool) else {
        return Err(ForeignError::NotAPlugin { file, expected: "a name with letters" });
    };
    let description = text(document, "description").or_else(|| text(document, "explanation")).unwrap_or_else(|| {
        notes.push("it says nothing of what it does: the description is its verb".to_owned());
        said
    });
    let mut manifest = words::head(document, &name, description, &mut notes);
    let author = text(&metadata, "author").or_else(|| text(document, "author"));
    author.map(|author| manifest.insert("author".to_owned(), json!(cut(author, 200))));
    let inputs = Inputs::read(document, &mut notes);
    let mut spec = json!({"name": tool, "description": cut(description, 2000), "args_schema": inputs.schema()});
    let converted = match language.as_str() {
        "python" | "py" | "python3" => {
            let code = Code::find(plugin, document)?;
            let (adapter, pairs_script) = code.into_spec(&mut spec, inputs);
            Converted { manifest, adapter, pairs_script, whole: false, executable: None, notes }
        }
        "container" | "docker" => {
            container(plugin, document, &mut manifest)?;
            Converted { manifest, adapter: None, pairs_script: None, whole: false, executable: None, notes }
        }
        _ => return Err(ForeignError::Language { language: cut(&language, 40) }),
    };
    Ok(finish(converted, plugin, document, &metadata, spec))
}

/// Limits, powers, packages and the shelf, and a note on every key that is left.
fn finish(
    mut converted: Converted,
    plugin: &ForeignPlugin<'_>,
    document: &Map<String, Value>,
    metadata: &Map<String, Value>,
    spec: Value,
) -> Converted {
    let Converted { manifest, notes, .. } = &mut converted;
    manifest.insert("mcps".to_owned(), Value::Array(vec![spec]));
    if manifest.get("runtime").is_none() {
        packages(plugin, document, manifest, notes);
    }
    let security = document.get("security").and_then(Value::as_object).cloned().unwrap_or_default();
    powers(security.get("permissions"), manifest, notes);
    let limits = security.get("sandboxOptions").and_then(Value::as_object).cloned().unwrap_or_default();
    limits.get("memory").and_then(words::mebibytes).map(|size| manifest.insert("max_memory_mb".to_owned(), json!(size)));
    limits.get("timeout").and_then(words::seconds).map(|time| manifest.insert("max_execution_time".to_owned(), json!(time)));
    let tags = metadata.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tags: Vec<String> = tags.iter().filter_map(Value::as_str).filter_map(|tag| words::name(tag, 40)).take(20).collect();
    if !tags.is_empty() {
        manifest.insert("keywords".to_owned(), json!(tags));
    }
    text(metadata, "category")
        .and_then(|shelf| words::name(shelf, 40))
        .map(|shelf| manifest.insert("category".to_owned(), json!(shelf)));
    if document.get("configuration").is_some_and(|value| !is_empty(value)) {
        notes.push(
            "`configuration` has no schema here, so it was left out: declare `config_schema`, then `pegboard config`".to_owned(),
        );
    }
    if document.get("outputDefinitions").is_some_and(|value| !is_empty(value)) {
        notes.push("`outputDefinitions` promise no types that could be checked: no `output_schema` was made of them".to_owned());
    }
    words::leave(document, &KNOWN, notes);
    converted
}

/// An input, as it was defined.
struct Inputs {
    properties: Map<String, Value>,
    required: Vec<String>,
    aliases: BTreeMap<String, String>,
}

impl Inputs {
    fn read(document: &Map<String, Value>, notes: &mut Vec<String>) -> Self {
        let mut inputs = Self { properties: Map::new(), required: Vec::new(), aliases: BTreeMap::new() };
        let list = match document.get("inputDefinitions") {
            Some(Value::Array(list)) => list.clone(),
            // Some name each definition by its key.
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| {
                    let mut value = value.clone();
                    value.as_object_mut().map(|map| map.entry("name").or_insert_with(|| json!(name)));
                    value
                })
                .collect(),
            _ => Vec::new(),
        };
        if list.len() > MAX_INPUTS {
            notes.push(format!("it defines {} inputs; {MAX_INPUTS} were taken", list.len()));
        }
        for item in list.iter().take(MAX_INPUTS) {
            inputs.add(item, notes);
        }
        inputs
    }

    fn add(&mut self, item: &Value, notes: &mut Vec<String>) {
        let Some(item) = item.as_object() else { return notes.push("an input is no object and was left out".to_owned()) };
        let Some(name) = text(item, "name") else { return notes.push("an input without a name was left out".to_owned()) };
        let kind = text(item, "type").unwrap_or("any");
        let (mut schema, known) = words::schema(kind);
        if !known {
            notes.push(format!("input `{}` has the unknown type `{}`: any value is taken", cut(name, 60), cut(kind, 40)));
        }
        let aliases: Vec<&str> =
            item.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).take(20).collect();
        let described = text(item, "description").map(|text| cut(text, 1000)).unwrap_or_default();
        let also = if aliases.is_empty() { String::new() } else { format!(" (also accepted as {})", aliases.join(", ")) };
        if !(described.is_empty() && also.is_empty()) {
            schema.insert("description".to_owned(), json!(format!("{described}{also}").trim().to_owned()));
        }
        item.get("default").filter(|value| !value.is_null()).map(|value| schema.insert("default".to_owned(), value.clone()));
        let choices =
            item.get("enum").or_else(|| item.get("allowedValues")).and_then(Value::as_array).filter(|list| !list.is_empty());
        choices.map(|list| schema.insert("enum".to_owned(), json!(list)));
        if item.get("required").and_then(Value::as_bool).unwrap_or(false) {
            self.required.push(name.to_owned());
        }
        for alias in aliases {
            self.aliases.insert(alias.to_owned(), name.to_owned());
        }
        self.properties.insert(name.to_owned(), Value::Object(schema));
    }

    /// An input that may come under another name can't be required by a schema: the adapter asks for it.
    fn schema(&self) -> Value {
        let mut schema = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(self.properties.clone())),
        ]);
        let required: Vec<&String> =
            self.required.iter().filter(|name| !self.aliases.values().any(|other| other == *name)).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        Value::Object(schema)
    }
}

/// What is called.
enum Code {
    Function { file: String, function: String, boxed: bool },
    Script { file: String },
}

impl Code {
    fn find(plugin: &ForeignPlugin<'_>, document: &Map<String, Value>) -> Result<Self, ForeignError> {
        let entry = document.get("entryPoint");
        let entry_map = entry.and_then(Value::as_object).cloned().unwrap_or_default();
        let main = text(&entry_map, "main").or_else(|| entry.and_then(Value::as_str));
        let usual = ["main.py", "plugin.py", "index.py", "src/main.py"];
        let file = main
            .map(|main| main.trim_start_matches("./").to_owned())
            .or_else(|| usual.into_iter().find(|file| (plugin.file)(file).is_some()).map(str::to_owned));
        let Some(file) = file else {
            return Err(ForeignError::NoEntry {
                reason: format!("`entryPoint.main` is missing, and there is none of {}", usual.join(", ")),
            });
        };
        let outside = file.starts_with('/') || file.split(['/', '\\']).any(|part| part == "..");
        let Some(source) = (plugin.file)(&file).filter(|_| !outside) else {
            return Err(ForeignError::NoEntry { reason: format!("`{}` is not in the folder", cut(&file, 120)) });
        };
        let function = text(&entry_map, "function").unwrap_or(FUNCTION);
        let defines = |name: &str| {
            source.lines().any(|line| {
                ["def ", "async def "]
                    .iter()
                    .any(|def| line.strip_prefix(def).is_some_and(|rest| rest.trim_start().starts_with(&format!("{name}("))))
            })
        };
        if let Some(function) = [function, FUNCTION].into_iter().find(|name| defines(name)) {
            let boxed =
                [".value", "[\"value\"]", "['value']", "get(\"value\"", "get('value'"].iter().any(|mark| source.contains(mark));
            return Ok(Self::Function { file, function: function.to_owned(), boxed });
        }
        if source.contains("stdin") || source.contains("input(") {
            return Ok(Self::Script { file });
        }
        Err(ForeignError::NoEntry {
            reason: format!("`{}` neither defines `{}` nor reads its standard input", cut(&file, 120), cut(function, 60)),
        })
    }

    /// Says in the tool what is called, and what must stand between.
    fn into_spec(self, spec: &mut Value, inputs: Inputs) -> (Option<Adapter>, Option<String>) {
        match self {
            Self::Script { file } => {
                spec["script"] = json!(file);
                (None, Some(file))
            }
            Self::Function { file, function, boxed } => {
                spec["module_path"] = json!("pegboard_adapter");
                spec["function"] = json!(FUNCTION);
                (Some(Adapter { file, function, boxed, aliases: inputs.aliases, required: inputs.required }), None)
            }
        }
    }
}

/// Packages that it needs, from its manifest or the file that it names.
fn packages(
    plugin: &ForeignPlugin<'_>,
    document: &Map<String, Value>,
    manifest: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) {
    let entry = document.get("entryPoint").and_then(Value::as_object);
    let said = entry.and_then(|entry| entry.get("packageSource")).and_then(|source| source.get("requirements").or(Some(source)));
    let lines: Vec<String> = match said {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => {
            let file = (plugin.file)(text.trim_start_matches("./"));
            file.unwrap_or_else(|| text.clone()).lines().map(str::to_owned).collect()
        }
        _ => (plugin.file)("requirements.txt").map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default(),
    };
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for line in lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.ends_with(".txt"))
        .take(200)
    {
        match words::package(line) {
            Some(dependency) if names.contains(&dependency["name"]) => {}
            Some(dependency) => {
                names.push(dependency["name"].clone());
                found.push(dependency);
            }
            None => notes.push(format!("the requirement `{}` is no plain package and was left out", cut(line, 120))),
        }
    }
    if !found.is_empty() {
        manifest.insert("dependencies".to_owned(), json!(found));
    }
}

/// Powers that it declares; granted is none of them.
pub(super) fn powers(said: Option<&Value>, manifest: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let mut found: Vec<&str> = Vec::new();
    for word in said.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).take(50) {
        match words::powers(word) {
            Some(powers) => found.extend(powers.iter().filter(|power| !found.contains(power)).copied().collect::<Vec<_>>()),
            None => notes.push(format!("the permission `{}` means none of ours", cut(word, 60))),
        }
    }
    if found.contains(&"network_access") || found.contains(&"external_api") {
        manifest.insert("requires_network".to_owned(), json!(true));
    }
    let mut filesystem = Map::new();
    for (power, key) in [("file_system_read", "read"), ("file_system_write", "write")] {
        if found.contains(&power) {
            filesystem.insert(key.to_owned(), json!(["$data"]));
        }
    }
    if !filesystem.is_empty() {
        manifest.insert("filesystem".to_owned(), Value::Object(filesystem));
    }
    if !found.is_empty() {
        manifest.insert("permissions".to_owned(), json!(found));
    }
}

fn container(
    plugin: &ForeignPlugin<'_>,
    document: &Map<String, Value>,
    manifest: &mut Map<String, Value>,
) -> Result<(), ForeignError> {
    let said = document.get("container").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut container = Map::new();
    if let Some(image) = text(&said, "image") {
        container.insert("image".to_owned(), json!(image));
    } else if let Some(dockerfile) =
        [text(&said, "dockerfile"), Some("Dockerfile")].into_iter().flatten().find(|file| (plugin.file)(file).is_some())
    {
        container.insert("dockerfile".to_owned(), json!(dockerfile));
    } else {
        return Err(ForeignError::NoEntry { reason: "it is a container with neither an image nor a Dockerfile".to_owned() });
    }
    manifest.insert("runtime".to_owned(), json!("container"));
    manifest.insert("container".to_owned(), Value::Object(container));
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
