//! From a `.tflite` file to a graph.

use std::collections::{HashMap, HashSet};

use crate::check::GraphError;
use crate::graph::{Data, Graph, Op, OpKind, Quantization, Tensor, TensorId};
use crate::tflite::ends::{self, End, EndKind, Ends};
use crate::tflite::facts::{folded_shape, int32s, type_name};
use crate::tflite::flatbuffer::{OutOfBytes, Table, Vector};
use crate::tflite::islands::Real;
use crate::tflite::operators::OPERATORS;
use crate::tflite::outline::Outlines;
use crate::tflite::schema::{
    self, FLOAT32, IDENTIFIER, INT4, INT8, INT16, INT32, INT64, UINT8, model, operator_code,
    subgraph, tensor,
};
use crate::tflite::variables::{self, Variables};
use crate::tflite::{batches, constants, int16, operator};

/// Constants that several operators share are copied; a file may not grow by more than this.
const GROWTH_MAX: usize = 8;
/// A file whose operators lie over each other could be refused for far more reasons than it has bytes.
pub(super) const REFUSALS_MAX: usize = 1000;
/// Names are for people; a longer one is cut.
const NAME_CHARS_MAX: usize = 200;
/// Places of values that all rearrangements of a file may list.
const PLACES_MAX: usize = 1 << 20;

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Another kind of file.
    #[error("not a .tflite file")]
    NotTflite,
    /// A version of the schema that this crate does not know.
    #[error("schema version {0} is unknown, version 3 is read")]
    Version(u32),
    /// An offset leads out of the file.
    #[error("the file is cut short or its offsets lead out of it")]
    Truncated,
    /// A model of several graphs that the first does not call, or of none.
    #[error("the file holds {0} subgraphs; one is read, and those that it calls once")]
    Subgraphs(usize),
    /// Constants that are shared so often that the graph would be far larger than the file.
    #[error("constants repeat to more than {GROWTH_MAX} times the file")]
    TooLarge,
    /// A list or an operator names a tensor by a number that no tensor has.
    #[error("subgraph 0 names tensor {0}, which is not there")]
    NoSuchTensor(i32),
    /// The tables of one operator lead out of the file.
    #[error("subgraph 0, op {op} {operator}: its offsets lead out of the file")]
    Operator {
        /// Which operator of the subgraph, from 0.
        op: usize,
        /// Its name in the schema.
        operator: String,
    },
    /// What cannot be imported, all of it (the first thousand of a file made to have more).
    #[error("{} refusals, the first: {}", .0.len(), .0[0])]
    Unsupported(Vec<Refusal>),
    /// The operators are known, but do not fit together.
    #[error("the graph has {} faults, the first: {}", .0.len(), .0[0])]
    Graph(Vec<GraphError>),
}

impl From<OutOfBytes> for ImportError {
    fn from(_: OutOfBytes) -> ImportError {
        ImportError::Truncated
    }
}

/// One operator that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subgraph {subgraph}, op {op} {operator} (makes `{tensor}`, tensor {tensor_index}): {why}")]
pub struct Refusal {
    /// Which subgraph, from 0.
    pub subgraph: usize,
    /// Which operator of the subgraph, from 0.
    pub op: usize,
    /// Its name in the schema.
    pub operator: String,
    /// The name of the tensor that it makes.
    pub tensor: String,
    /// Its index in the subgraph; -1 for none.
    pub tensor_index: i32,
    /// Why, and what would do instead.
    pub why: String,
}

/// A network, and what its file has at its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network; its ends are int8 or int16.
    pub graph: Graph,
    /// The inputs as the file has them, in the order of [`Graph::inputs`].
    pub inputs: Vec<End>,
    /// The outputs as the file has them, in the order of [`Graph::outputs`].
    pub outputs: Vec<End>,
}

/// The graph of [`import_with_ends`] alone.
///
/// # Errors
/// As [`import_with_ends`].
pub fn import(bytes: &[u8]) -> Result<Graph, ImportError> {
    import_with_ends(bytes).map(|imported| imported.graph)
}

