//! What hostile text costs: bombs of every kind are refused, each in bounded time, and nothing panics.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use jsonschema::Validator;
use manifest_schema::{MAX_DIAGNOSTICS, MAX_MANIFEST_BYTES, Permission, json_schema, parse, parse_bytes};
use proptest::prelude::*;
use serde_json::Value;

use crate::good_manifests::{GOOD, read};

/// The promise, for the unoptimised build too.
const BOUND: Duration = Duration::from_millis(250);

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&json_schema()).unwrap());

const HEAD: &str = "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - {name: run, description: Runs, function: f}\n";

fn fill(part: &str) -> String {
    part.repeat(MAX_MANIFEST_BYTES / part.len())
}

fn body(part: &str, room: usize) -> String {
    part.repeat((MAX_MANIFEST_BYTES - room) / part.len())
}

/// A bomb, and the code that stops it.
fn bombs() -> Vec<(&'static str, String, &'static str)> {
    let many_keys: String = (0..6500).map(|number| format!("k{number}: 1\n")).collect();
    let many_tools: String = (0..3000).map(|_| "- {name: a, x: 1}\n").collect();
    let many_names: String = (0..2500).map(|number| format!("a{number}: {{type: x}},")).collect();
    let circle: String = (0..2000).map(|number| format!("a{number}: {{$ref: \"#/$defs/a0\"}},")).collect();
    let tool = |schema: &str| {
        format!(
            "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - name: run\n    description: R\n    function: f\n    args_schema: {schema}\n"
        )
    };
    let mut aliases = String::from("a0: &a0 x\n");
    for number in 1..2000 {
        aliases.push_str(&format!("a{number}: &a{number} [*a{0}, *a{0}]\n", number - 1));
    }
    vec![
        ("too large", "a".repeat(MAX_MANIFEST_BYTES + 1), "manifest.too_large"),
        ("flow lists", fill("["), "manifest.too_deep"),
        ("flow mappings", fill("{a: "), "manifest.too_deep"),
        ("mixed flow", fill("[{a: "), "manifest.too_deep"),
        ("block lists", fill("- "), "manifest.too_deep"),
        ("block mappings", (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(), "manifest.too_deep"),
        ("explicit keys", fill("? "), "manifest.too_deep"),
        ("aliases of aliases", aliases, "manifest.anchor"),
        ("anchors", (0..8000).map(|_| "- &a x\n").collect(), "manifest.anchor"),
        ("tags", fill("- !!x y\n"), "manifest.tag"),
        ("merge keys", format!("a: {{{}}}", body("<<: {}, ", 10)), "manifest.merge_key"),
        ("documents", fill("---\n"), "manifest.documents"),
        ("directives", fill("%TAG ! x\n"), "manifest.directive"),
        ("one key again and again", fill("a: 1\n"), "manifest.duplicate_key"),
        ("unknown keys", format!("{HEAD}{many_keys}"), "manifest.unknown_key"),
        ("broken tools", format!("mcps:\n{many_tools}"), "manifest.too_many"),
        ("a long key", format!("{HEAD}{}: 1", body("k", 200)), "manifest.syntax"),
        ("a long quoted key", format!("{HEAD}\"{}\": [1, 2]", body("é", 200)), "manifest.syntax"),
        ("a long name", format!("name: {}", body("a", 10)), "manifest.too_long"),
        ("a long number", format!("{HEAD}max_memory_mb: {}", body("9", 200)), "manifest.number"),
        ("quotes", fill("\"\" "), "manifest.syntax"),
        ("open quote", format!("a: \"{}", body("\\u0041", 10)), "manifest.syntax"),
        ("comments", format!("{}\nname: demo", body("# x\n", 20)), "manifest.missing_key"),
        ("comment after every item", format!("a: [{}]", body("1, # x\n", 20)), "manifest.unknown_key"),
        ("blank lines", format!("{}name: demo", body("\n", 20)), "manifest.missing_key"),
        ("colons", fill(": "), "manifest.key"),
        ("dashes and colons", fill("- a: "), "manifest.syntax"),
        ("block scalar", format!("b: |\n{}", body(" x\n", 10)), "manifest.unknown_key"),
        ("unseen characters", body("\u{202e}", 10), "manifest.character"),
        ("nul", fill("\0"), "manifest.character"),
        ("schema of many", tool(&format!("{{type: object, properties: {{{many_names}}}}}")), "manifest.schema_type"),
        ("schema of circles", tool(&format!("{{type: object, $defs: {{{circle}}}}}")), "manifest.schema_reference"),
        (
            "schema of long names",
            tool(&format!(
                "{{type: object, properties: {{{}: {{properties: {{{}}}}}}}}}",
                "n".repeat(900),
                body("a: {}, ", 2000)
            )),
            "manifest.duplicate_key",
        ),
    ]
}

/// The best of a few tries: other tests share the machine, and the bound is about the work.
fn quickest(work: impl Fn()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
        if best < BOUND / 2 {
            break;
        }
    }
    best
}

