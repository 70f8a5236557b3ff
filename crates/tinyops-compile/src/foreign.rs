//! A network that came without front end, labels or baseline: what it takes, and on which boards.

use serde::Serialize;
use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_model::graph::{Graph, OpKind};
use tinyops_model::{Body, Decision, Model, OwnedScaler, Task};
use tinyops_sketch::Baseline;

use crate::board::Board;
use crate::compiled::{CompileError, Compiled, Options, Saved, compile_graph_with};
use crate::fit::{Limits, fit, spread_options};
use crate::shortfall::Shortfall;

/// What a network takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    /// `[1, height, width, channels]` of each input.
    pub inputs: Vec<[u16; 4]>,
    /// `[1, height, width, channels]` of each output.
    pub outputs: Vec<[u16; 4]>,
    /// Each op as the network has it, in order of execution.
    pub layers: Vec<Layer>,
    /// Multiply-accumulate operations of one run, after all rewrites.
    pub macs: u64,
    /// Bytes of the plan, which is all that a device keeps of the network.
    pub plan_bytes: usize,
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// What was rewritten, and what that saved.
    pub saved: Saved,
    /// Each board, and why the network alone does not fit it.
    pub boards: Vec<BoardFit>,
}

/// One op of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The operator.
    pub kind: &'static str,
    /// The name of what it makes.
    pub output: String,
    /// `[1, height, width, channels]` of what it makes.
    pub shape: [u16; 4],
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Bytes of its constants.
    pub constant_bytes: u64,
}

/// Whether a network fits a board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoardFit {
    /// The board's id.
    pub board: String,
    /// Everything that does not fit; empty if the network does.
    pub reasons: Vec<String>,
    /// Where the bytes are that do not fit, and what would; `None` if the network does.
    pub shortfall: Option<Shortfall>,
}

/// A model around a network: its readings are the network's input as real numbers, one for each.
///
/// It has no baseline, so a device that runs it measures no drift.
///
/// # Errors
/// [`CompileError`] where the network has not one input and one output, or its input is larger
/// than a window may be.
pub fn model_of(name: &str, graph: Graph) -> Result<Model, CompileError> {
    let (&[input], &[output]) = (&graph.inputs[..], &graph.outputs[..]) else {
        return Err(CompileError::InputsOrOutputs {
            inputs: graph.inputs.len(),
            outputs: graph.outputs.len(),
        });
    };
    let [_, height, width, channels] = graph.tensor(input).shape;
    let pixels = u32::from(height) * u32::from(width);
    let front_end = |channel_count: u16, window_len: u32| FrontEnd {
        rate_hz: 0.0,
        channel_count,
        window_len,
        block: Block::Raw(Raw { scale: 1.0 }),
    };
    let values = pixels.saturating_mul(u32::from(channels));
    let ways = [front_end(channels, pixels), front_end(1, values)];
    let front_end = ways.into_iter().find(|way| way.check().is_ok());
    let front_end = front_end.ok_or(CompileError::TooLarge {
        what: "the input",
        bytes: u64::from(values),
    })?;
    let is_last = |kind: OpKind| {
        let mut ops = graph.ops.iter();
        ops.any(|op| op.output == output && op.kind == kind)
    };
    let is_share = is_last(OpKind::Softmax { beta: 1.0 }) || is_last(OpKind::Logistic);
    let scores: usize = graph
        .tensor(output)
        .shape
        .iter()
        .map(|&dim| usize::from(dim))
        .product();
    let labels = (0..scores).map(|index| index.to_string());
    Ok(Model {
        name: name.to_owned(),
        task: if is_share {
            Task::Classify
        } else {
            Task::Regress
        },
        front_end,
        scaler: OwnedScaler::default(),
        labels: labels.collect(),
        body: Body::Network(graph),
        decision: Decision {
            threshold: 0.5,
            min_confidence: 0.0,
        },
        baseline: Baseline::new(0, &[], &[])
            .map_err(|_| CompileError::Model("the empty baseline"))?,
        embedding: Vec::new(),
    })
}

/// Compiles a network and holds it against boards, as if it stood alone: without window and
/// features, and with a payload of its plan.
///
/// # Errors
/// [`CompileError`].
pub fn survey(graph: &Graph, boards: &[Board]) -> Result<(Survey, Compiled), CompileError> {
    let alone = |options: &Options| {
        let mut compiled = compile_graph_with(graph, options)?;
        compiled.payload_bytes = u32::try_from(compiled.program.len()).unwrap_or(u32::MAX);
        compiled.ram.arena_bytes = compiled.arena_bytes;
        Ok::<_, CompileError>(compiled)
    };
    let compiled = alone(&Options::default())?;
    let layers = graph.ops.iter().map(|op| {
        let made = graph.tensor(op.output);
        let constants = op
            .inputs
            .iter()
            .filter_map(|&input| graph.tensor(input).data.as_ref());
        Layer {
            kind: op.kind.name(),
            output: made.name.clone(),
            shape: made.shape,
            macs: graph.op_macs(op),
            constant_bytes: constants.map(|data| data.bytes() as u64).sum(),
        }
    });
    let shapes = |ids: &[tinyops_model::TensorId]| {
        let shapes = ids.iter().map(|&id| graph.tensor(id).shape);
        shapes.collect::<Vec<_>>()
    };
    let fits = boards.iter().map(|board| {
        let spread = spread_options(&compiled, board).and_then(|options| alone(&options).ok());
        let own = spread.as_ref().unwrap_or(&compiled);
        let reasons = fit(own, board, &Limits::default()).reasons;
        let again = |options: &Options| alone(options).ok();
        BoardFit {
            board: board.id.clone(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            shortfall: Shortfall::of(own, board, &Limits::default(), boards, again),
        }
    });
    let survey = Survey {
        inputs: shapes(&graph.inputs),
        outputs: shapes(&graph.outputs),
        layers: layers.collect(),
        macs: compiled.macs,
        plan_bytes: compiled.program.len(),
        arena_bytes: compiled.arena_bytes,
        saved: compiled.saved.clone(),
        boards: fits.collect(),
    };
    Ok((survey, compiled))
}