/// Reads the graph of a `.tflite` file of int8 or int16 activations and int8 filters.
///
/// Conversions at its ends are left out: the graph takes and makes int8 or int16, and [`Imported`] says what
/// the file has there.
///
/// # Shapes
/// Dimensions missing in front of `[batch, height, width, channels]` become 1, and those before
/// the last two become part of the height.
///
/// # Errors
/// [`ImportError`]; unsupported operators are told all at once.
pub fn import_with_ends(bytes: &[u8]) -> Result<Imported, ImportError> {
    if bytes.get(4..8) != Some(&IDENTIFIER) {
        return Err(ImportError::NotTflite);
    }
    let file = Table::root(bytes)?;
    let version = file.scalar(model::VERSION, 0u32)?;
    if version != schema::VERSION {
        return Err(ImportError::Version(version));
    }
    let subgraphs = file.tables(model::SUBGRAPHS)?;
    if subgraphs.len() == 0 {
        return Err(ImportError::Subgraphs(0));
    }
    let subgraph = subgraphs.table(0)?;
    let names = operator_names(&file)?;
    let operators = subgraph.tables(subgraph::OPERATORS)?;
    let outlines = Outlines::read(&operators, &names, bytes.len() / 4)?;
    if !variables::are_all_called(&outlines, subgraphs.len())? {
        return Err(ImportError::Subgraphs(subgraphs.len()));
    }
    let list = |field| -> Result<Vec<i32>, ImportError> {
        Ok(subgraph.scalars::<i32>(field)?.scalars().collect())
    };
    let (inputs, outputs) = (list(subgraph::INPUTS)?, list(subgraph::OUTPUTS)?);
    let mut import = Import::of(&file, &subgraph)?;
    import.bytes_left = bytes.len().saturating_mul(GROWTH_MAX);
    import.ends = ends::find(&import, &outlines, &inputs, &outputs)?;
    import.variables.first = variables::first_values(&file, &outlines, &names)?;
    let dilated = batches::dilated(&import, &outlines, &outputs)?;
    let mut refusals = Vec::new();
    let mut imported_inputs = Vec::new();
    for number in inputs {
        match import.activation(number)? {
            Ok(input) => {
                import.graph.inputs.push(input);
                imported_inputs.push(import.end(number)?);
            }
            Err(why) => refusals.push(import.refusal(0, "INPUT", number, why)?),
        }
    }
    for (index, outline) in outlines.all.iter().enumerate() {
        if import.ends.without.contains(&index) || dilated.is_inside(index) {
            continue;
        }
        if let &[output] = &outline.outputs[..]
            && output >= 0
            && matches!(import.facts(output)?.kind, INT32 | INT64)
            && let Some(numbers) = constants::fold(&import, outline)?
        {
            import.known.insert(output, numbers);
            continue;
        }
        let read = match dilated.at(index) {
            Some(one) => batches::read_dilated(&mut import, &outlines, one),
            None => operator::read(&mut import, outline),
        };
        let read = read.map_err(|error| match error {
            ImportError::Truncated => ImportError::Operator {
                op: index,
                operator: outline.name.clone(),
            },
            other => other,
        });
        match read? {
            Ok(ops) => import.graph.ops.extend(ops),
            Err(_) if refusals.len() >= REFUSALS_MAX => break,
            Err(why) => {
                let output = outline.outputs.first().copied().unwrap_or(-1);
                refusals.push(import.refusal(index, &outline.name, output, why)?);
            }
        }
    }
    let mut imported_outputs = Vec::new();
    for number in outputs {
        match import.output(number)? {
            Ok(output) => {
                import.graph.outputs.push(output);
                imported_outputs.push(import.end(number)?);
            }
            Err(_) if import.refuses(&refusals, number) => {}
            Err(why) => refusals.push(import.refusal(operators.len(), "OUTPUT", number, why)?),
        }
    }
    if !refusals.is_empty() {
        return Err(ImportError::Unsupported(refusals));
    }
    import.leave_states();
    import.graph.ops.splice(0..0, import.constants);
    import.graph.check().map_err(ImportError::Graph)?;
    Ok(Imported {
        graph: import.graph,
        inputs: imported_inputs,
        outputs: imported_outputs,
    })
}

