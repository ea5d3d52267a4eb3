//! The tensors of a `safetensors` file, and their 8-bit forms.

use safetensors::{Dtype, SafeTensors};

use super::bert::ConvertError;

/// The steps of one side: one less bit than fits, because processors without VNNI add pairs of products in 16 bits.
const STEPS: f32 = 63.0;

/// The weights of one model.
pub(super) struct Weights<'b> {
    tensors: SafeTensors<'b>,
    /// Before every name, as some exporters put it.
    prefix: &'static str,
}

/// A matrix in 8-bit steps, with what a step is worth for each group.
pub(super) struct Stepped {
    pub(super) steps: Vec<u8>,
    pub(super) scales: Vec<u8>,
}

impl<'b> Weights<'b> {
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, ConvertError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| ConvertError::Weights(error.to_string()))?;
        let prefix = if tensors.names().iter().any(|name| name.starts_with("bert.")) { "bert." } else { "" };
        Ok(Self { tensors, prefix })
    }

    /// A tensor of exactly this shape, as numbers.
    pub(super) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ConvertError> {
        let missing = |_| ConvertError::Missing { name: name.to_owned() };
        let tensor = self.tensors.tensor(&format!("{}{name}", self.prefix)).map_err(missing)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            let found = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Err(ConvertError::Shape { name: name.to_owned(), expected: format!("F32 {shape:?}"), found });
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        if numbers.iter().all(|number| number.is_finite()) {
            return Ok(numbers);
        }
        Err(ConvertError::Weights(format!("`{name}` holds numbers that are none")))
    }
}

/// The bytes of numbers.
pub(super) fn raw(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Rows in 8-bit steps, each with its own worth.
pub(super) fn by_row(numbers: &[f32], width: usize) -> Stepped {
    let mut steps = Vec::with_capacity(numbers.len());
    let mut scales = Vec::new();
    for row in numbers.chunks(width.max(1)) {
        let scale = worth(row.iter().copied(), 127.0);
        steps.extend(row.iter().map(|number| step(*number, scale, 127.0)));
        scales.push(scale);
    }
    Stepped { steps, scales: raw(&scales) }
}

/// A layer's matrix turned round, as `MatMul` wants it (`inputs` by `outputs`); each output has its own worth.
pub(super) fn turned(numbers: &[f32], inputs: usize, outputs: usize) -> Stepped {
    let rows: Vec<&[f32]> = numbers.chunks(inputs.max(1)).collect();
    let scales: Vec<f32> = rows.iter().map(|row| worth(row.iter().copied(), STEPS)).collect();
    let mut steps = vec![0; inputs * outputs];
    for (output, (row, scale)) in rows.iter().zip(&scales).enumerate() {
        for (place, number) in steps.iter_mut().skip(output).step_by(outputs.max(1)).zip(*row) {
            *place = step(*number, *scale, STEPS);
        }
    }
    Stepped { steps, scales: raw(&scales) }
}

fn worth(numbers: impl Iterator<Item = f32>, steps: f32) -> f32 {
    let largest = numbers.fold(0f32, |largest, number| largest.max(number.abs()));
    if largest > 0.0 { largest / steps } else { 1.0 }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to what fits before")]
fn step(number: f32, scale: f32, steps: f32) -> u8 {
    ((number / scale).round().clamp(-steps, steps) as i8).cast_unsigned()
}
