//! The messages of the ONNX format (`onnx.proto3`) that reading weights and writing a graph need; fields that
//! nothing here reads are skipped.
//!
//! - In, out: bytes of a `model.onnx`.
//! - Not here: what the nodes mean (`minilm`), which outputs a model needs (`reranker`).

use std::collections::HashMap;

/// `TensorProto.DataType`.
pub(super) const FLOAT: i32 = 1;
/// `TensorProto.DataType`.
pub(super) const UINT8: i32 = 2;
/// `TensorProto.DataType`.
pub(super) const INT8: i32 = 3;
/// `TensorProto.DataType`.
pub(super) const INT64: i32 = 7;

/// The operators of ONNX Runtime that are not in the standard.
pub(super) const MICROSOFT: &str = "com.microsoft";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) operators: Vec<Operators>,
}

/// A [`Model`] of which only the outputs are read: its weights are skipped.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Outside {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Outputs>,
}

/// A [`Graph`] of which only the outputs are read.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Outputs {
    #[prost(message, repeated, tag = "12")]
    pub(super) outputs: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Operators {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(super) outputs: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) operator: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, tag = "2")]
    pub(super) float: f32,
    #[prost(int64, tag = "3")]
    pub(super) int: i64,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(super) kind: i32,
}

impl Attribute {
    pub(super) fn float(name: &str, float: f32) -> Self {
        Self {
            name: name.to_owned(),
            float,
            kind: 1,
            ..Self::default()
        }
    }

    pub(super) fn int(name: &str, int: i64) -> Self {
        Self {
            name: name.to_owned(),
            int,
            kind: 2,
            ..Self::default()
        }
    }

    pub(super) fn ints(name: &str, ints: &[i64]) -> Self {
        Self {
            name: name.to_owned(),
            ints: ints.to_vec(),
            kind: 7,
            ..Self::default()
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    /// Little-endian, row by row.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw: Vec<u8>,
}

impl Tensor {
    pub(super) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        Self {
            dims: dims.to_vec(),
            kind: FLOAT,
            name: name.to_owned(),
            raw: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    pub(super) fn to_floats(&self) -> Vec<f32> {
        let (numbers, _) = self.raw.as_chunks::<4>();
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValueKind {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorKind {
    #[prost(int32, tag = "1")]
    pub(super) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dims: Vec<Dim>,
}

/// One dimension: without a number it is the name of what it counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub(super) number: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
}

impl Value {
    /// An input or output of shape `batch × sequence`, × `width` if that is not 0.
    pub(super) fn sequences(name: &str, element: i32, width: i64) -> Self {
        let named = |name: &str| Dim {
            number: None,
            name: Some(name.to_owned()),
        };
        let mut dims = vec![named("batch"), named("sequence")];
        if width > 0 {
            dims.push(Dim {
                number: Some(width),
                name: None,
            });
        }
        Self {
            name: name.to_owned(),
            kind: Some(ValueKind {
                tensor: Some(TensorKind {
                    element,
                    shape: Some(Shape { dims }),
                }),
            }),
        }
    }
}

/// The tensors of a graph by name, and its nodes by what they put out.
pub(super) struct Index<'a> {
    pub(super) tensors: HashMap<&'a str, &'a Tensor>,
    pub(super) makers: HashMap<&'a str, &'a Node>,
}

impl<'a> Index<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        let tensors = graph.tensors.iter();
        let nodes = graph.nodes.iter();
        Self {
            tensors: tensors.map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            makers: nodes
                .flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node)))
                .collect(),
        }
    }
}
