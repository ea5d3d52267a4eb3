//! The few messages of the ONNX format that a graph needs, as protocol buffer bytes. Field numbers are those of `onnx.proto`.

/// Element types of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float = 1,
    Int8 = 3,
    Int64 = 7,
}

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    Ints(&'a str, &'a [i64]),
}

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(super) fn int(&mut self, field: u32, number: i64) {
        self.varint(u64::from(field) << 3);
        self.varint(number.cast_unsigned());
    }

    fn float(&mut self, field: u32, number: f32) {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    pub(super) fn message(&mut self, field: u32, message: &Self) {
        self.bytes(field, &message.0);
    }
}

/// `NodeProto`.
pub(super) fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute<'_>]) -> Message {
    let mut node = Message::default();
    inputs.iter().for_each(|input| node.text(1, input));
    outputs.iter().for_each(|output| node.text(2, output));
    node.text(4, operator);
    for attribute in attributes {
        let mut message = Message::default();
        match attribute {
            Attribute::Float(name, number) => {
                message.text(1, name);
                message.float(2, *number);
                message.int(20, 1);
            }
            Attribute::Int(name, number) => {
                message.text(1, name);
                message.int(3, *number);
                message.int(20, 2);
            }
            Attribute::Ints(name, numbers) => {
                message.text(1, name);
                numbers.iter().for_each(|number| message.int(8, *number));
                message.int(20, 7);
            }
        }
        node.message(5, &message);
    }
    node
}

/// `TensorProto`.
pub(super) fn tensor(name: &str, element: Element, shape: &[usize], raw: &[u8]) -> Message {
    let mut tensor = Message::default();
    shape.iter().for_each(|size| tensor.int(1, *size as i64));
    tensor.int(2, element as i64);
    tensor.text(8, name);
    tensor.bytes(9, raw);
    tensor
}

/// `ValueInfoProto` of a tensor; sizes are names, since they differ from call to call, or numbers.
pub(super) fn value(name: &str, element: Element, shape: &[Result<usize, &str>]) -> Message {
    let mut dimensions = Message::default();
    for size in shape {
        let mut dimension = Message::default();
        match size {
            Ok(number) => dimension.int(1, *number as i64),
            Err(name) => dimension.text(2, name),
        }
        dimensions.message(1, &dimension);
    }
    let mut tensor = Message::default();
    tensor.int(1, element as i64);
    tensor.message(2, &dimensions);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.text(1, name);
    value.message(2, &kind);
    value
}