/// The most memory that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn every_bomb_is_refused_in_time() {
    let bombs = bombs();
    // Resets the peak: what the table itself took does not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    // Two ways to the same end: a key that is longer than any key.
    const SHARED: [&str; 1] = ["simple key expected"];
    let (mut said, mut alike): (HashMap<String, &str>, Vec<String>) = (HashMap::new(), Vec::new());
    for (name, text, code) in &bombs {
        let (name, code) = (*name, *code);
        let diagnostics = parse("bomb", text).expect_err(name);
        let took = quickest(|| drop(parse("bomb", text)));
        assert!(diagnostics.0.iter().any(|one| one.code == code), "{name}: {diagnostics:.300}");
        assert!(diagnostics.0.len() <= MAX_DIAGNOSTICS, "{name}: {} diagnostics", diagnostics.0.len());
        let told: usize = diagnostics.0.iter().map(|one| one.to_string().len()).sum();
        assert!(told < 100_000, "{name}: {told} bytes of diagnostics");
        let rendered = diagnostics.render(text, true).len();
        assert!(rendered < 200_000, "{name}: {rendered} bytes rendered");
        println!("{name}: {took:?}");
        assert!(took < BOUND, "{name} took {took:?}");
        let message = diagnostics.to_string();
        let shared = SHARED.iter().any(|shared| message.contains(shared));
        if let Some(other) = said.insert(message, name).filter(|_| !shared) {
            alike.push(format!("{name} and {other} both say {diagnostics}"));
        }
    }
    assert_eq!(alike, Vec::<String>::new());
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 * 1024, "memory grew by {grown} KiB");
}

#[test]
fn many_problems_are_cut_and_counted() {
    let text = format!("{HEAD}{}", (0..600).map(|number| format!("zz{number}: 1\n")).collect::<String>());
    let diagnostics = parse("many", &text).unwrap_err();
    assert_eq!(diagnostics.0.len(), MAX_DIAGNOSTICS);
    let places: Vec<_> = diagnostics.0.iter().map(|one| (one.line, one.column)).collect();
    assert!(places.is_sorted());
    let last = diagnostics.0.last().unwrap();
    assert_eq!((last.code, last.message.as_str()), ("manifest.too_many_problems", "has 551 more problems"));
}

/// Every known key with the path of the mapping it stands in, from the JSON Schema: not from the table that the parser itself uses.
fn known_keys() -> Vec<(String, Vec<String>)> {
    let schema = json_schema();
    let keys = |value: &Value| value["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut all = vec![("root".to_owned(), keys(&schema))];
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if definition["properties"].is_object() {
            all.push((name.clone(), keys(definition)));
        }
    }
    all
}

