//! What is compared: a network, a plan, a golden file, a board.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tinyops_compile::{
    Case, LayerMap, LayerValues, Options, Reference, ReferenceCase, Values, compile_graph_with,
};
use tinyops_emulate::{EmulateError, Firmware, Machine, Tracer};
use tinyops_model::{Graph, Model, Tensor, tflite};
use tinyops_nn::record::Element;
use tinyops_nn::{Isa, Plan, Program};
use tinyops_wire::payload::{Payload, SectionId};

use super::{
    ShippedView,
    input::{Inputs, Takes},
    left,
};
use crate::{
    cmd::import::refused,
    context::Context,
    failure::{Exit, Failure},
    model_ref::ModelRef,
};

/// One side of the comparison.
pub(super) enum Side {
    Network(Network),
    Plan(PlanFile),
    Golden(Golden),
    Elsewhere(Elsewhere),
}

/// What runs the other side's network or plan.
pub(super) struct Elsewhere {
    name: String,
    place: Place,
    subject: Option<Subject>,
}

enum Place {
    /// An emulated machine, and why it is not the board's own.
    Machine(&'static Machine, Option<String>),
    /// An instruction set of this machine.
    Host(Isa),
}

/// What is run elsewhere.
#[derive(Clone)]
enum Subject {
    Network(Network),
    Plan(PlanFile),
}

/// A plan, which knows no names of its own.
#[derive(Clone)]
pub(super) struct PlanFile {
    name: String,
    bytes: Vec<u8>,
    /// The names of its layers, where the other side's network has the same ops.
    layers: Option<LayerMap>,
}

/// A network, as it was written and as a device gets it.
#[derive(Clone)]
pub(super) struct Network {
    name: String,
    graph: Graph,
    keeps_input: bool,
}

/// A golden file, and the network beside it where there is one.
pub(super) struct Golden {
    name: String,
    reference: Reference,
    tensor_names: Vec<String>,
    network: Option<Network>,
}

/// Which plan of a network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Every layer as the network has it.
    AsWritten,
    /// What a device gets.
    Shipped,
}

impl Form {
    /// What can be compared best: against a plan or a board the plan that a device gets, against
    /// another network or layers that somebody else made every layer.
    pub(super) fn of(a: &Side, b: &Side) -> Form {
        let knows_layers = |side: &Side| match side {
            Side::Golden(golden) => {
                let mut cases = golden.reference.cases.iter();
                cases.any(|case| !case.layers.is_empty())
            }
            _ => false,
        };
        let is_plan = |side: &Side| match side {
            Side::Plan(_) => true,
            Side::Elsewhere(elsewhere) => {
                !matches!(elsewhere.subject, Some(Subject::Network(_)))
                    || !knows_layers(a) && !knows_layers(b)
            }
            _ => false,
        };
        if is_plan(a) || is_plan(b) {
            Form::Shipped
        } else {
            Form::AsWritten
        }
    }
}

impl Side {
    /// Reads what a person named: a file, or else a registered model.
    pub(super) async fn read(context: &Context, name: &str) -> Result<Side, Failure> {
        if let Some(board) = name.strip_prefix("board:") {
            return board_side(context, name, board);
        }
        if let Some(isa) = name.strip_prefix("host:") {
            return host_side(name, isa);
        }
        let path = Path::new(name);
        if !path.is_file() {
            return registered(context, name).await;
        }
        let bytes = fs::read(path)
            .map_err(|error| Failure::question(format!("cannot read `{name}`")).cause(&error))?;
        let name = name.to_owned();
        if path.extension().is_some_and(|end| end == "json") {
            return golden(name, path, &bytes);
        }
        if bytes.starts_with(&tinyops_nn::record::MAGIC) {
            return plan(name, &bytes);
        }
        if bytes.get(4..8) == Some(b"TFL3") {
            return Ok(Side::Network(imported(name, &bytes)?));
        }
        if let Ok(model) = Model::decode(&bytes) {
            return network(name, model);
        }
        let program = Payload::parse(&bytes).ok();
        let program = program.and_then(|payload| payload.section(SectionId::Program));
        match program {
            Some(program) => plan(name, program),
            None => Err(Failure::question(format!(
                "`{name}` is no network, model, plan, payload or golden file"
            ))
            .hint("`tinyops compare --help` tells what can be compared")),
        }
    }

