//! Which tensors share bytes, and how long each part of them is needed.

use std::collections::HashMap;

use tinyops_model::graph::{Graph, OpKind, Tensor, TensorId};

use crate::compiled::CompileError;
use crate::placement::{Block, Part};
use crate::plan_memory::{Lifetime, PART, Placed};
use crate::schedule::{Band, Step};

/// Bytes of the arena that one or more tensors share, or scratch.
pub(crate) struct Storage {
    pub(crate) name: String,
    pub(crate) block: Block,
}

/// All storages of a graph. Steps count from 1; step 0 fills the input.
#[derive(Default)]
pub(crate) struct Storages {
    pub(crate) all: Vec<Storage>,
    of: HashMap<TensorId, usize>,
    /// Tensors that live between runs.
    states: Vec<TensorId>,
    /// What lies between the ops of a pair has a storage for each band.
    of_band: HashMap<(TensorId, usize), usize>,
}

/// Bytes of a storage, from its first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) storage: usize,
    pub(crate) start: u32,
}

impl Storages {
    /// The storages that the steps need; `kept` tensors are needed to the end.
    pub(crate) fn new(
        graph: &Graph,
        steps: &[Step],
        kept: &[TensorId],
    ) -> Result<Storages, CompileError> {
        // What must outlive the last op is needed in a step of its own, so that op cannot write over it.
        let end = steps.len() as u32 + 1;
        let mut last_read: HashMap<TensorId, u32> = HashMap::new();
        for (number, step) in (1..).zip(steps) {
            for &input in step.ops().flat_map(|op| &graph.ops[op].inputs) {
                last_read.insert(input, number);
            }
        }
        last_read.extend(kept.iter().map(|&tensor| (tensor, end)));
        let last_of =
            |tensor: TensorId, made: u32| last_read.get(&tensor).copied().unwrap_or(made).max(made);

        let mut storages = Storages::default();
        for state in &graph.states {
            // From before the first step to after the last: nothing else may lie there.
            storages.add_whole(graph, state.before, 0, end + 1)?;
            storages.states.push(state.before);
        }
        for &input in &graph.inputs {
            let last = last_of(input, 0);
            storages.add_whole(graph, input, 0, last)?;
        }
        for (number, step) in (1..).zip(steps) {
            let op = &graph.ops[step.last_op()];
            let last = last_of(op.output, number);
            match (&step.band, op.kind) {
                (Some(band), _) => storages.add_band(graph, op.output, band, number, last)?,
                (None, OpKind::Reshape) => {
                    let storage = storages.of[&op.inputs[0]];
                    for part in &mut storages.all[storage].block.parts {
                        part.last = part.last.max(last);
                    }
                    storages.of.insert(op.output, storage);
                }
                (None, _) => storages.add_whole(graph, op.output, number, last)?,
            }
            if step.sum.is_some() {
                // What goes into a sum lies where the sum does.
                let storage = storages.of[&op.output];
                storages.of.insert(graph.ops[step.op].output, storage);
            }
        }
        storages.release_rows(graph, steps);
        Ok(storages)
    }

    /// Whether a tensor lives between runs.
    pub(crate) fn is_state(&self, tensor: TensorId) -> bool {
        self.states.contains(&tensor)
    }

    /// Adds scratch for one step.
    pub(crate) fn add_scratch(&mut self, name: String, bytes: u32, step: u32) -> usize {
        let block = Block::whole(bytes, step, step);
        self.all.push(Storage { name, block });
        self.all.len() - 1
    }

    /// Where a tensor lies, or the rows of it that a band reads or makes, and the rows' shape.
    pub(crate) fn place(
        &self,
        graph: &Graph,
        tensor: TensorId,
        band: Option<&Band>,
        is_output: bool,
    ) -> (Place, [u16; 4]) {
        let shape = graph.tensor(tensor).shape;
        let Some(band) = band else {
            let storage = self.of[&tensor];
            return (Place { storage, start: 0 }, shape);
        };
        let rows = if is_output { &band.makes } else { &band.reads };
        let shape = [1, rows.len() as u16, shape[2], shape[3]];
        if band.is_first == is_output {
            let storage = self.of_band[&(tensor, band.index)];
            return (Place { storage, start: 0 }, shape);
        }
        let start = rows.start as u32 * row_bytes(graph, tensor);
        let storage = self.of[&tensor];
        (Place { storage, start }, shape)
    }

