//! What a network remembers between runs, by name or as a tensor of its own.

use std::collections::{HashMap, HashSet};

use crate::graph::{Op, State, Tensor, TensorId};
use crate::tflite::facts::folded_shape;
use crate::tflite::flatbuffer::Table;
use crate::tflite::import::{Answer, Import, ImportError};
use crate::tflite::operator::{Options, or_refuse};
use crate::tflite::outline::{Outline, Outlines};
use crate::tflite::schema::{INT8, model, subgraph};

/// Everything that is read and assigned by name.
#[derive(Default)]
pub(super) struct Variables {
    /// The name behind each handle.
    handles: HashMap<i32, String>,
    /// What each name holds so far in a run.
    current: HashMap<String, TensorId>,
    /// The state of each name that a run reads before it assigns.
    states: HashMap<String, TensorId>,
    /// What the graph that is called once assigns: one byte for all, or `None` for others.
    pub(super) first: HashMap<String, Option<u8>>,
}

/// Whether every graph but the first is called by the first.
pub(super) fn are_all_called(outlines: &Outlines<'_>, count: usize) -> Result<bool, ImportError> {
    let mut called = HashSet::new();
    for outline in &outlines.all {
        let options = Options(outline.options);
        let fields: &[usize] = match outline.name.as_str() {
            "CALL_ONCE" | "CALL" => &[0],
            "WHILE" | "IF" => &[0, 1],
            _ => &[],
        };
        for &field in fields {
            called.insert(options.int(field, 0)?);
        }
    }
    let is_called = |index: usize| i32::try_from(index).is_ok_and(|index| called.contains(&index));
    Ok((1..count).take(called.len() + 1).all(is_called))
}

/// What the graphs assign that the first calls once.
pub(super) fn first_values(
    file: &Table<'_>,
    outlines: &Outlines<'_>,
    names: &[String],
) -> Result<HashMap<String, Option<u8>>, ImportError> {
    let mut first = HashMap::new();
    let mut calls = outlines
        .all
        .iter()
        .filter(|outline| outline.name == "CALL_ONCE");
    let Some(call) = calls.next() else {
        return Ok(first);
    };
    let index = usize::try_from(Options(call.options).int(0, 0)?);
    let index = index.map_err(|_| ImportError::Truncated)?;
    let called = file.tables(model::SUBGRAPHS)?.table(index)?;
    let operators = called.tables(subgraph::OPERATORS)?;
    let inside = Outlines::read(&operators, names, operators.len().saturating_mul(64))?;
    let import = Import::of(file, &called)?;
    let mut handles = HashMap::new();
    for outline in &inside.all {
        match (
            outline.name.as_str(),
            &outline.inputs[..],
            &outline.outputs[..],
        ) {
            ("VAR_HANDLE", [], &[handle]) => {
                handles.insert(handle, name_of(outline)?);
            }
            ("ASSIGN_VARIABLE", &[handle, value], []) => {
                let data = import.facts(value)?.data;
                let byte = data
                    .first()
                    .filter(|&&byte| data.iter().all(|&other| other == byte));
                if let Some(name) = handles.get(&handle) {
                    first.insert(name.clone(), byte.copied());
                }
            }
            _ => {
                return Ok(HashMap::from([(String::new(), None)]));
            }
        }
    }
    Ok(first)
}

fn name_of(outline: &Outline<'_>) -> Result<String, ImportError> {
    // VarHandleOptions: container, shared name.
    Ok(match outline.options {
        Some(options) => options.text(1)?,
        None => String::new(),
    })
}