    /// Both sides, once each has the network that it takes of the other.
    pub(super) fn with_networks(mut a: Side, mut b: Side) -> Result<(Side, Side), Failure> {
        match (&mut a, &mut b) {
            (Side::Network(network), Side::Plan(plan))
            | (Side::Plan(plan), Side::Network(network)) => plan.take_names(network)?,
            (Side::Elsewhere(elsewhere), other) | (other, Side::Elsewhere(elsewhere)) => {
                elsewhere.subject = other.subject();
                if elsewhere.subject.is_none() {
                    let (name, other) = (&elsewhere.name, other.name());
                    return Err(Failure::question(format!(
                        "`{other}` gives `{name}` no network to run"
                    ))
                    .hint(
                        "name a network, a plan, or a golden file that lies beside its network",
                    ));
                }
            }
            _ => {}
        }
        Ok((a, b))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Side::Network(network) => &network.name,
            Side::Plan(plan) => &plan.name,
            Side::Golden(golden) => &golden.name,
            Side::Elsewhere(elsewhere) => &elsewhere.name,
        }
    }

    /// What another side can run of this one.
    fn subject(&self) -> Option<Subject> {
        match self {
            Side::Network(network) => Some(Subject::Network(network.clone())),
            Side::Plan(plan) => Some(Subject::Plan(plan.clone())),
            Side::Golden(golden) => golden.network.clone().map(Subject::Network),
            Side::Elsewhere(_) => None,
        }
    }

    /// What ran, or who made the values.
    pub(super) fn what(&self, form: Form) -> String {
        match (self, form) {
            (Side::Network(_), Form::AsWritten) => {
                "every layer as the network has it, by the device's kernels on this machine"
                    .to_owned()
            }
            (Side::Network(_), Form::Shipped) => {
                "the plan as a device gets it, on this machine".to_owned()
            }
            (Side::Plan(_), _) => "the plan in the file, on this machine".to_owned(),
            (Side::Golden(golden), _) => golden.reference.made_by.clone(),
            (Side::Elsewhere(elsewhere), form) => elsewhere.what(form),
        }
    }

    /// The greatest difference that a golden file bears.
    pub(super) fn tolerance(&self) -> u32 {
        self.reference()
            .map_or(0, |(_, reference)| reference.tolerance)
    }

    pub(super) fn reference(&self) -> Option<(&str, &Reference)> {
        match self {
            Side::Golden(golden) => Some((&golden.name, &golden.reference)),
            _ => None,
        }
    }

    /// What the side's network takes, where it has one.
    pub(super) fn takes(&self) -> Option<Takes> {
        match self {
            Side::Network(network) => Some(network.takes()),
            Side::Plan(plan) => Some(takes(&plan.loaded().ok()?)),
            Side::Golden(golden) => golden.network.as_ref().map(Network::takes),
            Side::Elsewhere(elsewhere) => match elsewhere.subject.as_ref()? {
                Subject::Network(network) => Some(network.takes()),
                Subject::Plan(plan) => Some(takes(&plan.loaded().ok()?)),
            },
        }
    }

    /// What the side makes of each input.
    pub(super) async fn run(&self, inputs: &Inputs, form: Form) -> Result<Vec<Case>, Failure> {
        match self {
            Side::Network(network) => network.run(inputs, form),
            Side::Plan(file) => {
                let takes = takes(&file.loaded()?);
                traced(&file.compiled()?, inputs, takes, &file.name, Isa::Portable)
            }
            Side::Golden(golden) => golden.run(inputs),
            Side::Elsewhere(elsewhere) => elsewhere.run(inputs, form).await,
        }
    }

    /// Whether the plan that a device gets makes what every layer as written makes.
    pub(super) fn shipped(
        &self,
        form: Form,
        inputs: &Inputs,
    ) -> Result<Option<ShippedView>, Failure> {
        let Side::Network(network) = self else {
            return Ok(None);
        };
        if form == Form::Shipped {
            return Ok(None);
        }
        let written = network.run(inputs, Form::AsWritten)?;
        let shipped = network.run(inputs, Form::Shipped)?;
        Ok(Some(left(&written, &shipped)))
    }
}

