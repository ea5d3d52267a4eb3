//! The part of a confined Python process that must not be Python: the last walls (seccomp, Landlock, rlimits), the framed
//! protocol on a private descriptor, descriptors handed to the host, and the zygote's forks.
//!
//! Loaded by the zygote before any byte of a plugin. Starts no thread, takes no lock and keeps no state, so that a fork copies
//! nothing that could hang. What a call means is not known here: frames are bytes.

#[path = "../../../../sandbox/src/bpf.rs"]
mod bpf;
mod channel;
mod steady;
mod walls;

use pyo3::prelude::*;

/// The Python module `pegboard_worker`.
#[pymodule]
fn pegboard_worker(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(walls::forbid_exec, module)?)?;
    module.add_function(wrap_pyfunction!(walls::enter_call, module)?)?;
    module.add_function(wrap_pyfunction!(walls::usage, module)?)?;
    module.add_function(wrap_pyfunction!(steady::serve_orders, module)?)?;
    module.add_function(wrap_pyfunction!(channel::open_pair, module)?)?;
    module.add_function(wrap_pyfunction!(channel::send_message, module)?)?;
    module.add_function(wrap_pyfunction!(channel::receive_message, module)?)?;
    module.add_function(wrap_pyfunction!(channel::read_frame, module)?)?;
    module.add_function(wrap_pyfunction!(channel::write_frame, module)?)?;
    Ok(())
}