/// The names of the tensors of a `.tflite` file, as [`import`] gives them to the graph, in the order of
/// the file: other tools name a tensor by its place there.
///
/// # Errors
/// [`ImportError`], for a file that cannot be read.
pub fn tensor_names(bytes: &[u8]) -> Result<Vec<String>, ImportError> {
    if bytes.get(4..8) != Some(&IDENTIFIER) {
        return Err(ImportError::NotTflite);
    }
    let subgraphs = Table::root(bytes)?.tables(model::SUBGRAPHS)?;
    if subgraphs.len() != 1 {
        return Err(ImportError::Subgraphs(subgraphs.len()));
    }
    let tensors = subgraphs.table(0)?.tables(subgraph::TENSORS)?;
    (0..tensors.len())
        .map(|index| Ok(short(tensors.table(index)?.text(tensor::NAME)?)))
        .collect()
}

fn operator_names(file: &Table<'_>) -> Result<Vec<String>, ImportError> {
    let codes = file.tables(model::OPERATOR_CODES)?;
    let name = |index| {
        let code = codes.table(index)?;
        // Codes above 127 do not fit the old field, so whichever is greater holds.
        let old = i32::from(code.scalar(operator_code::OLD_CODE, 0i8)?);
        let number = code.scalar(operator_code::CODE, 0i32)?.max(old);
        let custom = code.text(operator_code::CUSTOM_CODE)?;
        let name = usize::try_from(number)
            .ok()
            .and_then(|number| OPERATORS.get(number));
        Ok(match name {
            Some(operator) if operator.name == "CUSTOM" => {
                format!("CUSTOM `{}`", short(custom))
            }
            Some(operator) => operator.name.to_owned(),
            None => format!("operator {number}"),
        })
    };
    (0..codes.len()).map(name).collect()
}

/// What an answer can be beside an unreadable file: a value, or why there is none.
pub(super) type Answer<T> = Result<Result<T, String>, ImportError>;

/// An import on its way.
pub(super) struct Import<'a> {
    pub(super) buffers: Vector<'a>,
    pub(super) tensors: Vector<'a>,
    pub(super) graph: Graph,
    pub(super) activations: HashMap<i32, TensorId>,
    ends: Ends,
    /// Whole numbers that operators have made of shapes.
    known: HashMap<i32, Vec<i64>>,
    /// What is read and assigned by name.
    pub(super) variables: Variables,
    /// Tensors of real numbers that an int8 tensor stands for.
    reals: HashMap<i32, Real>,
    /// Ops that make activations of constants; they come before all others.
    constants: Vec<Op>,
    /// Tensors of whole numbers that `ARG_MAX` and `ARG_MIN` make.
    places_of_extremes: HashSet<i32>,
    bytes_left: usize,
    places_left: usize,
}