impl Network {
    fn takes(&self) -> Takes {
        let tensors = self
            .graph
            .inputs
            .iter()
            .map(|&input| self.graph.tensor(input));
        let first = tensors.clone().next();
        let quantization = first.and_then(|tensor| tensor.quantization.as_ref());
        let bytes = |tensor: &Tensor| {
            let values = tensor
                .shape
                .iter()
                .map(|&dim| usize::from(dim))
                .product::<usize>();
            values * tensor.element().bytes()
        };
        Takes {
            bytes: tensors.clone().map(bytes).sum(),
            element: first.map_or(Element::Int8, Tensor::element),
            quantization: quantization.map_or((1.0, 0), |q| (q.scale(), q.zero_point)),
        }
    }

    fn compiled(&self, form: Form) -> Result<Runnable, Failure> {
        let options = Options {
            keep_input: self.keeps_input,
            as_written: form == Form::AsWritten,
            ..Options::default()
        };
        let compiled = compile_graph_with(&self.graph, &options).map_err(|error| {
            Failure::of(Exit::No, &error)
                .hint(format!("`{}` was read, but cannot be compiled", self.name))
        })?;
        Ok(Runnable {
            program: compiled.program,
            layers: compiled.layers,
        })
    }

    fn run(&self, inputs: &Inputs, form: Form) -> Result<Vec<Case>, Failure> {
        let runnable = self.compiled(form)?;
        traced(&runnable, inputs, self.takes(), &self.name, Isa::Portable)
    }
}

/// A plan, and the layers that its ops make.
struct Runnable {
    program: Vec<u8>,
    layers: LayerMap,
}

impl PlanFile {
    fn loaded(&self) -> Result<Plan<'_>, Failure> {
        Plan::load(&self.bytes).map_err(|error| Failure::of(Exit::No, &error))
    }

    fn take_names(&mut self, network: &Network) -> Result<(), Failure> {
        let own = network.compiled(Form::Shipped)?;
        let plan = Plan::load(&own.program).map_err(|error| Failure::of(Exit::No, &error))?;
        if LayerMap::suits(&plan, &self.loaded()?) {
            self.layers = Some(own.layers);
        }
        Ok(())
    }

    fn compiled(&self) -> Result<Runnable, Failure> {
        let layers = match &self.layers {
            Some(layers) => layers.clone(),
            None => LayerMap::of_plan(&self.loaded()?),
        };
        Ok(Runnable {
            program: self.bytes.clone(),
            layers,
        })
    }
}

impl Elsewhere {
    fn what(&self, form: Form) -> String {
        let ran = match (&self.subject, form) {
            (Some(Subject::Network(_)), Form::AsWritten) => "every layer as the network has it",
            _ => "the plan as a device gets it",
        };
        match &self.place {
            Place::Host(isa) => format!("{ran}, by this machine's {} instructions", isa.name()),
            Place::Machine(machine, None) => format!("{ran}, on an emulated {}", machine.core),
            Place::Machine(machine, Some(why)) => {
                format!("{ran}, on an emulated {} ({why})", machine.core)
            }
        }
    }

