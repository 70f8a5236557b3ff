//! Where the head lies in a model's graph, and how its weights get in and out.

use tinyops_model::{Body, Data, Graph, Model, OpKind, Quantization, TensorId};

use super::linear::{Linear, log_odds};
use crate::TrainError;
use crate::quantize::round_weights;

/// Where the head lies in the graph.
pub(super) struct Head {
    filter: TensorId,
    bias: TensorId,
    output: TensorId,
    input_scale: f32,
}

impl Head {
    pub(super) fn of(model: &Model) -> Result<Self, TrainError> {
        let none = || TrainError::Mismatch("the model has no head to solve for".into());
        let Body::Network(graph) = &model.body else {
            return Err(none());
        };
        let embedding = graph.embedding.ok_or_else(none)?;
        let op = graph
            .ops
            .iter()
            .find(|op| matches!(op.kind, OpKind::Dense(_)) && op.inputs.first() == Some(&embedding))
            .ok_or_else(none)?;
        let &[_, filter, bias] = &op.inputs[..] else {
            return Err(none());
        };
        let input_scale = graph
            .tensor(embedding)
            .quantization
            .as_ref()
            .ok_or_else(none)?
            .scale();
        Ok(Self {
            filter,
            bias,
            output: op.output,
            input_scale,
        })
    }

    pub(super) fn read(&self, model: &Model) -> Result<Linear, TrainError> {
        let none = || TrainError::Mismatch("the head is not quantized".into());
        let graph = model.body.graph().ok_or_else(none)?;
        let (filter, bias) = (graph.tensor(self.filter), graph.tensor(self.bias));
        let (Some(Data::Int8(weights)), Some(Data::Int32(biases)), Some(quantization)) =
            (&filter.data, &bias.data, &filter.quantization)
        else {
            return Err(none());
        };
        let classes = biases.len();
        let width = weights.len() / classes.max(1);
        let step = |class: usize| {
            let scale = quantization
                .scales
                .get(class)
                .copied()
                .unwrap_or(quantization.scale());
            f64::from(scale) * f64::from(self.input_scale)
        };
        Ok(Linear {
            width,
            weights: weights
                .iter()
                .enumerate()
                .map(|(i, &w)| f64::from(w) * step(i / width.max(1)))
                .collect(),
            bias: biases
                .iter()
                .enumerate()
                .map(|(class, &b)| f64::from(b) * step(class))
                .collect(),
            ahead: log_odds(model),
        })
    }

    /// Rounds the head into the graph; the scale of its input is what it was.
    pub(super) fn write(
        &self,
        model: &mut Model,
        head: &Linear,
        [low, high]: [f64; 2],
    ) -> Result<(), TrainError> {
        let scale = self.input_scale;
        let weights: Vec<f32> = head
            .weights
            .iter()
            .map(|&w| (w / f64::from(scale)) as f32)
            .collect();
        let bias: Vec<f32> = head.bias.iter().map(|&b| b as f32).collect();
        if weights.iter().chain(&bias).any(|x| !x.is_finite()) {
            return Err(TrainError::NotFinite {
                what: "a solved weight",
                at: String::new(),
            });
        }
        let rounded = round_weights(&weights, &bias, scale, false);
        let Body::Network(graph) = &mut model.body else {
            return Err(TrainError::Mismatch(
                "the model has no head to solve for".into(),
            ));
        };
        let bias_scales = rounded.scales.iter().map(|s| s * scale).collect();
        put(
            graph,
            self.filter,
            Some(Data::Int8(rounded.filter)),
            Quantization::per_channel(rounded.scales),
        );
        put(
            graph,
            self.bias,
            Some(Data::Int32(rounded.bias)),
            Quantization::per_channel(bias_scales),
        );
        let range = crate::quantize::per_tensor(&[low as f32, high as f32], crate::Range::Full);
        put(graph, self.output, None, range);
        Ok(())
    }
}

fn put(graph: &mut Graph, id: TensorId, data: Option<Data>, quantization: Quantization) {
    let tensor = &mut graph.tensors[id.0 as usize];
    tensor.data = data;
    tensor.quantization = Some(quantization);
}
