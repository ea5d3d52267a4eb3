//! The graph of a BERT encoder, written node by node in the order of its computation.

use serde::Deserialize;

use super::message::{Attribute, Element, Message, node, tensor, value};
use super::weights::{Weights, by_row, raw, turned};

/// Sizes that no encoder of ours has; a config must not decide how much memory is asked for.
const MAX_LAYERS: usize = 48;
const MAX_WIDTH: usize = 8192;
/// Added to the scores of positions that are padding.
const FAR: f32 = -1e9;

/// Why weights could not be made into a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// `config.json` is not that of a BERT.
    #[error("config.json: {0}")]
    Config(String),
    /// The file of weights is not one, or holds numbers that are none.
    #[error("weights: {0}")]
    Weights(String),
    /// A tensor is not there.
    #[error("weights: there is no tensor `{name}`")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor is not what the config says.
    #[error("weights: tensor `{name}`: expected {expected}, found {found}")]
    Shape {
        /// Its name.
        name: String,
        /// Type and sizes by the config.
        expected: String,
        /// Type and sizes in the file.
        found: String,
    },
}

#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    vocab_size: usize,
    layer_norm_eps: f32,
}

/// The ONNX file of a BERT encoder: inputs `input_ids`, `attention_mask`, `token_type_ids`, output `last_hidden_state`.
///
/// # Errors
/// [`ConvertError`] where config and weights are not those of one BERT in 32-bit floats.
pub fn bert_to_onnx(config: &[u8], safetensors: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let config: Config = serde_json::from_slice(config).map_err(|error| ConvertError::Config(error.to_string()))?;
    check(&config)?;
    let mut graph = Graph { config: &config, weights: Weights::read(safetensors)?, nodes: Message::default(), made: 0 };
    let mask = graph.mask();
    let mut state = graph.embeddings()?;
    for layer in 0..config.num_hidden_layers {
        state = graph.layer(layer, &state, &mask)?;
    }
    graph.add("Identity", &[&state], "last_hidden_state", &[]);
    Ok(graph.into_model())
}

fn check(config: &Config) -> Result<(), ConvertError> {
    let wrong = |problem: &str| Err(ConvertError::Config(problem.to_owned()));
    if config.model_type != "bert" || config.hidden_act != "gelu" {
        return wrong("expected model_type `bert` with hidden_act `gelu`");
    }
    let heads = config.num_attention_heads;
    if heads == 0 || config.hidden_size == 0 || !config.hidden_size.is_multiple_of(heads) {
        return wrong("hidden_size is no multiple of num_attention_heads");
    }
    if config.num_hidden_layers > MAX_LAYERS || config.hidden_size > MAX_WIDTH || config.intermediate_size > 4 * MAX_WIDTH {
        return wrong("larger than any model that fits here");
    }
    Ok(())
}

/// A graph that is being written. Values are named by a counter; the names of inputs and the output are the runtime's.
struct Graph<'c, 'b> {
    config: &'c Config,
    weights: Weights<'b>,
    /// Fields of the `GraphProto`, in any order.
    nodes: Message,
    made: usize,
}