/// A manifest with one wrong key in the mapping of that name.
fn with_key(mapping: &str, key: &str) -> String {
    let tool = |inner: &str| {
        format!(
            "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - {{name: run, description: R, function: f, {inner}}}\n"
        )
    };
    let container = |inner: &str| {
        format!(
            "name: demo\nversion: 1.0.0\ndescription: A demo\nruntime: container\nmcps: [{{name: run, description: R}}]\n{inner}\n"
        )
    };
    match mapping {
        "root" => format!("{HEAD}{key}: 1\n"),
        "ToolSpec" => tool(&format!("{key}: 1")),
        "Annotations" => tool(&format!("annotations: {{{key}: true}}")),
        "Example" => tool(&format!("examples: [{{query: x, {key}: 1}}]")),
        "Dependency" => format!("{HEAD}dependencies: [{{name: x, {key}: 1}}]\n"),
        "Network" => format!("{HEAD}network: {{{key}: []}}\n"),
        "Filesystem" => format!("{HEAD}filesystem: {{{key}: []}}\n"),
        "ResourceLimits" => format!("{HEAD}resource_limits: {{{key}: 1}}\n"),
        "SecretSpec" => format!("{HEAD}secrets: [{{name: A, {key}: 1}}]\n"),
        "Container" => container(&format!("container: {{image: x, {key}: 1}}")),
        "ContainerPort" => container(&format!("container: {{image: x, ports: [{{container: 1, {key}: 1}}]}}")),
        "Volume" => container(&format!("container: {{image: x, volumes: [{{name: a, path: /a, {key}: 1}}]}}")),
        "Resources" => container(&format!("container: {{image: x, resources: {{{key}: 1}}}}")),
        "HealthCheck" => container(&format!("container: {{image: x, healthCheck: {{path: /, {key}: 1}}}}")),
        "Scale" => container(&format!("container: {{image: x, scale: {{max: 1, {key}: 1}}}}")),
        "Api" => container(&format!("container: {{image: x}}\napi: {{{key}: 1}}")),
        "UpstreamServer" => format!("name: demo\nversion: 1.0.0\ndescription: A demo\nruntime: mcp\nmcp: {{{key}: x}}\n"),
        other => panic!("the schema has a mapping that this test does not know: {other}"),
    }
}

/// Levenshtein with transpositions of neighbours, written for this test.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
    for row in 0..=left.len() {
        for column in 0..=right.len() {
            table[row][column] = if row == 0 || column == 0 {
                row + column
            } else {
                let same = usize::from(left[row - 1] != right[column - 1]);
                let mut best =
                    (table[row - 1][column] + 1).min(table[row][column - 1] + 1).min(table[row - 1][column - 1] + same);
                if row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1] {
                    best = best.min(table[row - 2][column - 2] + 1);
                }
                best
            };
        }
    }
    table[left.len()][right.len()]
}