/// Reads an operator that names a variable; `None` for another.
pub(super) fn read(
    import: &mut Import<'_>,
    outline: &Outline<'_>,
) -> Answer<Option<Result<Vec<Op>, String>>> {
    let done = || Ok(Ok(Some(Ok(Vec::new()))));
    match (
        outline.name.as_str(),
        &outline.inputs[..],
        &outline.outputs[..],
    ) {
        ("CALL_ONCE", ..) => {
            if import.variables.first.contains_key("") {
                return Ok(Err(
                    "calls a graph that does more than assign constants to variables".to_owned(),
                ));
            }
            done()
        }
        ("VAR_HANDLE", _, &[handle]) => {
            let name = name_of(outline)?;
            import.variables.handles.insert(handle, name);
            done()
        }
        ("READ_VARIABLE", &[handle], &[output]) => {
            let Some(name) = import.variables.handles.get(&handle).cloned() else {
                return Ok(Err("reads a variable without a name".to_owned()));
            };
            if let Some(&current) = import.variables.current.get(&name) {
                import.activations.insert(output, current);
                return done();
            }
            let before = or_refuse!(import.activation(output));
            let zero_point = import
                .tensor(before)
                .quantization
                .as_ref()
                .map_or(0, |q| q.zero_point);
            match import.variables.first.get(&name) {
                Some(&first) if first != Some(zero_point as u8) => {
                    return Ok(Err(format!(
                        "reads variable `{name}`, which begins with other values than its zero point {zero_point}"
                    )));
                }
                _ => {}
            }
            import.variables.current.insert(name.clone(), before);
            import.variables.states.insert(name, before);
            done()
        }
        ("ASSIGN_VARIABLE", &[handle, value], []) => {
            let Some(name) = import.variables.handles.get(&handle).cloned() else {
                return Ok(Err("assigns to a variable without a name".to_owned()));
            };
            if value < 0 {
                return Ok(Err("assigns nothing".to_owned()));
            }
            let value = or_refuse!(import.made(value));
            import.variables.current.insert(name, value);
            done()
        }
        ("VAR_HANDLE" | "READ_VARIABLE" | "ASSIGN_VARIABLE", ..) => Ok(Err(
            "has another count of inputs or outputs than one variable has".to_owned(),
        )),
        _ => Ok(Ok(None)),
    }
}

impl Import<'_> {
    /// Notes what a run leaves in each variable that the next reads.
    pub(super) fn leave_states(&mut self) {
        let Variables {
            current, states, ..
        } = &self.variables;
        let mut left: Vec<State> = states
            .iter()
            .map(|(name, &before)| State {
                before,
                after: Some(current.get(name).copied().unwrap_or(before)),
            })
            .collect();
        left.sort_by_key(|state| state.before);
        self.graph.states.extend(left);
    }

    /// The bytes that an operator keeps in a variable tensor of its own, and their scale.
    pub(super) fn own_state(
        &mut self,
        number: i32,
        kind: i8,
        shape: [u16; 4],
    ) -> Answer<(TensorId, f32)> {
        let facts = self.facts(number)?;
        let name = &facts.name;
        let (&[scale], &[zero_point]) = (&facts.scales[..], &facts.zero_points[..]) else {
            return Ok(Err(format!(
                "state `{name}` needs one scale and one zero point"
            )));
        };
        let zero_point = i8::try_from(zero_point).ok();
        let zero_point = zero_point.filter(|&zero_point| kind == INT8 || zero_point == 0);
        let Some(zero_point) = zero_point.filter(|_| facts.variable == Some(kind)) else {
            return Ok(Err(format!(
                "state `{name}` is no variable of the type and zero point that its operator keeps"
            )));
        };
        if folded_shape(&facts.dims).is_none() || self.activations.contains_key(&number) {
            return Ok(Err(format!(
                "state `{name}` has shape {:?}, or two operators",
                facts.dims
            )));
        }
        let quantization = crate::graph::Quantization::per_tensor(scale, zero_point);
        let before = self.push(Tensor {
            name: facts.name,
            shape,
            quantization: Some(quantization),
            data: None,
        });
        self.activations.insert(number, before);
        self.graph.states.push(State {
            before,
            after: None,
        });
        Ok(Ok((before, scale)))
    }
}