impl Graph<'_, '_> {
    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("v{}", self.made)
    }

    fn add(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute<'_>]) {
        self.nodes.message(1, &node(operator, inputs, &[output], attributes));
    }

    /// A node with one output of a new name.
    fn then(&mut self, operator: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> String {
        let output = self.fresh();
        self.add(operator, inputs, &output, attributes);
        output
    }

    fn constant(&mut self, element: Element, shape: &[usize], bytes: &[u8]) -> String {
        let name = self.fresh();
        self.nodes.message(5, &tensor(&name, element, shape, bytes));
        name
    }

    fn number(&mut self, number: f32) -> String {
        self.constant(Element::Float, &[], &number.to_le_bytes())
    }

    fn integers(&mut self, shape: &[usize], numbers: &[i64]) -> String {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(Element::Int64, shape, &bytes)
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Result<String, ConvertError> {
        let numbers = self.weights.floats(name, shape)?;
        Ok(self.constant(Element::Float, shape, &raw(&numbers)))
    }

    /// 0 where there is a token, far below where there is none; for all heads and all askers.
    fn mask(&mut self) -> String {
        let axes = self.integers(&[2], &[1, 2]);
        let wide = self.then("Unsqueeze", &["attention_mask", &axes], &[]);
        let wide = self.then("Cast", &[&wide], &[Attribute::Int("to", 1)]);
        let (one, far) = (self.number(1.0), self.number(FAR));
        let absent = self.then("Sub", &[&one, &wide], &[]);
        self.then("Mul", &[&absent, &far], &[])
    }

    fn embeddings(&mut self) -> Result<String, ConvertError> {
        let (width, config) = (self.config.hidden_size, self.config);
        let words = self.weights.floats("embeddings.word_embeddings.weight", &[config.vocab_size, width])?;
        let words = by_row(&words, width);
        let steps = self.constant(Element::Int8, &[config.vocab_size, width], &words.steps);
        let scales = self.constant(Element::Float, &[config.vocab_size, 1], &words.scales);
        let word = self.then("Gather", &[&steps, "input_ids"], &[]);
        let word = self.then("Cast", &[&word], &[Attribute::Int("to", 1)]);
        let scale = self.then("Gather", &[&scales, "input_ids"], &[]);
        let word = self.then("Mul", &[&word, &scale], &[]);
        let kinds = self.floats("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, width])?;
        let kind = self.then("Gather", &[&kinds, "token_type_ids"], &[]);
        let positions = self.floats("embeddings.position_embeddings.weight", &[config.max_position_embeddings, width])?;
        let shape = self.then("Shape", &["input_ids"], &[]);
        let (zero, one) = (self.integers(&[], &[0]), self.integers(&[], &[1]));
        let length = self.then("Gather", &[&shape, &one], &[]);
        let places = self.then("Range", &[&zero, &length, &one], &[]);
        let position = self.then("Gather", &[&positions, &places], &[]);
        let sum = self.then("Add", &[&word, &kind], &[]);
        let sum = self.then("Add", &[&sum, &position], &[]);
        self.norm(&sum, "embeddings.LayerNorm")
    }

    fn layer(&mut self, number: usize, state: &str, mask: &str) -> Result<String, ConvertError> {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let of = |part: &str| format!("encoder.layer.{number}.{part}");
        let stepped = self.stepped(state);
        let query = self.linear(&stepped, &of("attention.self.query"), width, width)?;
        let key = self.linear(&stepped, &of("attention.self.key"), width, width)?;
        let values = self.linear(&stepped, &of("attention.self.value"), width, width)?;
        let seen = self.attention(&query, &key, &values, mask);
        let stepped = self.stepped(&seen);
        let seen = self.linear(&stepped, &of("attention.output.dense"), width, width)?;
        let sum = self.then("Add", &[&seen, state], &[]);
        let state = self.norm(&sum, &of("attention.output.LayerNorm"))?;
        let stepped = self.stepped(&state);
        let wide = self.linear(&stepped, &of("intermediate.dense"), width, inner)?;
        let wide = self.gelu(&wide);
        let stepped = self.stepped(&wide);
        let narrow = self.linear(&stepped, &of("output.dense"), inner, width)?;
        let sum = self.then("Add", &[&narrow, &state], &[]);
        self.norm(&sum, &of("output.LayerNorm"))
    }

    fn attention(&mut self, query: &str, key: &str, values: &str, mask: &str) -> String {
        let (heads, width) = (self.config.num_attention_heads, self.config.hidden_size);
        let each = width / heads;
        let by_head = self.integers(&[4], &[0, 0, heads as i64, each as i64]);
        let together = self.integers(&[3], &[0, 0, width as i64]);
        let scale = self.number(1.0 / (each as f32).sqrt());
        let mut turned = |value: &str, order: &[i64]| {
            let cut = self.then("Reshape", &[value, &by_head], &[]);
            self.then("Transpose", &[&cut], &[Attribute::Ints("perm", order)])
        };
        let (query, key) = (turned(query, &[0, 2, 1, 3]), turned(key, &[0, 2, 3, 1]));
        let values = turned(values, &[0, 2, 1, 3]);
        let scores = self.then("MatMul", &[&query, &key], &[]);
        let scores = self.then("Mul", &[&scores, &scale], &[]);
        let scores = self.then("Add", &[&scores, mask], &[]);
        let shares = self.then("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);
        let seen = self.then("MatMul", &[&shares, &values], &[]);
        let seen = self.then("Transpose", &[&seen], &[Attribute::Ints("perm", &[0, 2, 1, 3])]);
        self.then("Reshape", &[&seen, &together], &[])
    }

    /// A state in 8-bit steps, with its scale and zero: what each layer that reads it multiplies.
    fn stepped(&mut self, state: &str) -> [String; 3] {
        let outputs = [self.fresh(), self.fresh(), self.fresh()];
        let [steps, scale, zero] = &outputs;
        self.nodes.message(1, &node("DynamicQuantizeLinear", &[state], &[steps, scale, zero], &[]));
        outputs
    }

    fn linear(
        &mut self,
        [steps, scale, zero]: &[String; 3],
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<String, ConvertError> {
        let matrix = turned(&self.weights.floats(&format!("{name}.weight"), &[outputs, inputs])?, inputs, outputs);
        let bias = self.floats(&format!("{name}.bias"), &[outputs])?;
        let weight = self.constant(Element::Int8, &[inputs, outputs], &matrix.steps);
        let worth = self.constant(Element::Float, &[outputs], &matrix.scales);
        let product = self.then("MatMulInteger", &[steps, &weight, zero], &[]);
        let product = self.then("Cast", &[&product], &[Attribute::Int("to", 1)]);
        let worth = self.then("Mul", &[scale, &worth], &[]);
        let product = self.then("Mul", &[&product, &worth], &[]);
        Ok(self.then("Add", &[&product, &bias], &[]))
    }

    fn gelu(&mut self, value: &str) -> String {
        let (root, one, half) = (self.number(std::f32::consts::SQRT_2), self.number(1.0), self.number(0.5));
        let scaled = self.then("Div", &[value, &root], &[]);
        let erf = self.then("Erf", &[&scaled], &[]);
        let sum = self.then("Add", &[&erf, &one], &[]);
        let product = self.then("Mul", &[value, &sum], &[]);
        self.then("Mul", &[&product, &half], &[])
    }

    fn norm(&mut self, value: &str, name: &str) -> Result<String, ConvertError> {
        let width = self.config.hidden_size;
        let weight = self.floats(&format!("{name}.weight"), &[width])?;
        let bias = self.floats(&format!("{name}.bias"), &[width])?;
        let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", self.config.layer_norm_eps)];
        Ok(self.then("LayerNormalization", &[value, &weight, &bias], &attributes))
    }

    fn into_model(self) -> Vec<u8> {
        let mut graph = self.nodes;
        graph.text(2, "encoder");
        for input in ["input_ids", "attention_mask", "token_type_ids"] {
            graph.message(11, &value(input, Element::Int64, &[Err("batch"), Err("length")]));
        }
        let output = [Err("batch"), Err("length"), Ok(self.config.hidden_size)];
        graph.message(12, &value("last_hidden_state", Element::Float, &output));
        let mut operators = Message::default();
        operators.text(1, "");
        operators.int(2, 17);
        let mut model = Message::default();
        model.int(1, 8);
        model.text(2, "pegboard");
        model.message(7, &graph);
        model.message(8, &operators);
        model.into_bytes()
    }
}