fn edit(word: &str, kind: u8, at: usize, letter: char) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let place = at % letters.len();
    match kind % 4 {
        0 => letters.insert(place, letter),
        1 if letters.len() > 1 => drop(letters.remove(place)),
        2 => letters[place] = letter,
        _ if place + 1 < letters.len() => letters.swap(place, place + 1),
        _ => letters.push(letter),
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_key(
        which in any::<prop::sample::Index>(), key in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<u8>(), any::<usize>(), proptest::char::range('a', 'z')), 1..=2),
    ) {
        let all = known_keys();
        let (mapping, keys) = which.get(&all);
        let key = key.get(keys);
        let typo = edits.iter().fold(key.clone(), |word, (kind, at, letter)| edit(&word, *kind, *at, *letter));
        prop_assume!(!keys.contains(&typo) && !["", "~", "true", "null", "y", "n", "_", "-"].contains(&typo.as_str()));
        prop_assume!(!typo.starts_with('-') && distance(&typo, key) <= 2);
        let diagnostics = parse("typo", &with_key(mapping, &typo)).unwrap_err();
        let told = diagnostics.0.iter().find(|one| one.code == "manifest.unknown_key");
        let hint = told.and_then(|one| one.hint.clone()).unwrap_or_default();
        // Two edits may come nearer to another key, or as near to two.
        let least = keys.iter().map(|known| distance(&typo, known)).min().unwrap();
        let near = distance(&typo, key) == least || hint.contains("did you mean");
        let folded = |word: &str| word.replace(['_', '-'], "").to_lowercase();
        let same_letters = keys.iter().any(|known| folded(known) == folded(&typo));
        prop_assert!(near && hint.contains("did you mean"), "{typo}: {hint}");
        if distance(&typo, key) == least && !same_letters {
            prop_assert!(hint.contains(&format!("`{key}`")), "{typo} of {key}: {hint}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Err(diagnostics) = parse_bytes("bytes", &bytes) {
            prop_assert!(!diagnostics.0.is_empty());
            let _ = diagnostics.render(&String::from_utf8_lossy(&bytes), true);
        }
    }

    #[test]
    fn yaml_like_text_never_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "name", "mcps", "version", "args_schema", "tools", ": ", ":\n", "\n", "\n  ", "\n    ", "- ", "? ", "[", "]", "{", "}", ", ", "\"", "'", "|\n",
        ">\n", "&a ", "*a ", "!!str ", "<<: ", "---\n", "...\n", "%YAML 1.2\n", "# c\n", "\t", "\r\n", "~", "true", "1.0", "0x1F", ".inf", "1e9", "é",
        "\u{202e}", "$ref", "#/a", "type", "object", "\\u0000", "\\", "\u{0}", "\u{feff}", "@", "`", "%",
    ]), 0..80)) {
        let text = parts.concat();
        match parse("text", &text) {
            Ok(manifest) => prop_assert!(!manifest.name.as_str().is_empty()),
            Err(diagnostics) => {
                prop_assert!(!diagnostics.0.is_empty() && diagnostics.0.len() <= MAX_DIAGNOSTICS);
                let _ = diagnostics.render(&text, false);
            }
        }
    }

    #[test]
    fn a_good_manifest_with_one_change_never_panics_and_what_is_accepted_reads_back(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), length in 0_usize..6, insert in "[ -~\\n]{0,4}",
    ) {
        let (_, text) = which.get(GOOD);
        let mut letters: Vec<char> = text.chars().collect();
        let start = at.index(letters.len());
        let end = (start + length).min(letters.len());
        letters.splice(start..end, insert.chars());
        let changed: String = letters.into_iter().collect();
        if let Ok(manifest) = parse("changed", &changed) {
            let yaml = serde_saphyr::to_string(&manifest).unwrap();
            prop_assert_eq!(read("again", &yaml), manifest);
        }
    }

    #[test]
    fn any_values_within_the_rules_read_back(
        name in "[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8}){0,2}", description in "[ -~éß漢👍]{0,60}[a-z!]", major in 0_u64..1000,
        memory in 16_u32..=65_536, seconds in 1_u32..=86_400, powers in prop::sample::subsequence(Permission::ALL.to_vec(), 0..=11),
        words in prop::collection::btree_set("[ -~]{0,20}[a-z0-9]", 0..5), network in any::<bool>(),
    ) {
        let mut manifest = read("minimal", GOOD[4].1);
        manifest.name = manifest_schema::PluginName::parse(&name).unwrap();
        manifest.description = description;
        manifest.version.major = major;
        manifest.max_memory_mb = memory;
        manifest.max_execution_time = seconds;
        manifest.permissions = powers;
        manifest.keywords = words.into_iter().collect();
        manifest.requires_network = network;
        let yaml = serde_saphyr::to_string(&manifest).unwrap();
        prop_assert_eq!(&read("yaml", &yaml), &manifest);
        let json = serde_json::to_string(&manifest).unwrap();
        prop_assert_eq!(&read("json", &json), &manifest);
        prop_assert!(VALIDATOR.is_valid(&serde_json::from_str(&json).unwrap()));
    }
}
