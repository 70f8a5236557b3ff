//! The result of compiling a model, and why a model cannot be compiled.

use serde::Serialize;
use tinyops_model::graph::{Graph, OpKind};
use tinyops_model::{Body, GraphError, Model};
use tinyops_nn::head::{self, Prior, Sums};
use tinyops_nn::record::REGIONS_MAX;
use tinyops_nn::{Plan, distance};

use crate::capsule::{PayloadError, SensorContract};
use crate::cost;
use crate::high_water::{self, ArenaFault};
use crate::layers::LayerMap;
use crate::lower::{Lowered, lower};
use crate::plan_memory::MemoryPlan;
use crate::rewrite::{Pass, Rewrite, Rewritten, rewrite};

/// Values of all activations of a network; a device holds a thousandth of it.
const VALUES_MAX: u64 = 1 << 27;

/// What a device runs, and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What makes the scores, as [`tinyops_nn::Program`] reads it: a plan, or a distance.
    pub program: Vec<u8>,
    /// Bytes of the arena.
    pub arena_bytes: u32,
    /// The arena over time.
    pub memory: MemoryPlan,
    /// Multiply-accumulate operations of one run.
    pub macs: u64,
    /// Floating-point operations of the front end and of a body without network, estimated.
    pub dsp_operations: u64,
    /// What the readings are, as section SENSOR of a payload; empty if that is not known.
    pub sensor: Vec<u8>,
    /// What the factory's windows say of a head, as section PRIOR of a payload; empty where devices solve none.
    pub prior: Vec<u8>,
    /// Bytes of the payload without golden vectors.
    pub payload_bytes: u32,
    /// RAM beside the arena.
    pub ram: RamUse,
    /// Cost of each op, in order of execution.
    pub ops: Vec<OpCost>,
    /// What was rewritten before, bit for bit the same.
    pub saved: Saved,
    /// What each op of the plan makes of which layer.
    pub layers: LayerMap,
}

impl Compiled {
    /// Has the payload say what readings the model was trained on, so that a device with another sensor refuses it.
    ///
    /// # Errors
    /// [`PayloadError::Section`] for a value that no payload can have.
    pub fn with_contract(&mut self, contract: &SensorContract<'_>) -> Result<(), PayloadError> {
        self.sensor = crate::capsule::sensor_section(contract)?;
        self.add_section(self.sensor.len());
        Ok(())
    }

    /// Has the payload bring the factory's windows as a prior, so that a device can solve a head of its own from its
    /// labels, and counts the memory that it does so in.
    ///
    /// # Errors
    /// [`PayloadError::Prior`] for a prior of other classes or another embedding than the network's.
    pub fn with_prior(&mut self, prior: Vec<u8>) -> Result<(), PayloadError> {
        let read = Prior::decode(&prior).map_err(|_| PayloadError::Prior)?;
        let (classes, width) = (read.class_count(), read.embedding_len());
        let plan = Plan::load(&self.program).map_err(|_| PayloadError::Prior)?;
        let suits = plan
            .embedding()
            .is_some_and(|embedding| embedding.len == width)
            && plan.output().len == classes;
        if !suits {
            return Err(PayloadError::Prior);
        }
        self.ram.own_head_bytes = words(head::own_memory_len(classes, width))
            + (head::OWN_WINDOWS * head::own_window_bytes(width)) as u32;
        self.add_section(prior.len());
        self.prior = prior;
        Ok(())
    }

    /// Counts a section: its entry in the table, and its bytes behind the last one.
    fn add_section(&mut self, bytes: usize) {
        self.payload_bytes = (self.payload_bytes + 16).next_multiple_of(16) + bytes as u32;
    }
}

/// What rewrites saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Multiply-accumulate operations of one run before.
    pub macs_before: u64,
    /// Bytes of filters and biases before.
    pub constant_bytes_before: u64,
    /// Bytes of filters and biases after.
    pub constant_bytes: u64,
    /// Each thing that was rewritten.
    pub rewrites: Vec<Rewrite>,
}

