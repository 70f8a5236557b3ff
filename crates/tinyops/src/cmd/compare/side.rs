//! What is compared: a network, a plan, a golden file, a board.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tinyops_compile::{
    Case, Compiled, LayerMap, LayerValues, Options, Reference, ReferenceCase, compile_graph_with,
};
use tinyops_model::{Graph, Model, tflite};
use tinyops_nn::{Plan, Program};
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
}

/// A plan, which knows no names of its own.
pub(super) struct PlanFile {
    name: String,
    bytes: Vec<u8>,
    /// The names of its layers, where the other side's network has the same ops.
    layers: Option<LayerMap>,
}

/// A network, as it was written and as a device gets it.
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
    output: Option<String>,
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
    /// What can be compared best: against a plan the plan, else every layer.
    pub(super) fn of(a: &Side, b: &Side) -> Form {
        let is_plan = |side: &Side| matches!(side, Side::Plan(_));
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
            _ => {}
        }
        Ok((a, b))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Side::Network(network) => &network.name,
            Side::Plan(plan) => &plan.name,
            Side::Golden(golden) => &golden.name,
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
        }
    }

    /// What the side makes of each input.
    pub(super) async fn run(&self, inputs: &Inputs, form: Form) -> Result<Vec<Case>, Failure> {
        match self {
            Side::Network(network) => network.run(inputs, form),
            Side::Plan(file) => {
                let plan = file.loaded()?;
                let layers = file.layers.clone();
                let layers = layers.unwrap_or_else(|| LayerMap::of_plan(&plan));
                traced(&layers, &plan, inputs, takes(&plan), &file.name)
            }
            Side::Golden(golden) => golden.run(inputs),
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
        let tensor = self.graph.tensor(self.graph.inputs[0]);
        let quantization = tensor.quantization.as_ref();
        Takes {
            values: tensor.shape.iter().map(|&dim| usize::from(dim)).product(),
            quantization: quantization.map_or((1.0, 0), |q| (q.scale(), q.zero_point)),
        }
    }

    fn compiled(&self, form: Form) -> Result<Compiled, Failure> {
        let options = Options {
            keep_input: self.keeps_input,
            as_written: form == Form::AsWritten,
            ..Options::default()
        };
        compile_graph_with(&self.graph, &options).map_err(|error| {
            Failure::of(Exit::No, &error)
                .hint(format!("`{}` was read, but cannot be compiled", self.name))
        })
    }

    fn run(&self, inputs: &Inputs, form: Form) -> Result<Vec<Case>, Failure> {
        let compiled = self.compiled(form)?;
        let plan = Plan::load(&compiled.program).map_err(|error| Failure::of(Exit::No, &error))?;
        traced(&compiled.layers, &plan, inputs, self.takes(), &self.name)
    }
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
}

fn takes(plan: &Plan<'_>) -> Takes {
    let input = plan.input();
    Takes {
        values: input.len,
        quantization: (input.scale, input.zero_point),
    }
}

/// The layers that a plan makes of each input.
fn traced(
    layers: &LayerMap,
    plan: &Plan<'_>,
    inputs: &Inputs,
    takes: Takes,
    name: &str,
) -> Result<Vec<Case>, Failure> {
    let values = inputs.for_network(takes, name)?;
    let cases = inputs.names().zip(values).map(|(name, values)| {
        let layers = layers.trace(plan, &values);
        Ok(Case {
            name: name.to_owned(),
            layers: layers.map_err(|error| Failure::of(Exit::No, &error))?,
        })
    });
    cases.collect()
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
            channels: None,
            missing: Vec::new(),
            values,
        };
        let name_of = |index: usize| {
            let name = self.tensor_names.get(index).cloned();
            name.unwrap_or_else(|| format!("tensor {index}"))
        };
        let output_name = self.output.clone().unwrap_or_else(|| "output".to_owned());
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
            .filter(|layer| layer.name != output_name)
            .collect();
        let output = tinyops_compile::Values::Bytes(case.outputs.concat());
        layers.push(layer(output_name, "OUTPUT".to_owned(), output));
        layers
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
    if graph.inputs.len() != 1 || graph.outputs.len() != 1 {
        return Err(
            Failure::no(format!("`{name}` has several inputs or outputs"))
                .hint("networks of one input and one output are compared"),
        );
    }
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
        output: None,
        network: None,
    };
    if let Ok(bytes) = fs::read(&beside)
        && let Ok(names) = tflite::tensor_names(&bytes)
    {
        golden.tensor_names = names;
        let network = imported(beside.display().to_string(), &bytes).ok();
        golden.output = network.as_ref().map(|network| {
            let output = network.graph.outputs[0];
            network.graph.tensor(output).name.clone()
        });
        golden.network = network;
    }
    Ok(Side::Golden(golden))
}
