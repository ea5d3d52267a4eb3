//! The compiled part of the Python package: a connection to an engine, the codec between JSON and Python, and checks of manifests.
//!
//! Nothing here starts a process, reads the environment or prints: that is the Python side's. No thread of ours ever takes the interpreter's
//! lock, so none can be caught by the end of the interpreter.

mod codec;
mod connection;
mod mailbox;
mod manifest;
mod pending;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Gone", module.py().get_type::<connection::Gone>())?;
    module.add("Stranger", module.py().get_type::<connection::Stranger>())?;
    module.add("TimedOut", module.py().get_type::<connection::TimedOut>())?;
    module.add_class::<connection::Connection>()?;
    module.add_class::<mailbox::Mailbox>()?;
    module.add_function(wrap_pyfunction!(manifest::check_manifest, module)?)?;
    module.add_function(wrap_pyfunction!(manifest::manifest_schema_json, module)?)?;
    Ok(())
}
