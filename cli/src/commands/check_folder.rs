//! What `validate` checks beyond the manifest itself: do the files behind it exist, are its schemas schemas, do its examples fit them.
//!
//! Reads files; runs nothing.

use std::{fs, path::Path};

use manifest_schema::{Diagnostic, Entry, Manifest, Runtime, ToolSpec};
use serde_json::{Map, Value};
use server::{Schema, SchemaProblem};

/// Whether a finding stops the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The plugin, or a tool of it, can't work.
    Error,
    /// Probably not what the author meant.
    Warning,
}

/// The manifest as text, to point at lines of.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

/// Checks the folder of a manifest that parsed.
pub(crate) fn check_folder(file: &str, text: &str, root: &Path, manifest: &Manifest) -> Vec<(Severity, Diagnostic)> {
    let source = Source { file, text };
    let mut findings = Vec::new();
    for (index, tool) in manifest.mcps.iter().enumerate() {
        let path = format!("mcps[{index}]");
        let from = source.line_of_tool(tool);
        if manifest.runtime == Runtime::Python {
            findings.extend(code(&source, from, &path, root, tool));
        }
        findings.extend(schemas(&source, from, &path, tool));
    }
    if let Some(schema) = &manifest.config_schema
        && let Err(problem) = Schema::compile(schema)
    {
        let message = format!("is not a JSON Schema: {problem}");
        findings.push((
            Severity::Error,
            source.finding("plugin.schema", 0, "config_schema", None, "config_schema".to_owned(), message),
        ));
    }
    findings
}

/// Whether the code behind a tool exists.
fn code(source: &Source<'_>, from: usize, path: &str, root: &Path, tool: &ToolSpec) -> Option<(Severity, Diagnostic)> {
    let (module, key, name) = match tool.entry()? {
        Entry::Script { file } => {
            if inside(root, file).is_some_and(|script| script.is_file()) {
                return None;
            }
            let finding = source.finding(
                "plugin.script_missing",
                from,
                "script",
                Some(file),
                format!("{path}.script"),
                "names no file of the plugin".to_owned(),
            );
            return Some((Severity::Error, expected(finding, format!("a file `{file}`"), "no such file")));
        }
        Entry::Class { module, class } => (module, "class_name", class),
        Entry::Function { module, function } => (module, "function", function),
    };
    let relative = module.replace('.', "/");
    let candidates = [format!("{relative}.py"), format!("{relative}/__init__.py")];
    let Some(file) = candidates.iter().filter_map(|candidate| inside(root, candidate)).find(|file| file.is_file()) else {
        let (key, value) = if tool.module_path.is_some() { ("module_path", Some(module)) } else { (key, Some(name)) };
        let finding = source.finding(
            "plugin.module_missing",
            from,
            key,
            value,
            format!("{path}.{key}"),
            format!("module `{module}` has no file in the plugin"),
        );
        return Some((Severity::Error, expected(finding, format!("`{}` or `{}`", candidates[0], candidates[1]), "neither")));
    };
    let text = fs::read_to_string(&file).ok()?;
    if mentions(&text, name) {
        return None;
    }
    let finding = source.finding(
        "plugin.name_missing",
        from,
        key,
        Some(name),
        format!("{path}.{key}"),
        format!("`{name}` does not occur in `{}`", file.strip_prefix(root).unwrap_or(&file).display()),
    );
    Some((Severity::Warning, finding))
}

/// The path below `root`, unless it leaves it.
fn inside(root: &Path, relative: &str) -> Option<std::path::PathBuf> {
    let root = fs::canonicalize(root).ok()?;
    fs::canonicalize(root.join(relative)).ok().filter(|path| path.starts_with(&root))
}

/// Whether a Python file defines or imports a name, as far as reading words can tell; `import *` may bring any.
fn mentions(text: &str, name: &str) -> bool {
    let word = |character: char| character.is_alphanumeric() || character == '_';
    text.split(|character| !word(character)).any(|found| found == name) || text.contains("import *")
}

/// Whether the schemas are schemas and the examples fit them.
fn schemas(source: &Source<'_>, from: usize, path: &str, tool: &ToolSpec) -> Vec<(Severity, Diagnostic)> {
    let mut findings = Vec::new();
    for (key, schema) in [("args_schema", &tool.args_schema), ("output_schema", &tool.output_schema)] {
        let Some(schema) = schema else { continue };
        match compile(key, schema) {
            Err(problem) => {
                let message = format!("is not a JSON Schema: {problem}");
                findings
                    .push((Severity::Error, source.finding("plugin.schema", from, key, None, format!("{path}.{key}"), message)));
            }
            Ok(schema) => findings.extend(examples(source, from, path, tool, key, &schema)),
        }
    }
    findings
}

fn examples(
    source: &Source<'_>,
    from: usize,
    path: &str,
    tool: &ToolSpec,
    key: &str,
    schema: &Schema,
) -> Vec<(Severity, Diagnostic)> {
    let mut findings = Vec::new();
    for (index, example) in tool.examples.iter().enumerate() {
        let (part, value) = match key {
            "args_schema" => ("args", example.args.clone().map(Value::Object)),
            _ => ("result", example.result.clone()),
        };
        let Some(value) = value else { continue };
        for misfit in schema.check(&value).err().into_iter().flatten() {
            let at = format!("{path}.examples[{index}].{part}{}", misfit.path.replace('/', "."));
            let finding =
                source.finding("plugin.example", from, "query", Some(&example.query), at, format!("does not fit `{key}`"));
            findings.push((Severity::Error, expected(finding, misfit.expected, &misfit.found)));
        }
    }
    findings
}

/// Compiles a schema as the server will: what passes here is served there.
fn compile(key: &str, schema: &Map<String, Value>) -> Result<Schema, SchemaProblem> {
    if key != "args_schema" {
        return Schema::compile(schema);
    }
    let mut schema = schema.clone();
    schema.entry("type").or_insert_with(|| Value::from("object"));
    Schema::compile_arguments(&schema)
}

fn expected(mut finding: Diagnostic, expected: String, found: &str) -> Diagnostic {
    finding.expected = Some(expected);
    finding.found = Some(found.to_owned());
    finding
}

impl Source<'_> {
    /// The line (from zero) where a tool's entry begins, as far as its name tells.
    fn line_of_tool(&self, tool: &ToolSpec) -> usize {
        let start = self.text.lines().position(|line| line.starts_with("mcps:") || line.starts_with("tools:")).unwrap_or(0);
        self.line_of(start, "name", Some(tool.name.as_str())).unwrap_or(start)
    }

    /// The first line from `from` that has the key, with the value if there is one.
    fn line_of(&self, from: usize, key: &str, value: Option<&str>) -> Option<usize> {
        self.text.lines().enumerate().skip(from).find_map(|(index, line)| {
            let (_, rest) = line.split_once(&format!("{key}:"))?;
            value.is_none_or(|value| rest.trim_matches([' ', '"', '\'', ',', '}']).starts_with(value)).then_some(index)
        })
    }

    fn finding(
        &self,
        code: &'static str,
        from: usize,
        key: &str,
        value: Option<&str>,
        path: String,
        message: String,
    ) -> Diagnostic {
        let line = self.line_of(from, key, value).unwrap_or(from);
        let column = self
            .text
            .lines()
            .nth(line)
            .and_then(|text| text.find(&format!("{key}:")).map(|at| text[..at].chars().count()))
            .unwrap_or(0);
        let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        Diagnostic {
            code,
            file: self.file.to_owned(),
            line: count(line),
            column: count(column),
            path,
            message,
            expected: None,
            found: None,
            hint: None,
        }
    }
}
