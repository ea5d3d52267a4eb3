//! JSON Schemas as values: those that libraries write are accepted, and what is accepted compiles and ends.

use manifest_schema::{MAX_SCHEMA_BYTES, SchemaProblem, SchemaUse, Step, check_schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn check(schema: &Value, schema_use: SchemaUse) -> Vec<SchemaProblem> {
    check_schema(schema.as_object().unwrap(), schema_use)
}

#[test]
fn schemas_as_libraries_write_them_are_accepted() {
    let good = [
        json!({"type": "object"}),
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x", "type": "object", "properties": {}, "required": []}),
        // A tree: it refers to itself for a part of the value.
        json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}),
        json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": null}},
               "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "title": "Node"}}}),
        json!({"type": "object", "properties": {"kind": {"const": "a", "type": "string"}, "pet": {"discriminator": {"propertyName": "kind"}, "oneOf": [{"$ref": "#/$defs/Cat~1Dog"}]}},
               "$defs": {"Cat/Dog": {"type": "object"}}}),
        json!({"type": "object", "properties": {"a": {"$ref": "#node"}, "b": {"$ref": "#/%24defs/free"}}, "$defs": {"n": {"$anchor": "node"}, "free": true}}),
        json!({"type": "object", "properties": {"p": {"type": "array", "prefixItems": [{"type": "number"}], "items": false}}, "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": {"type": "integer", "exclusiveMinimum": 0, "format": "int64", "examples": [1]}}, "x-extra": {"type": 3}}),
    ];
    for schema in good {
        assert_eq!(check(&schema, SchemaUse::Arguments), [], "{schema}");
        jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
    }
    assert_eq!(check(&json!({}), SchemaUse::Result), []);
    assert_eq!(check(&json!({"type": "string"}), SchemaUse::Result), []);
}

#[test]
fn derived_schemas_are_bounded_too() {
    let mut deep = json!({"type": "object"});
    for _ in 0..100 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let problems = check(&deep, SchemaUse::Arguments);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].code, problems[0].at.len()), ("manifest.too_deep", 64));
    let wide: Map<String, Value> = (0..9000).map(|number| (format!("a{number}"), json!({}))).collect();
    let problems = check(&json!({"type": "object", "properties": wide}), SchemaUse::Arguments);
    assert_eq!((problems.len(), problems[0].code), (1, "manifest.too_large"));
    assert_eq!(problems[0].expected, Some(format!("at most {MAX_SCHEMA_BYTES} bytes of JSON")));
}

#[test]
fn a_problem_says_the_way_to_its_place() {
    let problems = check(&json!({"type": "object", "properties": {"a": {"anyOf": [{}, {"type": "str"}]}}}), SchemaUse::Config);
    let key = |word: &str| Step::Key(word.to_owned());
    assert_eq!(problems[0].at, [key("properties"), key("a"), key("anyOf"), Step::Index(1), key("type")]);
}

fn any_schema() -> impl Strategy<Value = Value> {
    let reference =
        prop::sample::select(vec!["#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#x", "#/allOf/0", "other", "#/$defs/none"]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        reference.prop_map(|text| json!({"$ref": text})),
        prop::sample::select(vec!["string", "object", "null", "integer", "str"]).prop_map(|word| json!({"type": word})),
        (any::<i8>(), any::<i8>()).prop_map(|(low, high)| json!({"minLength": low, "maximum": high, "multipleOf": high})),
        prop::collection::vec("[a-c]", 0..3)
            .prop_map(|names| json!({"required": names, "enum": names, "dependentRequired": {"a": names}})),
        Just(json!({"$anchor": "x"})),
        Just(json!([])),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let keyed = prop::sample::select(vec!["properties", "$defs", "dependentSchemas", "patternProperties"]);
        let listed = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let single = prop::sample::select(vec![
            "items",
            "not",
            "if",
            "then",
            "else",
            "additionalProperties",
            "contains",
            "propertyNames",
            "unevaluatedProperties",
        ]);
        prop_oneof![
            (keyed, prop::collection::btree_map("[ab]", inner.clone(), 0..3)).prop_map(|(word, schemas)| json!({word: schemas})),
            (listed, prop::collection::vec(inner.clone(), 0..3)).prop_map(|(word, schemas)| json!({word: schemas})),
            (single, inner.clone()).prop_map(|(word, schema)| json!({word: schema})),
            (inner.clone(), inner).prop_map(|(one, other)| merged(one, other)),
        ]
    })
}

fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (_, other) => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever the validator would do with a circle: none reaches it, so every answer comes.
    #[test]
    fn what_is_accepted_compiles_and_ends(schema in any_schema(), value in prop_oneof![
        Just(json!({"a": {"a": {}, "b": 1}, "b": [1, "x"]})), Just(json!("x")), Just(json!(1)), Just(json!([{}])), Just(Value::Null),
    ]) {
        if let Value::Object(map) = &schema
            && check_schema(map, SchemaUse::Result).is_empty()
        {
            let validator = jsonschema::draft202012::new(&schema);
            prop_assert!(validator.is_ok(), "{schema}: {:?}", validator.err().map(|error| error.to_string()));
            let _ = validator.unwrap().is_valid(&value);
        }
    }
}
