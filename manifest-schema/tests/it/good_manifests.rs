//! Good manifests: every key is read, what is written out reads back the same, and the JSON Schema accepts them.

use manifest_schema::{
    Annotations, CertificationLevel, DependencySource, Entry, Isolation, Manifest, Permission, Runtime, json_schema, parse,
    parse_bytes,
};
use semver::Version;
use serde_json::{Value, json};

pub(crate) const GOOD: &[(&str, &str)] = &[
    ("full", include_str!("good/full.yaml")),
    ("container", include_str!("good/container.yaml")),
    ("mcp-command", include_str!("good/mcp-command.yaml")),
    ("mcp-url", include_str!("good/mcp-url.yaml")),
    ("minimal", include_str!("good/minimal.yaml")),
];

pub(crate) fn read(name: &str, text: &str) -> Manifest {
    parse(name, text).unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(text, false)))
}

#[test]
fn the_full_example_is_read_key_by_key() {
    let manifest = read("full", GOOD[0].1);
    assert_eq!(manifest.name.as_str(), "text_analysis");
    assert_eq!(manifest.version, Version::new(1, 2, 0));
    assert_eq!(manifest.runtime, Runtime::Python);
    let entries: Vec<_> = manifest.mcps.iter().map(|tool| tool.entry().unwrap()).collect();
    let expected = [
        Entry::Class { module: "main", class: "TextStatistics" },
        Entry::Function { module: "nlp/sentiment", function: "execute_plugin" },
        Entry::Script { file: "bin/keywords.py" },
    ];
    assert_eq!(entries, expected);
    assert_eq!(manifest.mcps[1].description, "Tell whether a text is friendly or not\n");
    assert_eq!(
        manifest.mcps[0].annotations,
        Annotations { read_only: true, destructive: false, idempotent: true, open_world: false }
    );
    assert_eq!(manifest.mcps[1].annotations, Annotations::default());
    assert_eq!(manifest.mcps[0].examples[0].result, Some(json!({"words": 3, "longest": "three"})));
    let sources: Vec<_> = manifest.dependencies.iter().map(|one| (one.name.as_str(), one.source, one.optional)).collect();
    let expected = [
        ("requests", DependencySource::Pypi, false),
        ("httpx[http2]", DependencySource::Pypi, false),
        ("weather", DependencySource::Marketplace, true),
        ("https://git.example.org/plugins/words", DependencySource::Git, false),
        ("@example/words", DependencySource::Npm, false),
    ];
    assert_eq!(sources, expected);
    assert_eq!(manifest.permissions, [Permission::ExternalApi, Permission::EnvRead]);
    assert_eq!(manifest.network.unwrap().hosts.len(), 4);
    assert_eq!(manifest.filesystem.unwrap().read, ["$data", "$data/books", "/srv/texts"]);
    assert_eq!(manifest.isolation, Isolation::Call);
    assert_eq!(manifest.secrets[0].name, "OPENWEATHER_API_KEY");
    assert_eq!(manifest.certification_level, Some(CertificationLevel::Standard));
    assert_eq!(manifest.max_core_version, Some(Version::parse("1.0.0-rc.1").unwrap()));
}

#[test]
fn the_fixtures_use_every_key_of_the_schema() {
    let schema = json_schema();
    let keys = |schema: &Value| -> Vec<String> { schema["properties"].as_object().unwrap().keys().cloned().collect() };
    let mut all: Vec<String> = keys(&schema);
    for definition in schema["$defs"].as_object().unwrap().values().filter(|definition| definition["properties"].is_object()) {
        all.extend(keys(definition));
    }
    let text: String = GOOD.iter().map(|(_, text)| *text).collect();
    let unused: Vec<&String> = all.iter().filter(|key| !text.contains(&format!("{key}:"))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn what_is_written_out_reads_back_the_same() {
    for (name, text) in GOOD {
        let manifest = read(name, text);
        let yaml = serde_saphyr::to_string(&manifest).unwrap();
        assert_eq!(read(name, &yaml), manifest, "{yaml}");
        let json = serde_json::to_string_pretty(&manifest).unwrap();
        assert_eq!(read(name, &json), manifest, "{json}");
    }
}

#[test]
fn a_read_only_tool_is_not_destructive_unless_it_says_so() {
    let manifest = read("mcp-url", GOOD[3].1);
    assert_eq!(
        manifest.mcps[0].annotations,
        Annotations { read_only: true, destructive: false, idempotent: false, open_world: true }
    );
}

#[test]
fn the_json_schema_accepts_every_good_manifest_and_refuses_mistakes() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$id"].is_string() && schema["title"].is_string());
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, text) in GOOD {
        let written = serde_saphyr::from_str::<Value>(text).unwrap();
        let told: Vec<String> = validator.iter_errors(&written).map(|error| format!("{name}: {error}")).collect();
        assert!(told.is_empty(), "{told:?}");
        let out = serde_json::to_value(read(name, text)).unwrap();
        assert!(validator.is_valid(&out), "{out}");
    }
    let good = serde_json::to_value(read("minimal", GOOD[4].1)).unwrap();
    for (pointer, bad) in [
        ("/name", json!("Demo")),
        ("/version", json!("1.0")),
        ("/version", json!(1.0)),
        ("/unknown", json!(1)),
        ("/author", Value::Null),
        ("/max_memory_mb", json!(8)),
        ("/mcps/0/unknown", json!(1)),
        ("/mcps/0/complexity_threshold", json!(101)),
        ("/tools", good["mcps"].clone()),
        ("/runtime", json!("perl")),
    ] {
        let mut manifest = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), bad);
        assert!(!validator.is_valid(&manifest), "{pointer} was accepted");
        assert!(parse("x", &manifest.to_string()).is_err(), "{pointer} was parsed");
    }
}