    async fn run(&self, inputs: &Inputs, form: Form) -> Result<Vec<Case>, Failure> {
        let subject = self
            .subject
            .as_ref()
            .expect("`with_networks` has given one");
        let (runnable, takes) = match subject {
            Subject::Network(network) => (network.compiled(form)?, network.takes()),
            Subject::Plan(plan) => (plan.compiled()?, takes(&plan.loaded()?)),
        };
        let machine = match &self.place {
            Place::Host(isa) => return traced(&runnable, inputs, takes, &self.name, *isa),
            Place::Machine(machine, _) => *machine,
        };
        let values = inputs.for_network(takes, &self.name)?;
        let (program, sent, is_stream) = (runnable.program, values.clone(), inputs.is_stream);
        let emulated = tokio::task::spawn_blocking(move || {
            Tracer::build(&Firmware::find()?, machine)?.run(&program, &sent, is_stream)
        });
        let made = emulated.await.map_err(|error| {
            Failure::environment("the emulation stopped at a bug").cause(&error)
        })?;
        let made = made.map_err(|error| match error {
            EmulateError::Missing { what, remedy } => {
                Failure::environment(format!("{what} is missing")).hint(remedy)
            }
            EmulateError::TooSmall { .. } => Failure::of(Exit::No, &error)
                .hint("a larger board with this core runs the same code"),
            _ => Failure::of(Exit::Environment, &error),
        })?;
        let cases = inputs.names().zip(values).zip(made);
        Ok(cases
            .map(|((name, values), made)| Case {
                name: name.to_owned(),
                layers: runnable.layers.gather(&values, &made),
            })
            .collect())
    }
}

fn board_side(context: &Context, name: &str, board: &str) -> Result<Side, Failure> {
    let (machine, why) = match Machine::named(board) {
        Some(machine) => (machine, None),
        None => Machine::of_board(&context.board(board)?),
    };
    Ok(Side::Elsewhere(Elsewhere {
        name: name.to_owned(),
        place: Place::Machine(machine, why),
        subject: None,
    }))
}

fn host_side(name: &str, isa: &str) -> Result<Side, Failure> {
    let has: Vec<&str> = Isa::available().map(Isa::name).collect();
    let isa = Isa::from_name(isa).filter(|isa| isa.is_available());
    let isa = isa.ok_or_else(|| {
        Failure::question(format!("this machine has no `{name}`"))
            .hint(format!("it has: {}", has.join(", ")))
    })?;
    Ok(Side::Elsewhere(Elsewhere {
        name: name.to_owned(),
        place: Place::Host(isa),
        subject: None,
    }))
}

fn takes(plan: &Plan<'_>) -> Takes {
    let input = plan.input();
    Takes {
        bytes: plan.inputs().map(|view| view.bytes()).sum(),
        element: input.element,
        quantization: (input.scale, input.zero_point),
    }
}

/// The layers that a plan makes of each input.
fn traced(
    runnable: &Runnable,
    inputs: &Inputs,
    takes: Takes,
    name: &str,
    isa: Isa,
) -> Result<Vec<Case>, Failure> {
    let plan = Plan::load(&runnable.program).map_err(|error| Failure::of(Exit::No, &error))?;
    let values = inputs.for_network(takes, name)?;
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let traces = (runnable.layers).trace_with(&plan, isa, &values, inputs.is_stream);
    let traces = traces.map_err(|error| Failure::of(Exit::No, &error))?;
    let cases = inputs.names().zip(traces).map(|(name, layers)| Case {
        name: name.to_owned(),
        layers,
    });
    Ok(cases.collect())
}

impl Golden {
    fn run(&self, inputs: &Inputs) -> Result<Vec<Case>, Failure> {
        let case = |name: &str| {
            let mut cases = self.reference.cases.iter();
            let case = cases.find(|case| case.name == name).ok_or_else(|| {
                Failure::question(format!("`{}` has no case `{name}`", self.name))
            })?;
            Ok(Case {
                name: name.to_owned(),
                layers: self.layers(case),
            })
        };
        inputs.names().map(case).collect()
    }

