//! Reading `mcps`: the tools, their code, their schemas, annotations and examples.

use serde_json::{Map, Value};

use crate::{
    Annotations, Example, Runtime, SchemaProblem, SchemaUse, Step, ToolName, ToolSpec,
    args_schema::check_schema,
    fields::{Field, Lines, MAX_DESCRIPTION, Section},
    keys,
    report::{Path, Place, Report},
    rules,
    tree::{Kind, Node, quote},
};

/// The most tools of one plugin.
const MAX_TOOLS: usize = 256;

/// The tools, under `mcps` or its other name `tools`.
pub(crate) fn read(report: &mut Report, root: &Section<'_>, runtime: Runtime) -> Vec<ToolSpec> {
    let field = match (root.get("mcps"), root.get("tools")) {
        (Some(mcps), Some(tools)) => {
            tools.conflict(report, "is another name of `mcps`", "one of the two", Some("move the tools to `mcps`"));
            Some(mcps)
        }
        (mcps, tools) => mcps.or(tools),
    };
    let Some(field) = field else {
        if runtime != Runtime::Mcp {
            report
                .add("manifest.missing_key", root.place, &root.path.key("mcps"), "is missing")
                .expected("a list of at least one tool");
        }
        return Vec::new();
    };
    let Some(items) = field.items(report, MAX_TOOLS) else { return Vec::new() };
    if items.is_empty() && runtime != Runtime::Mcp {
        report.add("manifest.no_tools", field.node.place, &field.path, "is empty").expected("at least one tool");
    }
    let mut tools: Vec<ToolSpec> = Vec::new();
    let mut names: Vec<(String, u32)> = Vec::new();
    for item in &items {
        let (name, tool) = tool(report, item, runtime);
        if let Some((name, field)) = name {
            match names.iter().find(|(seen, _)| *seen == name) {
                Some((_, line)) => {
                    report
                        .add("manifest.duplicate", field.node.place, &field.path, "is the name of another tool")
                        .expected("a name of its own")
                        .found(quote(&name))
                        .hint(format!("the other tool's name is on line {line}"));
                }
                None => names.push((name, field.node.place.line)),
            }
        }
        tools.extend(tool);
    }
    tools
}

/// The tool, and its name with its place even if the rest is refused.
fn tool<'n>(report: &mut Report, field: &Field<'n>, runtime: Runtime) -> (Option<(String, Field<'n>)>, Option<ToolSpec>) {
    let Some(section) = Section::open(report, field, keys::TOOL) else { return (None, None) };
    let name_field = section.require(report, "name", "the name of the tool");
    let name = name_field.as_ref().and_then(|field| tool_name(report, field));
    let description = section
        .require(report, "description", "what the tool does, in words a model can choose by")
        .and_then(|field| field.text(report, MAX_DESCRIPTION, Lines::Many));
    let named = name.as_ref().zip(name_field).map(|(name, field)| (name.to_string(), field));
    let title = section.text(report, "title", 100, Lines::One);
    let code = code(report, &section, runtime);
    let upstream_name = section.text(report, "upstream_name", 128, Lines::One);
    if let (Some(field), true) = (section.get("upstream_name"), runtime != Runtime::Mcp) {
        field.conflict(report, "names a tool of an upstream server, which this runtime does not have", "no such key", None);
    }
    let args_schema = section.get("args_schema").and_then(|field| schema(report, &field, SchemaUse::Arguments));
    let output_schema = section.get("output_schema").and_then(|field| schema(report, &field, SchemaUse::Result));
    let capabilities = section.words(report, "capabilities", 50, 64, rules::any);
    let annotations = annotations(report, &section);
    let examples =
        section.items(report, "examples", 50).iter().filter_map(|field| example(report, field, args_schema.as_ref())).collect();
    let langchain_compatible = section.flag(report, "langchain_compatible", true);
    let sequential_thinking_enabled = section.flag(report, "sequential_thinking_enabled", false);
    let complexity_threshold = section.number(report, "complexity_threshold", 0..=100, 0);
    let (Some(name), Some(description)) = (name, description) else { return (named, None) };
    let tool = ToolSpec {
        name,
        title,
        description,
        module_path: code.module_path,
        class_name: code.class_name,
        function: code.function,
        script: code.script,
        upstream_name,
        args_schema,
        output_schema,
        capabilities,
        annotations,
        examples,
        langchain_compatible,
        sequential_thinking_enabled,
        complexity_threshold,
    };
    (named, Some(tool))
}

fn tool_name(report: &mut Report, field: &Field<'_>) -> Option<ToolName> {
    let text = field.text(report, MAX_DESCRIPTION, Lines::One)?;
    match ToolName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            field
                .fault(report, rules::name_fault(&text, &error, "a tool", ToolName::LIMIT, |text| ToolName::parse(text).is_ok()));
            None
        }
    }
}

struct Code {
    module_path: Option<String>,
    class_name: Option<String>,
    function: Option<String>,
    script: Option<String>,
}