    /// What lies where, part by part.
    pub(crate) fn placed(&self, offsets: &[u32]) -> Vec<Placed> {
        let storages = self.all.iter().zip(offsets);
        let parts = storages.flat_map(|(storage, &offset)| {
            let parts = &storage.block.parts;
            parts.iter().map(move |part| Placed {
                name: if parts.len() > 1 {
                    format!("{}{PART}{}", storage.name, part.start)
                } else {
                    storage.name.clone()
                },
                offset: offset + part.start,
                lifetime: Lifetime {
                    bytes: part.end - part.start,
                    first: part.first,
                    last: part.last,
                },
            })
        });
        parts.collect()
    }

    fn add_whole(
        &mut self,
        graph: &Graph,
        tensor: TensorId,
        first: u32,
        last: u32,
    ) -> Result<(), CompileError> {
        let bytes = bytes_of(graph.tensor(tensor))?;
        self.of.insert(tensor, self.all.len());
        self.all.push(Storage {
            name: graph.tensor(tensor).name.clone(),
            block: Block::whole(bytes, first, last),
        });
        Ok(())
    }

    fn add_band(
        &mut self,
        graph: &Graph,
        tensor: TensorId,
        band: &Band,
        number: u32,
        last: u32,
    ) -> Result<(), CompileError> {
        bytes_of(graph.tensor(tensor))?;
        let name = &graph.tensor(tensor).name;
        let row_bytes = row_bytes(graph, tensor);
        let [start, end] = [band.makes.start, band.makes.end].map(|row| row as u32 * row_bytes);
        if band.is_first {
            self.of_band.insert((tensor, band.index), self.all.len());
            self.all.push(Storage {
                name: format!("{name} rows {}..{}", band.makes.start, band.makes.end),
                block: Block::whole(end - start, number, number + 1),
            });
            return Ok(());
        }
        let storage = *self.of.entry(tensor).or_insert(self.all.len());
        if storage == self.all.len() {
            self.all.push(Storage {
                name: name.clone(),
                block: Block::default(),
            });
        }
        self.all[storage].block.parts.push(Part {
            start,
            end,
            first: number,
            last,
        });
        Ok(())
    }

    /// Lets go of the rows that the bands have done with, where nobody else reads them.
    fn release_rows(&mut self, graph: &Graph, steps: &[Step]) {
        let of_bands = (1u32..).zip(steps).filter_map(|(number, step)| {
            let band = step.band.as_ref().filter(|band| band.is_first)?;
            Some((graph.ops[step.op].inputs[0], number, band))
        });
        let mut rows_of: HashMap<TensorId, Vec<u32>> = HashMap::new();
        for (tensor, number, band) in of_bands {
            let rows = usize::from(graph.tensor(tensor).shape[1]);
            let last = rows_of.entry(tensor).or_insert_with(|| vec![number; rows]);
            last[band.reads.clone()].fill(number);
        }
        for (tensor, last) in rows_of {
            let block = &mut self.all[self.of[&tensor]].block;
            let [whole] = block.parts[..] else { continue };
            if Some(&whole.last) != last.iter().max() {
                continue;
            }
            let row_bytes = row_bytes(graph, tensor);
            block.parts.clear();
            for (row, &last) in (0u32..).zip(&last) {
                let (start, end) = (row * row_bytes, (row + 1) * row_bytes);
                match block.parts.last_mut().filter(|part| part.last == last) {
                    Some(part) => part.end = end,
                    None => block.parts.push(Part {
                        start,
                        end,
                        first: whole.first,
                        last,
                    }),
                }
            }
        }
    }
}

/// Bytes of one row of a tensor.
pub(crate) fn row_bytes(graph: &Graph, tensor: TensorId) -> u32 {
    let tensor = graph.tensor(tensor);
    let [_, _, columns, channels] = tensor.shape.map(u32::from);
    columns * channels * tensor.element().bytes() as u32
}

fn bytes_of(tensor: &Tensor) -> Result<u32, CompileError> {
    let values: u64 = tensor.shape.iter().map(|&dim| u64::from(dim)).product();
    let bytes = values * tensor.element().bytes() as u64;
    let fits = u32::try_from(bytes).ok().filter(|&bytes| bytes < 1 << 30);
    fits.ok_or(CompileError::TooLarge {
        what: "an activation",
        bytes,
    })
}
