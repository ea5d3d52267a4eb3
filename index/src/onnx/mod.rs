//! A sentence encoder's weights as an ONNX file that the runtime takes: a BERT of any size, its matrices in 8-bit steps.
//!
//! Packages carry such encoders as `safetensors`, without a graph. The graph is always the same, so it is written here rather than by a Python
//! that would have to be installed for it. The same weights give the same bytes everywhere, so that a digest of the result can be pinned.
//! Bytes in, bytes out: no file is read or written.

mod bert;
mod message;
mod weights;

pub use bert::{ConvertError, bert_to_onnx};