#[test]
fn every_key_of_the_json_schema_is_described() {
    fn look(path: &str, value: &Value, missing: &mut Vec<String>) {
        for (key, property) in value["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string() || property["$ref"].is_string();
            if !described {
                missing.push(format!("{path}.{key}"));
            }
        }
    }
    let schema = json_schema();
    let mut missing = Vec::new();
    look("", &schema, &mut missing);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        look(name, definition, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn core_versions_are_bounds_and_both_ends_belong() {
    let mut manifest = read("minimal", GOOD[4].1);
    let ok = |manifest: &Manifest, version: &str| {
        manifest.core_version_ok(&Version::parse(version).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(ok(&manifest, "9.9.9"), Ok(()));
    manifest.min_core_version = Some(Version::new(0, 2, 0));
    manifest.max_core_version = Some(Version::new(0, 4, 0));
    assert_eq!(ok(&manifest, "0.2.0"), Ok(()));
    assert_eq!(ok(&manifest, "0.4.0"), Ok(()));
    assert_eq!(ok(&manifest, "0.1.9"), Err("plugin needs Pegboard `0.2.0` or newer, this is `0.1.9`".to_owned()));
    assert_eq!(ok(&manifest, "0.4.1"), Err("plugin needs Pegboard `0.4.0` or older, this is `0.4.1`".to_owned()));
}

#[test]
fn served_names_join_plugin_and_tool() {
    let manifest = read("full", GOOD[0].1);
    let names: Vec<String> = manifest.served().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["text_analysis__text_statistics", "text_analysis__sentiment", "text_analysis__keywords"]);
}

#[test]
fn bytes_that_are_not_text_are_told_at_their_place() {
    let error = parse_bytes("plugin.yaml", b"name: demo\nauthor: \xc3\xa9\xff").unwrap_err();
    let [diagnostic] = error.0.as_slice() else { panic!("{error}") };
    assert_eq!((diagnostic.code, diagnostic.line, diagnostic.column), ("manifest.encoding", 2, 10));
    assert_eq!(diagnostic.found.as_deref(), Some("byte 0xFF"));
    assert_eq!(parse_bytes("minimal", GOOD[4].1.as_bytes()).unwrap(), read("minimal", GOOD[4].1));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", GOOD[0].1.replace('\n', "\r\n"));
    assert_eq!(read("full", &text), read("full", GOOD[0].1));
}

#[test]
fn the_reference_names_every_key_and_every_default() {
    let reference = include_str!("../../../docs/reference/manifest.md");
    let schema = json_schema();
    let mut missing = Vec::new();
    for (name, mapping) in schema["$defs"].as_object().unwrap().iter().chain([(&"root".to_owned(), &schema)]) {
        for (key, property) in mapping["properties"].as_object().into_iter().flatten() {
            let rows: Vec<&str> = reference
                .lines()
                .filter(|line| line.starts_with(&format!("| `{key}`")) || line.contains(&format!(".{key}` |")))
                .collect();
            let named = !rows.is_empty()
                || [format!("`{key}` is another name"), format!("`container.{key}."), format!("`container.{key}[].")]
                    .iter()
                    .any(|form| reference.contains(form));
            let default = match &property["default"] {
                Value::Number(number) => Some(number.to_string()),
                Value::String(word) => Some(word.clone()),
                _ => None,
            };
            let told = default.is_none_or(|default| rows.iter().any(|row| row.contains(&format!("| `{default}` |"))));
            if !named || !told {
                missing.push(format!("{name}.{key}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_plugins_of_this_repository_are_good_manifests() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path().join("plugin.yaml");
        if file.exists() {
            read(&file.display().to_string(), &std::fs::read_to_string(&file).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} plugins");
}
