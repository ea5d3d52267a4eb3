//! Rankings as files: one JSON object `{query id: [tool ids]}`, or a line a query, `{"id": …, "ranked": […]}`; the latter is written.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dataset::{Dataset, EvalError, lines, text, wrong};
use super::metrics::{Metrics, score};

/// A ranking for each query, best first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rankings(pub HashMap<String, Vec<String>>);

#[derive(Deserialize, Serialize)]
struct Line {
    id: String,
    ranked: Vec<String>,
}

impl Rankings {
    /// Reads either form.
    ///
    /// # Errors
    /// [`EvalError`] with the line that does not fit.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        if let Ok(Value::Object(whole)) = serde_json::from_str(&text(path)?)
            && !whole.contains_key("ranked")
        {
            let ranked = |value| serde_json::from_value(value).map_err(|error| wrong(path, 0, error.to_string()));
            return whole.into_iter().map(|(id, value)| Ok((id, ranked(value)?))).collect::<Result<_, _>>().map(Self);
        }
        Ok(Self(lines::<Line>(path)?.into_iter().map(|(_, line)| (line.id, line.ranked)).collect()))
    }

    /// A line a query, in the order of the set.
    pub fn to_lines(&self, set: &Dataset) -> String {
        let mut text = String::new();
        for query in &set.queries {
            if let Some(ranked) = self.0.get(&query.id) {
                // A string and a list of strings cannot fail to be JSON, and a String takes all that is written into it.
                let line = serde_json::to_string(&Line { id: query.id.clone(), ranked: ranked.clone() }).unwrap_or_default();
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// The metrics of every query of the set, in its order; a query without a ranking has none of its answers.
    pub fn judge(&self, set: &Dataset) -> Vec<Metrics> {
        let ranked = |id: &str| self.0.get(id).map(Vec::as_slice).unwrap_or_default();
        set.queries.iter().map(|query| score(query, ranked(&query.id))).collect()
    }
}