impl<'a> Import<'a> {
    /// An import of one subgraph that has not begun.
    pub(super) fn of(file: &Table<'a>, subgraph: &Table<'a>) -> Result<Import<'a>, ImportError> {
        Ok(Import {
            buffers: file.tables(model::BUFFERS)?,
            tensors: subgraph.tables(subgraph::TENSORS)?,
            graph: Graph::default(),
            activations: HashMap::new(),
            ends: Ends::default(),
            known: HashMap::new(),
            variables: Variables::default(),
            reals: HashMap::new(),
            constants: Vec::new(),
            places_of_extremes: HashSet::new(),
            bytes_left: 0,
            places_left: PLACES_MAX,
        })
    }

    /// The graph's tensor for an activation of the file.
    pub(super) fn activation(&mut self, number: i32) -> Answer<TensorId> {
        let number = self.ends.instead.get(&number).copied().unwrap_or(number);
        if let Some(&id) = self.activations.get(&number) {
            return Ok(Ok(id));
        }
        let facts = self.facts(number)?;
        let name = &facts.name;
        if self.known.contains_key(&number) {
            return Ok(Err(format!(
                "tensor `{name}` is computed from shapes, and cannot be read as an activation"
            )));
        }
        let is_uint8 = facts.kind == UINT8 && self.ends.uint8.contains(&number);
        let is_place = self.places_of_extremes.contains(&number);
        if !matches!(facts.kind, INT8 | INT16) && !is_uint8 && !is_place {
            let kind = type_name(facts.kind);
            let instead = if facts.kind == FLOAT32 {
                "convert with full integer quantization, so that no operator is left in real numbers"
            } else {
                "convert with full integer quantization"
            };
            return Ok(Err(format!(
                "tensor `{name}` is {kind}; only int8 and int16 activations are read: {instead}"
            )));
        }
        let quantization = if is_place {
            Quantization::per_tensor(1.0, -128)
        } else if facts.kind == INT16 {
            match int16::quantization(&facts) {
                Ok(quantization) => quantization,
                Err(why) => return Ok(Err(why)),
            }
        } else {
            let (&[scale], &[zero_point]) = (&facts.scales[..], &facts.zero_points[..]) else {
                return Ok(Err(format!(
                    "tensor `{name}` needs one scale and one zero point"
                )));
            };
            let zero_point = zero_point.wrapping_sub(if is_uint8 { 128 } else { 0 });
            let Ok(zero_point) = i8::try_from(zero_point) else {
                return Ok(Err(format!(
                    "tensor `{name}` has a zero point outside int8"
                )));
            };
            Quantization::per_tensor(scale, zero_point)
        };
        let Some(shape) = folded_shape(&facts.dims) else {
            return Ok(Err(format!(
                "tensor `{name}` has shape {:?}; dimensions from 1 to 65,535 are read, those before the last two together",
                facts.dims
            )));
        };
        let id = self.push(Tensor {
            name: facts.name,
            shape,
            quantization: Some(quantization),
            data: None,
        });
        self.activations.insert(number, id);
        Ok(Ok(id))
    }

    /// [`Import::activation`], of a constant too: then its values become one.
    pub(super) fn made(&mut self, number: i32) -> Answer<TensorId> {
        if self.facts(number)?.data.is_empty() || self.activations.contains_key(&number) {
            return self.activation(number);
        }
        let constant = match self.operand(number)? {
            Ok(constant) => constant,
            Err(why) => return Ok(Err(why)),
        };
        let made = match self.activation(number)? {
            Ok(made) => made,
            Err(why) => return Ok(Err(why)),
        };
        let op = op_of(OpKind::Constant, vec![constant], made);
        self.constants.push(op);
        Ok(Ok(made))
    }

    /// [`Import::activation`] as a picture: of one batch, or with windows that are one row high,
    /// so that rows of other pictures are as good.
    pub(super) fn picture(&mut self, number: i32, is_one_row: bool) -> Answer<TensorId> {
        let dims = self.facts(number)?.dims;
        let batches = product(&dims[..dims.len().saturating_sub(3)]);
        if batches != 1 && !is_one_row {
            return Ok(Err(format!(
                "takes {batches} pictures at once, of shape {dims:?}; one is read, or windows of one row"
            )));
        }
        self.made(number)
    }

    /// The real numbers of a tensor, where an int8 tensor stands for them.
    pub(super) fn real(&self, number: i32) -> Option<&Real> {
        self.reals.get(&number)
    }

    /// Notes that an int8 tensor stands for one of real numbers.
    pub(super) fn stands_for(&mut self, number: i32, real: Real) {
        self.activations.insert(number, real.tensor());
        self.reals.insert(number, real);
    }

    /// [`Import::activation`] of an output of the network, whose numbers must be those of the int8.
    fn output(&mut self, number: i32) -> Answer<TensorId> {
        if let Some(real) = self.reals.get(&number)
            && !real.is_plain(self)
        {
            return Ok(Err(
                "holds real numbers that no int8 tensor has; end the network before it computes them"
                    .to_owned(),
            ));
        }
        self.activation(number)
    }

    /// Notes that a tensor of whole numbers holds places along an axis.
    pub(super) fn holds_places(&mut self, number: i32) {
        self.places_of_extremes.insert(number);
    }

    fn end(&self, number: i32) -> Result<End, ImportError> {
        let facts = self.facts(number)?;
        let kind = match facts.kind {
            UINT8 => EndKind::Uint8,
            FLOAT32 => EndKind::Float32,
            INT32 | INT64 => EndKind::Int32,
            INT16 => EndKind::Int16,
            _ => EndKind::Int8,
        };
        let inside = self.ends.instead.get(&number).copied().unwrap_or(number);
        let element = int16::element(self.facts(inside)?.kind);
        Ok(End {
            tensor: facts.name,
            kind,
            element,
        })
    }

    /// Whether a refusal has told already why a tensor is not made.
    fn refuses(&self, refusals: &[Refusal], number: i32) -> bool {
        refusals
            .iter()
            .any(|refusal| refusal.tensor_index == number)
    }

    /// An int8 filter as a constant of the graph; `channel_dimension` is where its scales run.
    pub(super) fn filter(
        &mut self,
        number: i32,
        shape: [u16; 4],
        channel_dimension: i32,
    ) -> Answer<TensorId> {
        let facts = self.facts(number)?;
        let name = &facts.name;
        if facts.kind != INT8 && facts.kind != INT4 {
            let kind = type_name(facts.kind);
            return Ok(Err(format!(
                "filter `{name}` is {kind}; int8 and int4 filters are read"
            )));
        }
        if facts.data.is_empty() {
            return Ok(Err(format!("filter `{name}` is no constant")));
        }
        if facts.zero_points.iter().any(|&zero_point| zero_point != 0) {
            return Ok(Err(format!(
                "filter `{name}` has a zero point other than 0"
            )));
        }
        if facts.scales.len() > 1 && facts.dimension != channel_dimension {
            return Ok(Err(format!(
                "filter `{name}` has scales along dimension {}",
                facts.dimension
            )));
        }
        let count = shape.iter().map(|&dim| usize::from(dim)).product();
        let values = if facts.kind == INT4 {
            self.take_bytes(facts.data.len().saturating_mul(2))?;
            // Two in a byte, the lower half first; an odd last one leaves half a byte.
            let halves = |&byte: &u8| [(byte << 4) as i8 >> 4, byte as i8 >> 4];
            let mut values: Vec<i8> = facts.data.iter().flat_map(halves).collect();
            values.truncate(count);
            values
        } else {
            self.take_bytes(facts.data.len())?;
            facts.data.iter().map(|&byte| byte as i8).collect()
        };
        let data = Some(Data::Int8(values));
        let quantization = Some(Quantization::per_channel(facts.scales));
        Ok(Ok(self.push(Tensor {
            name: facts.name,
            shape,
            quantization,
            data,
        })))
    }

    /// An int32 bias, or an int64 bias of an op over int16, as a constant of the graph, with the scales that its op implies.
    pub(super) fn bias(&mut self, number: i32, scales: Vec<f32>) -> Answer<TensorId> {
        let facts = self.facts(number)?;
        let name = &facts.name;
        let values = match facts.kind {
            INT32 => Data::Int32(int32s(facts.data)),
            INT64 => Data::Int64(int16::int64s(facts.data)),
            _ => Data::Int32(Vec::new()),
        };
        if values.is_empty() || facts.zero_points.iter().any(|&z| z != 0) {
            let kind = type_name(facts.kind);
            return Ok(Err(format!(
                "bias `{name}` is {kind}; only constant int32 biases are read, and int64 ones with int16 activations"
            )));
        }
        let Ok(count) = u16::try_from(values.len()) else {
            return Ok(Err(format!("bias `{name}` has {} values", values.len())));
        };
        self.take_bytes(facts.data.len())?;
        let quantization = Some(Quantization::per_channel(scales));
        Ok(Ok(self.push(Tensor {
            name: facts.name,
            shape: [1, 1, 1, count],
            quantization,
            data: Some(values),
        })))
    }

    /// The numbers of a small constant of whole numbers, such as axes or paddings.
    pub(super) fn int32_constant(&self, number: i32) -> Answer<Vec<i32>> {
        let numbers = match self.whole_numbers(number)? {
            Ok(numbers) => numbers,
            Err(why) => return Ok(Err(why)),
        };
        let narrow = numbers.iter().map(|&number| i32::try_from(number));
        let narrow: Result<Vec<i32>, _> = narrow.collect();
        Ok(narrow.map_err(|_| format!("reads numbers beyond 32 bits: {:?}", numbers.first())))
    }

    /// The whole numbers of a small constant, or of what was computed from shapes.
    pub(super) fn whole_numbers(&self, number: i32) -> Answer<Vec<i64>> {
        if let Some(known) = self.known.get(&number) {
            return Ok(Ok(known.clone()));
        }
        let facts = self.facts(number)?;
        let small = !facts.data.is_empty() && facts.data.len() <= 4096;
        Ok(match facts.kind {
            INT32 if small => Ok(int32s(facts.data).into_iter().map(i64::from).collect()),
            INT64 if small => Ok(int16::int64s(facts.data)),
            _ => Err(format!(
                "tensor `{}` is no small constant of whole numbers",
                facts.name
            )),
        })
    }

    /// An int8 or int16 constant that a function of two values takes.
    pub(super) fn operand(&mut self, number: i32) -> Answer<TensorId> {
        let facts = self.facts(number)?;
        let name = &facts.name;
        let shape = folded_shape(&facts.dims).filter(|_| facts.kind == INT16);
        if let Some(tensor) = shape.and_then(|shape| int16::operand(&facts, shape)) {
            self.take_bytes(facts.data.len())?;
            return Ok(Ok(self.push(tensor)));
        }
        let zero_point = facts
            .zero_points
            .first()
            .and_then(|&z| i8::try_from(z).ok());
        let (INT8, &[scale], Some(zero_point), Some(shape)) = (
            facts.kind,
            &facts.scales[..],
            zero_point,
            folded_shape(&facts.dims),
        ) else {
            return Ok(Err(format!(
                "constant `{name}` is no int8 tensor, or int16 tensor of zero point 0, of one scale"
            )));
        };
        self.take_bytes(facts.data.len())?;
        let data = facts.data.iter().map(|&byte| byte as i8).collect();
        let tensor = Tensor {
            name: facts.name,
            shape,
            quantization: Some(Quantization::per_tensor(scale, zero_point)),
            data: Some(Data::Int8(data)),
        };
        Ok(Ok(self.push(tensor)))
    }

    /// Places of values, for a rearrangement.
    pub(super) fn places(&mut self, places: Vec<i32>) -> Answer<TensorId> {
        self.places_left = self
            .places_left
            .checked_sub(places.len())
            .ok_or(ImportError::TooLarge)?;
        let Ok(count) = u16::try_from(places.len()) else {
            return Ok(Err(format!(
                "moves values along axes of {} places together; up to 65,535 are read",
                places.len()
            )));
        };
        Ok(Ok(self.push(Tensor {
            name: "places".to_owned(),
            shape: [1, 1, 1, count],
            quantization: Some(Quantization::per_tensor(1.0, 0)),
            data: Some(Data::Int32(places)),
        })))
    }

    /// An activation that the file does not have, with the scale of another.
    pub(super) fn between(&mut self, like: TensorId, what: &str, shape: [u16; 4]) -> TensorId {
        let tensor = self.graph.tensor(like);
        let tensor = Tensor {
            name: format!("{} {what}", tensor.name),
            shape,
            quantization: tensor.quantization.clone(),
            data: None,
        };
        self.push(tensor)
    }

    /// The numbers of an int8 constant of the graph, to put in another order.
    pub(super) fn int8s_mut(&mut self, id: TensorId) -> Option<&mut Vec<i8>> {
        match self.graph.tensors[id.0 as usize].data.as_mut() {
            Some(Data::Int8(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, id: TensorId) -> &Tensor {
        self.graph.tensor(id)
    }

    pub(super) fn push(&mut self, tensor: Tensor) -> TensorId {
        self.graph.tensors.push(tensor);
        TensorId(self.graph.tensors.len() as u32 - 1)
    }

    pub(super) fn take_bytes(&mut self, count: usize) -> Result<(), ImportError> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(count)
            .ok_or(ImportError::TooLarge)?;
        Ok(())
    }

    fn refusal(
        &self,
        op: usize,
        operator: &str,
        output: i32,
        why: String,
    ) -> Result<Refusal, ImportError> {
        let tensor = if output < 0 {
            String::new()
        } else {
            self.facts(output)?.name
        };
        Ok(Refusal {
            subgraph: 0,
            op,
            operator: operator.to_owned(),
            tensor,
            tensor_index: output,
            why,
        })
    }
}

/// The name of a tensor as [`import`] gives it to the graph: a long one is cut; where a converter has
/// joined many, as many stay as go in whole.
#[must_use]
pub fn graph_name(name: &str) -> String {
    short(name.to_owned())
}

/// The product of dimensions or other numbers of a file, which may be any.
pub(super) fn product(numbers: &[impl Copy + Into<i64>]) -> i64 {
    let each = numbers.iter().map(|&number| number.into());
    each.fold(1, i64::saturating_mul)
}

pub(super) fn short(name: String) -> String {
    let Some((end, _)) = name.char_indices().nth(NAME_CHARS_MAX) else {
        return name;
    };
    let cut = &name[..end];
    let whole = cut.rfind(';').filter(|&end| end > 0).unwrap_or(end);
    cut[..whole].to_owned()
}

/// An op that has been read.
pub(super) fn op_of(kind: OpKind, inputs: Vec<TensorId>, output: TensorId) -> Op {
    Op {
        kind,
        inputs,
        output,
    }
}
