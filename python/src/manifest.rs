//! Checks of plugin.yaml in this process, by the parser that the program uses. Whether the files it names are there is `pegboard validate`.

use pyo3::{prelude::*, types::PyList};

use crate::codec;

/// Every problem of a manifest's text, with its place; an empty list when there is none.
#[pyfunction]
#[pyo3(signature = (text, file = "plugin.yaml"))]
pub(crate) fn check_manifest<'py>(py: Python<'py>, text: String, file: &str) -> PyResult<Bound<'py, PyList>> {
    let found = py.detach(|| manifest_schema::parse_bytes(file, text.as_bytes()).err());
    let list = PyList::empty(py);
    for diagnostic in found.into_iter().flat_map(|found| found.0) {
        list.append(codec::to_python(py, &serde_json::to_value(diagnostic).unwrap_or_default())?)?;
    }
    Ok(list)
}

/// The JSON Schema of plugin.yaml, as text.
#[pyfunction]
pub(crate) fn manifest_schema_json() -> String {
    manifest_schema::json_schema().to_string()
}