    /// What is known of the layers, and the output, which stands for a layer of its name.
    fn layers(&self, case: &ReferenceCase) -> Vec<LayerValues> {
        let layer = |name: String, kind: String, values| LayerValues {
            name,
            kind,
            shape: None,
            quantization: None,
            element: None,
            channels: None,
            missing: Vec::new(),
            values,
        };
        let name_of = |index: usize| {
            let name = self.tensor_names.get(index).cloned();
            name.unwrap_or_else(|| format!("tensor {index}"))
        };
        let outputs = self.output_names(case.outputs.len());
        let mut layers: Vec<LayerValues> = case
            .layers
            .iter()
            .map(|known| {
                let name = known.tensor.as_deref().map(tflite::graph_name);
                let name = name.or(known.index.map(name_of)).unwrap_or_default();
                layer(
                    name,
                    known.kind.clone().unwrap_or_default(),
                    known.values.clone(),
                )
            })
            // The outputs are those that the file vouches for.
            .filter(|layer| !outputs.contains(&layer.name))
            .collect();
        for (name, bytes) in outputs.into_iter().zip(&case.outputs) {
            let values = Values::Bytes(bytes.clone());
            layers.push(layer(name, "OUTPUT".to_owned(), values));
        }
        layers
    }

    /// The names of the network's outputs, where it is known.
    fn output_names(&self, count: usize) -> Vec<String> {
        match &self.network {
            Some(network) => {
                let graph = &network.graph;
                let names = graph
                    .outputs
                    .iter()
                    .map(|&output| graph.tensor(output).name.clone());
                names.collect()
            }
            None => (0..count).map(|index| format!("output {index}")).collect(),
        }
    }
}

async fn registered(context: &Context, name: &str) -> Result<Side, Failure> {
    let is_path = name.contains(['/', '\\']) || Path::new(name).extension().is_some();
    if is_path && !name.contains('@') {
        return Err(Failure::question(format!("there is no file `{name}`")));
    }
    let (db, artifacts) = context.existing_store().await?;
    let wish: ModelRef = name.parse().unwrap_or_else(|never| match never {});
    let row = wish.resolve(&db).await?;
    let model = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
        Failure::environment(format!("`{name}` does not read back")).cause(&error)
    })?;
    network(crate::model_ref::title(&row), model)
}

fn network(name: String, model: Model) -> Result<Side, Failure> {
    let keeps_input = matches!(model.body, tinyops_model::Body::Autoencoder(_));
    match model.body.graph() {
        Some(graph) => Ok(Side::Network(Network {
            name,
            graph: graph.clone(),
            keeps_input,
        })),
        None => Err(Failure::question(format!(
            "`{name}` scores by a distance: it has no layers to compare"
        ))),
    }
}

fn imported(name: String, bytes: &[u8]) -> Result<Network, Failure> {
    let graph = tflite::import(bytes).map_err(|error| refused(&name, &error))?;
    Ok(Network {
        name,
        graph,
        keeps_input: false,
    })
}

fn plan(name: String, bytes: &[u8]) -> Result<Side, Failure> {
    match Program::load(bytes) {
        Ok(Program::Plan(_)) => Ok(Side::Plan(PlanFile {
            name,
            bytes: bytes.to_vec(),
            layers: None,
        })),
        Ok(Program::Distance(_)) => Err(Failure::question(format!(
            "`{name}` holds a distance: it has no layers to compare"
        ))),
        Err(error) => Err(Failure::question(format!("`{name}` holds no sound plan")).cause(&error)),
    }
}

fn golden(name: String, path: &Path, bytes: &[u8]) -> Result<Side, Failure> {
    let text = String::from_utf8_lossy(bytes);
    let reference = Reference::from_json(&text)
        .map_err(|error| Failure::question(format!("cannot read `{name}`")).cause(&error))?;
    let beside: PathBuf = path.with_file_name(&reference.model);
    let mut golden = Golden {
        name,
        reference,
        tensor_names: Vec::new(),
        network: None,
    };
    if let Ok(bytes) = fs::read(&beside)
        && let Ok(names) = tflite::tensor_names(&bytes)
    {
        golden.tensor_names = names;
        let network = imported(beside.display().to_string(), &bytes).ok();
        golden.network = network;
    }
    Ok(Side::Golden(golden))
}