/// RAM that one prediction takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RamUse {
    /// The network's tensors.
    pub arena_bytes: u32,
    /// The window of readings.
    pub window_bytes: u32,
    /// The features.
    pub features_bytes: u32,
    /// Scratch of the front end.
    pub scratch_bytes: u32,
    /// What a device solves a head of its own in, and the labelled windows that it keeps for it; 0 where it solves none.
    #[serde(skip_serializing_if = "is_nothing")]
    pub own_head_bytes: u32,
}

fn is_nothing(bytes: &u32) -> bool {
    *bytes == 0
}

impl RamUse {
    /// All of it.
    #[must_use]
    pub fn total_bytes(&self) -> u32 {
        [
            self.arena_bytes,
            self.window_bytes,
            self.features_bytes,
            self.scratch_bytes,
            self.own_head_bytes,
        ]
        .into_iter()
        .fold(0, u32::saturating_add)
    }

    /// All of it but the arena.
    #[must_use]
    pub fn beside_bytes(&self) -> u32 {
        self.total_bytes().saturating_sub(self.arena_bytes)
    }
}

/// What one op costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpCost {
    /// The operator.
    pub kind: &'static str,
    /// The name of what it makes.
    pub output: String,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Values made.
    pub elements: u64,
    /// Bytes of filter and bias.
    pub constant_bytes: u64,
}

/// Why a model cannot be compiled. Ops count from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The graph does not hold together.
    #[error("the graph has {} faults, the first: {}", .0.len(), .0[0])]
    Graph(Vec<GraphError>),
    /// A tensor holds real numbers.
    #[error("tensor `{tensor}` is not quantized; quantize the model first")]
    NotQuantized {
        /// Its name.
        tensor: String,
    },
    /// A plan has up to 256 of each, and a model's network one of each.
    #[error(
        "the network has {inputs} inputs and {outputs} outputs; a plan takes up to 256 of each, a model one of each: its input is a window of readings"
    )]
    InputsOrOutputs {
        /// How many inputs.
        inputs: usize,
        /// How many outputs.
        outputs: usize,
    },
    /// An operator without int8 kernel.
    #[error("op {op} `{kind}` has no int8 kernel")]
    NoKernel {
        /// Which op.
        op: usize,
        /// The operator.
        kind: &'static str,
    },
    /// Scales that the fixed-point arithmetic cannot bridge.
    #[error("op {op} `{kind}`: its scales are too far apart for int8 arithmetic")]
    Scales {
        /// Which op.
        op: usize,
        /// The operator.
        kind: &'static str,
    },
    /// More than the format can hold.
    #[error("{what} of {bytes} bytes is more than a plan can hold")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        bytes: u64,
    },
    /// The device would refuse the plan: sizes beyond what its format can hold.
    #[error("the device would refuse the plan: {0}")]
    Plan(tinyops_nn::PlanError),
    /// The planned arena is not what a run uses: a fault of the planner or of a kernel.
    #[error("the planned arena is not what a run uses: {0}")]
    Arena(ArenaFault),
    /// Numbers that contradict each other.
    #[error("the model does not fit together: {0}")]
    Model(&'static str),
}

/// Compiles a model: plan (or distance), arena, cost.
///
/// # Errors
/// [`CompileError`].
pub fn compile(model: &Model) -> Result<Compiled, CompileError> {
    compile_with(model, &Options::default())
}

