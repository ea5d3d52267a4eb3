//! The tools of the plugin: functions from inputs to outputs. What a client sees of them is in plugin.yaml.

use serde_json::{Map, Value, json};

/// Runs a tool by its name.
pub fn run(tool: &str, inputs: &Map<String, Value>) -> Result<Value, String> {
    match tool {
        "count_words" => count_words(inputs),
        other => Err(format!("no tool `{other}`")),
    }
}

fn count_words(inputs: &Map<String, Value>) -> Result<Value, String> {
    let text = inputs.get("text").and_then(Value::as_str).ok_or("`text` is missing")?;
    Ok(json!({
        "words": text.split_whitespace().count(),
        "lines": text.lines().count(),
        "characters": text.chars().count(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let inputs = json!({"text": "two words"});
        let said = run("count_words", inputs.as_object().unwrap()).unwrap();
        assert_eq!(said, json!({"words": 2, "lines": 1, "characters": 9}));
        assert!(run("none", &Map::new()).is_err());
    }
}
