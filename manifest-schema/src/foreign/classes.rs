//! `plugin.json` with an entry point: one tool, a class with `initialize`, `execute` and `cleanup`.

use serde_json::{Map, Value, json};

use super::{
    Converted, ForeignError, ForeignPlugin, Form, verbs,
    words::{self, cut, text},
};

const KNOWN: [&str; 13] = [
    "plugin_id",
    "name",
    "version",
    "description",
    "category",
    "dependencies",
    "permissions",
    "entry_point",
    "config_schema",
    "min_core_version",
    "max_core_version",
    "author",
    "license",
];

pub(super) fn convert(plugin: &ForeignPlugin<'_>, document: &Map<String, Value>) -> Result<Converted, ForeignError> {
    let file = Form::PluginJson.file();
    if text(document, "plugin_id").is_none() && text(document, "entry_point").is_none() {
        return Err(ForeignError::NotAPlugin { file, expected: "`plugin_id` or `entry_point`" });
    }
    let mut notes = Vec::new();
    let title = text(document, "name").or_else(|| text(document, "plugin_id")).unwrap_or(plugin.folder);
    let name = [text(document, "plugin_id"), text(document, "name"), Some(plugin.folder)]
        .into_iter()
        .flatten()
        .find_map(|text| words::name(text, 30));
    let Some(name) = name else { return Err(ForeignError::NotAPlugin { file, expected: "a name with letters" }) };
    let (module, class) = entry(plugin, document)?;
    let description = text(document, "description").unwrap_or_else(|| {
        notes.push("it says nothing of what it does: the description is its name".to_owned());
        title
    });
    notes.push("what its `execute` takes is not in its manifest: any object is taken; write an `args_schema`".to_owned());
    let mut manifest = words::head(document, &name, description, &mut notes);
    text(document, "author").map(|author| manifest.insert("author".to_owned(), json!(cut(author, 200))));
    let spec = json!({
        "name": words::name(title, 32).unwrap_or_else(|| name.clone()), "description": cut(description, 2000), "module_path": module, "class_name": class,
        "args_schema": {"type": "object"},
    });
    manifest.insert("mcps".to_owned(), Value::Array(vec![spec]));
    text(document, "category")
        .and_then(|shelf| words::name(shelf, 40))
        .map(|shelf| manifest.insert("category".to_owned(), json!(shelf)));
    verbs::powers(document.get("permissions"), &mut manifest, &mut notes);
    dependencies(document.get("dependencies"), &mut manifest, &mut notes);
    match document.get("config_schema") {
        Some(Value::Object(schema)) if schema.get("type") == Some(&json!("object")) => {
            manifest.insert("config_schema".to_owned(), json!(schema));
        }
        None | Some(Value::Null) => {}
        Some(_) => notes.push("`config_schema` is no schema of an object and was left out".to_owned()),
    }
    for key in ["min_core_version", "max_core_version"].into_iter().filter(|key| document.contains_key(*key)) {
        notes.push(format!("`{key}` is a version of another host and was left out"));
    }
    words::leave(document, &KNOWN, &mut notes);
    Ok(Converted { manifest, adapter: None, pairs_script: None, whole: false, executable: None, notes })
}

/// Module and class of `main.py:Class`, `package.main:Class`, `package.main.Class`, or of a file with one class that has `execute`.
fn entry(plugin: &ForeignPlugin<'_>, document: &Map<String, Value>) -> Result<(String, String), ForeignError> {
    let said = text(document, "entry_point").unwrap_or("main.py");
    let (place, class) = match said.split_once(':') {
        Some((place, class)) => (place, Some(class.to_owned())),
        None => match said.rsplit_once('.') {
            Some((place, last)) if last.starts_with(|letter: char| letter.is_ascii_uppercase()) => (place, Some(last.to_owned())),
            _ => (said, None),
        },
    };
    let place = place.trim_start_matches("./");
    let module = place.strip_suffix(".py").unwrap_or(place).replace('/', ".");
    // Some name the module by the folder that it lies in.
    let bare = module.strip_prefix(&format!("{}.", plugin.folder)).unwrap_or(&module).to_owned();
    let file = |module: &str| (plugin.file)(&format!("{}.py", module.replace('.', "/")));
    let found = [module, bare].into_iter().find_map(|module| file(&module).map(|source| (module, source)));
    let plain = |text: &str| {
        text.split('.').all(|part| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'))
    };
    let Some((module, source)) = found.filter(|(module, _)| plain(module)) else {
        return Err(ForeignError::NoEntry { reason: format!("the module of `{}` is not in the folder", cut(said, 120)) });
    };
    let class = class.or_else(|| class_with_execute(&source));
    class.filter(|class| plain(class)).map(|class| (module, class)).ok_or_else(|| ForeignError::NoEntry {
        reason: format!("`{}` names no class, and none in it has `execute`", cut(said, 120)),
    })
}

/// The first class of a module with a method `execute`.
fn class_with_execute(source: &str) -> Option<String> {
    let mut class = None;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("class ") {
            class = rest.split(['(', ':']).next().map(|name| name.trim().to_owned());
        } else if ["def execute(", "async def execute("].iter().any(|def| line.trim_start().starts_with(def))
            && line.starts_with([' ', '\t'])
        {
            return class;
        }
    }
    None
}

fn dependencies(said: Option<&Value>, manifest: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let listed: Vec<String> = match said {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, version)| {
                format!(
                    "{name}{}",
                    version.as_str().filter(|text| text.starts_with(['=', '<', '>', '~', '!'])).unwrap_or_default()
                )
            })
            .collect(),
        _ => Vec::new(),
    };
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for line in listed.iter().take(200) {
        match words::package(line) {
            Some(dependency) if !names.contains(&dependency["name"]) => {
                names.push(dependency["name"].clone());
                found.push(dependency);
            }
            Some(_) => {}
            None => notes.push(format!("the dependency `{}` is no plain package and was left out", cut(line, 120))),
        }
    }
    if !found.is_empty() {
        notes.push("its dependencies were taken for Python packages".to_owned());
        manifest.insert("dependencies".to_owned(), json!(found));
    }
}