/// [`compile`] with every choice but one: whether the input is kept is the model's own.
///
/// # Errors
/// [`CompileError`].
pub fn compile_with(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let network = |graph: &Graph, keep_input: bool| {
        let options = Options {
            keep_input,
            ..*options
        };
        compile_graph_with(graph, &options)
    };
    let features = model.front_end.feature_count();
    if !model.scaler.mean.is_empty() && !model.scaler.view().suits(features) {
        return Err(CompileError::Model("the scaler does not suit the features"));
    }
    let mut compiled = match &model.body {
        Body::Network(graph) => network(graph, false)?,
        Body::Autoencoder(graph) => network(graph, true)?,
        Body::KMeans { centres, radii } => {
            if radii.is_empty() || centres.len() != radii.len() * features {
                return Err(CompileError::Model("the clusters do not suit the features"));
            }
            let mut bytes = Vec::new();
            distance::encode_k_means(centres, radii, |part| bytes.extend(part));
            of_distance(bytes, 3 * centres.len() as u64)
        }
        Body::Mahalanobis {
            mean,
            inverse_covariance,
        } => {
            if mean.len() != features || inverse_covariance.len() != features * (features + 1) / 2 {
                return Err(CompileError::Model(
                    "the covariance does not suit the features",
                ));
            }
            let mut bytes = Vec::new();
            distance::encode_mahalanobis(mean, inverse_covariance, |part| bytes.extend(part));
            of_distance(bytes, 3 * inverse_covariance.len() as u64)
        }
    };
    if let Some(graph) = model.body.graph() {
        if let [inputs, outputs] = [graph.inputs.len(), graph.outputs.len()]
            && [inputs, outputs] != [1, 1]
        {
            return Err(CompileError::InputsOrOutputs { inputs, outputs });
        }
        let values = |shape: [u16; 4]| shape.iter().map(|&dim| usize::from(dim)).product::<usize>();
        let input = values(graph.tensor(graph.inputs[0]).shape);
        let output = values(graph.tensor(graph.outputs[0]).shape);
        if input != features {
            return Err(CompileError::Model(
                "the network takes another count of features than the front end makes",
            ));
        }
        if matches!(model.body, Body::Autoencoder(_)) && output != input {
            return Err(CompileError::Model(
                "the autoencoder makes another count of features than it takes",
            ));
        }
    }
    compiled.dsp_operations += cost::front_end_operations(&model.front_end);
    compiled.ram = RamUse {
        arena_bytes: compiled.arena_bytes,
        window_bytes: words(model.front_end.reading_count()),
        features_bytes: words(features),
        scratch_bytes: words(model.front_end.scratch_len()),
        own_head_bytes: 0,
    };
    compiled.payload_bytes = crate::capsule::payload(model, &compiled, &[])
        .map_err(|_| CompileError::Model("labels, scaler or baseline do not fit a payload"))?
        .len() as u32;
    Ok(compiled)
}

/// How a graph is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Keeps the input readable after a run.
    pub keep_input: bool,
    /// Ops may run in bands of rows where the arena would have so many bytes or more otherwise.
    pub split_from_bytes: u32,
    /// How much more work all bands together may make.
    pub extra_macs_percent: u32,
    /// Every layer stays as the graph has it: no rewrite, no bands. What a device runs is smaller;
    /// this is for comparing layer by layer.
    pub as_written: bool,
    /// Bytes that each memory region has for the arena, the best first. The first holds all of it
    /// where it can; else it is spread over all of them. If they are too small for that, it is as
    /// if the first were large enough.
    pub regions: [u32; REGIONS_MAX],
}

/// One memory region, as large as it takes.
pub const ONE_REGION: [u32; REGIONS_MAX] = {
    let mut regions = [0; REGIONS_MAX];
    regions[0] = u32::MAX;
    regions
};

impl Default for Options {
    /// The input is not kept; bands are tried from 8 KiB on, which every board can spare, and may
    /// add 1 % of work.
    fn default() -> Options {
        Options {
            keep_input: false,
            split_from_bytes: 8192,
            extra_macs_percent: 1,
            as_written: false,
            regions: ONE_REGION,
        }
    }
}