const FORMS: [&str; 3] = ["class_name", "function", "script"];
const ONE_FORM: &str = "exactly one of `class_name`, `function`, `script`";

/// Where the code is: one form for Python, none for runtimes whose tools are elsewhere.
fn code(report: &mut Report, section: &Section<'_>, runtime: Runtime) -> Code {
    let code = Code {
        module_path: section.ruled(report, "module_path", 200, rules::module_path),
        class_name: section.ruled(report, "class_name", 100, rules::identifier),
        function: section.ruled(report, "function", 100, rules::identifier),
        script: section.ruled(report, "script", 200, rules::relative_file),
    };
    let given: Vec<Field<'_>> = FORMS.iter().filter_map(|key| section.get(key)).collect();
    match runtime {
        Runtime::Python => {
            if given.is_empty() {
                report
                    .add("manifest.missing_key", section.place, &section.path, "names no code")
                    .expected(ONE_FORM)
                    .hint("such as `class_name: Weather`, a class in `main.py`");
            }
            for field in given.iter().skip(1) {
                field.conflict(report, "is a second way to name the code", ONE_FORM, None);
            }
        }
        // Not built yet, so their forms are open; the texts are judged all the same.
        Runtime::Javascript | Runtime::Wasm => {}
        Runtime::Mcp | Runtime::Container | Runtime::Openapi => {
            for field in given.iter().chain(section.get("module_path").as_ref()) {
                field.conflict(report, "names code, which this runtime does not have", "no code in the manifest", None);
            }
        }
    }
    if let (Some(field), Some(_)) = (section.get("module_path"), section.get("script"))
        && runtime == Runtime::Python
    {
        field.conflict(
            report,
            "does not go with `script`",
            "`script` alone",
            Some("a script is a file, not a module: remove `module_path`"),
        );
    }
    code
}

fn annotations(report: &mut Report, section: &Section<'_>) -> Annotations {
    let default = Annotations::default();
    let Some(section) = section.get("annotations").and_then(|field| Section::open(report, &field, keys::ANNOTATIONS)) else {
        return default;
    };
    let read_only = section.flag(report, "read_only", default.read_only);
    // What changes nothing destroys nothing: the cautious default holds only for tools that may write.
    let destructive = section.flag(report, "destructive", default.destructive && !read_only);
    if read_only
        && destructive
        && let Some(field) = section.get("destructive")
    {
        field.conflict(report, "contradicts `read_only: true`", "`destructive: false`", None);
    }
    Annotations {
        read_only,
        destructive,
        idempotent: section.flag(report, "idempotent", default.idempotent),
        open_world: section.flag(report, "open_world", default.open_world),
    }
}

fn example(report: &mut Report, field: &Field<'_>, args_schema: Option<&Map<String, Value>>) -> Option<Example> {
    let section = Section::open(report, field, keys::EXAMPLE)?;
    let query =
        section.require(report, "query", "a request in a person's words").and_then(|field| field.text(report, 500, Lines::Many));
    let args = section.object(report, "args");
    if let (Some(args), Some(field)) = (&args, section.get("args")) {
        let required = args_schema.and_then(|schema| schema.get("required")).and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str).filter(|name| !args.contains_key(*name)) {
            report
                .add("manifest.example", field.node.place, &field.path, format!("lacks the required argument {}", quote(name)))
                .expected("every argument that `args_schema` requires");
        }
    }
    let result = section.get("result").map(|field| field.node.to_value());
    Some(Example { query: query?, args, result })
}

/// A JSON Schema, with its problems told at their places.
pub(crate) fn schema(report: &mut Report, field: &Field<'_>, schema_use: SchemaUse) -> Option<Map<String, Value>> {
    let schema = field.object(report)?;
    let problems = check_schema(&schema, schema_use);
    for problem in &problems {
        let (node, place, path) = locate(field, problem);
        let draft = report.add(problem.code, place, &path, problem.message.clone());
        let draft = match &problem.expected {
            Some(expected) => draft.expected(expected),
            None => draft,
        };
        let draft = match (&node.kind, problem.at.is_empty()) {
            (_, true) => draft,
            _ => draft.found(node.describe()),
        };
        if let Some(hint) = &problem.hint {
            draft.hint(hint);
        }
    }
    problems.is_empty().then_some(schema)
}

/// The node that a problem is about; a problem of the whole schema is told at its key.
fn locate<'n>(field: &Field<'n>, problem: &SchemaProblem) -> (&'n Node, Place, Path) {
    let (mut node, mut path) = (field.node, field.path.clone());
    let mut place = field.key;
    for step in &problem.at {
        let child = match (&node.kind, step) {
            (Kind::Map(entries), Step::Key(key)) => entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value),
            (Kind::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        };
        let Some(child) = child else { break };
        path = match step {
            Step::Key(key) => path.key(key),
            Step::Index(index) => path.index(*index),
        };
        node = child;
        place = child.place;
    }
    (node, place, path)
}
