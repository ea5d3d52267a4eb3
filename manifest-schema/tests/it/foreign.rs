//! Manifests of other hosts: whatever they say, they become a manifest of ours or are refused, and nothing panics.

use manifest_schema::foreign::{ForeignPlugin, Form, convert};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn source(name: &str) -> Option<String> {
    match name {
        "main.py" => Some("class A:\n    def execute(self, input): pass\n\ndef execute_plugin(inputs): pass\n".to_owned()),
        "requirements.txt" => Some("requests>=2\n-e .\n".to_owned()),
        _ => None,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z_]{1,10}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 18] = [
    "verb",
    "actionVerb",
    "name",
    "version",
    "description",
    "inputDefinitions",
    "outputDefinitions",
    "language",
    "entryPoint",
    "security",
    "configuration",
    "metadata",
    "plugin_id",
    "entry_point",
    "permissions",
    "dependencies",
    "config_schema",
    "category",
];

proptest! {
    #[test]
    fn any_values_under_the_known_keys_are_taken_or_refused(values in prop::collection::vec((0..KEYS.len(), value()), 0..10), verbs in any::<bool>()) {
        let mut document: Map<String, Value> = values.into_iter().map(|(key, value)| (KEYS[key].to_owned(), value)).collect();
        document.entry("verb").or_insert(json!("do it"));
        let form = if verbs { Form::ManifestJson } else { Form::PluginJson };
        let text = Value::Object(document).to_string();
        let plugin = ForeignPlugin { folder: "folder", form, manifest: &text, file: &source };
        if let Ok(converted) = convert(&plugin) {
            let name = converted.manifest["name"].as_str().unwrap();
            prop_assert!(manifest_schema::PluginName::parse(name).is_ok(), "{name}");
            prop_assert!(converted.manifest["mcps"][0]["description"].as_str().unwrap().len() <= 8000);
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,200}") {
        for form in Form::ALL {
            let _ = convert(&ForeignPlugin { folder: "folder", form, manifest: &text, file: &source });
        }
    }
}

#[test]
fn a_whole_manifest_becomes_ours() {
    let manifest = json!({
        "actionVerb": "Summarize text", "name": "Summarizer", "version": "v1.2", "description": "Sums up", "language": "Python",
        "inputDefinitions": [{"name": "text", "type": "text", "required": true}, {"name": "most", "type": "int", "default": 3}, {"type": "x"}],
        "entryPoint": {"main": "main.py", "packageSource": {"requirements": "requirements.txt"}},
        "security": {"permissions": ["net.fetch", "gpu"], "sandboxOptions": {"timeout": 30_000, "memory": "512MB"}},
        "metadata": {"author": "A Person", "tags": ["Text", "NLP"], "category": "Text Processing"},
    });
    let text = manifest.to_string();
    let converted = convert(&ForeignPlugin { folder: "x", form: Form::ManifestJson, manifest: &text, file: &source }).unwrap();
    let ours = Value::Object(converted.manifest.clone());
    for (pointer, expected) in [
        ("/name", json!("summarizer")),
        ("/version", json!("1.2.0")),
        ("/mcps/0/name", json!("summarize_text")),
        ("/mcps/0/args_schema/required", json!(["text"])),
        ("/mcps/0/args_schema/properties/most", json!({"type": "integer", "default": 3})),
        ("/max_execution_time", json!(30)),
        ("/max_memory_mb", json!(512)),
        ("/permissions", json!(["network_access"])),
        ("/dependencies", json!([{"name": "requests", "source": "pypi", "version": ">=2"}])),
        ("/keywords", json!(["text", "nlp"])),
        ("/category", json!("text_processing")),
    ] {
        assert_eq!(ours.pointer(pointer), Some(&expected), "{pointer}");
    }
    let notes = converted.notes.join("\n");
    for words in ["without a name", "`gpu` means none", "`-e .` is no plain package"] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
}