/// Compiles a graph alone, without front end; `keep_input` keeps the input readable after a run.
///
/// # Errors
/// [`CompileError`].
pub fn compile_graph(graph: &Graph, keep_input: bool) -> Result<Compiled, CompileError> {
    let options = Options {
        keep_input,
        ..Options::default()
    };
    compile_graph_with(graph, &options)
}

/// [`compile_graph`] with every choice.
///
/// # Errors
/// [`CompileError`].
pub fn compile_graph_with(graph: &Graph, options: &Options) -> Result<Compiled, CompileError> {
    graph.check().map_err(CompileError::Graph)?;
    if !graph.is_quantized() {
        let real = graph
            .tensors
            .iter()
            .find(|tensor| tensor.quantization.is_none());
        let tensor = real.map_or_else(String::new, |tensor| tensor.name.clone());
        return Err(CompileError::NotQuantized { tensor });
    }
    let activations = graph.tensors.iter().filter(|tensor| tensor.data.is_none());
    let values = |shape: [u16; 4]| shape.iter().map(|&dim| u64::from(dim)).product::<u64>();
    let all = activations.map(|tensor| values(tensor.shape)).sum();
    // Rewrites keep bounds of every value.
    if all > VALUES_MAX {
        return Err(CompileError::TooLarge {
            what: "all activations together",
            bytes: all,
        });
    }
    let Rewritten {
        graph: smaller,
        rewrites,
        channels,
    } = if options.as_written {
        Rewritten::untouched(graph)
    } else {
        rewrite(graph)
    };
    let mut saved = Saved {
        macs_before: graph.macs(),
        constant_bytes_before: graph.constant_bytes() as u64,
        constant_bytes: smaller.constant_bytes() as u64,
        rewrites,
    };
    let graph = &smaller;
    let Lowered {
        plan,
        memory,
        macs,
        summed,
        parts,
    } = lower(graph, options)?;
    saved
        .rewrites
        .extend(summed.into_iter().map(|tensor| Rewrite {
            pass: Pass::Sum,
            tensor: graph.tensor(tensor).name.clone(),
            count: 1,
        }));
    let loaded = Plan::load(&plan).map_err(CompileError::Plan)?;
    high_water::measure(&loaded).map_err(CompileError::Arena)?;
    Ok(Compiled {
        program: plan,
        arena_bytes: memory.arena_bytes,
        memory,
        macs,
        dsp_operations: 0,
        sensor: Vec::new(),
        prior: Vec::new(),
        payload_bytes: 0,
        ram: RamUse::default(),
        ops: op_costs(graph),
        saved,
        layers: LayerMap::of(graph, parts, &channels),
    })
}

fn of_distance(distance: Vec<u8>, dsp_operations: u64) -> Compiled {
    Compiled {
        program: distance,
        arena_bytes: 0,
        memory: MemoryPlan::default(),
        macs: 0,
        dsp_operations,
        sensor: Vec::new(),
        prior: Vec::new(),
        payload_bytes: 0,
        ram: RamUse::default(),
        ops: Vec::new(),
        saved: Saved::default(),
        layers: LayerMap::default(),
    }
}

fn op_costs(graph: &Graph) -> Vec<OpCost> {
    let ops = graph
        .ops
        .iter()
        .filter(|op| !matches!(op.kind, OpKind::Reshape));
    ops.map(|op| {
        let output = graph.tensor(op.output);
        let constants = op
            .inputs
            .iter()
            .filter_map(|&input| graph.tensor(input).data.as_ref());
        OpCost {
            kind: op.kind.name(),
            output: output.name.clone(),
            macs: graph.op_macs(op),
            elements: output.shape.iter().map(|&dim| u64::from(dim)).product(),
            constant_bytes: constants.map(|data| data.bytes() as u64).sum(),
        }
    })
    .collect()
}

fn words(count: usize) -> u32 {
    u32::try_from(4 * count as u64).unwrap_or(u32::MAX)
}
