//! How much of its arena a plan really uses: every byte accounted for, op by op.
//!
//! A plan is run over an arena that was painted. After each op, what changed must lie in what that
//! op makes or in its scratch; at the end, the highest byte of all tensors must have changed; and
//! the arena must end with the highest byte of a tensor or of scratch. Kernels of other cores use
//! more of an op's scratch than the host's do, so scratch counts whole here; the bench and smoke
//! firmware paint the arena too and measure what their kernels touch.

use std::ops::Range;

use tinyops_nn::Plan;
use tinyops_nn::record::Element;

use crate::plan_memory::ARENA_ALIGN;

/// Why the arena of a plan is not what a run uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaFault {
    /// An op wrote what is neither its output nor its scratch.
    #[error("op {op} writes byte {byte}, which is neither its output nor its scratch")]
    Stray {
        /// Which op of the plan, from 0.
        op: usize,
        /// The byte of the arena.
        byte: usize,
    },
    /// The highest tensor of a region is not written to its end.
    #[error("tensors end at byte {planned_bytes} as planned, a run writes up to {touched_bytes}")]
    Untouched {
        /// Where the highest tensor ends.
        planned_bytes: usize,
        /// Where the highest byte of a tensor ends that a run has changed.
        touched_bytes: usize,
    },
    /// The output depends on what lay in the arena before: an op reads what none has written.
    #[error("output byte {byte} depends on what lay in the arena before the run")]
    Unwritten {
        /// Which byte of the output.
        byte: usize,
    },
    /// A memory region is larger than all that lies in it; most plans have but one, the arena.
    #[error(
        "memory region {region} has {region_bytes} bytes, what lies in it ends at {used_bytes}"
    )]
    Slack {
        /// Which region of the plan, from 0.
        region: usize,
        /// The region as the plan has it.
        region_bytes: usize,
        /// Where the highest tensor or scratch in it ends.
        used_bytes: usize,
    },
    /// The plan did not run at all.
    #[error("the plan does not run: {0}")]
    Run(tinyops_nn::RunError),
}

/// The bytes of the arena that an op may write.
struct Writes {
    output: Range<usize>,
    scratch: Range<usize>,
    /// The state that the op changes.
    state: Range<usize>,
}

/// Runs a plan over painted arenas and accounts for every byte; the measured high-water mark of
/// each memory region.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<Vec<usize>, ArenaFault> {
    let writes: Vec<Writes> = (0..plan.op_count()).map(|op| of_op(plan, op)).collect();
    let inputs: Vec<Range<usize>> = plan.inputs().map(|input| input.range()).collect();
    let states: Vec<Range<usize>> = plan.states().map(|state| state.range()).collect();
    let arena_bytes = plan.arena_bytes();
    let mut used_bytes = Vec::new();
    // Where the tensors of each region end.
    let mut tensors: Vec<Range<usize>> = Vec::new();
    for (index, region) in plan.regions().enumerate() {
        let outputs = writes.iter().map(|writes| &writes.output);
        let of_tensors = outputs.chain(&inputs).chain(&states);
        let ends = |ranges: &mut dyn Iterator<Item = &Range<usize>>| {
            let own = ranges.filter(|range| region.contains(&range.start) && !range.is_empty());
            own.map(|range| range.end).max().unwrap_or(region.start)
        };
        let tensors_end = ends(&mut of_tensors.into_iter());
        let scratch_end = ends(&mut writes.iter().map(|writes| &writes.scratch));
        let end = tensors_end.max(scratch_end);
        // The region after it begins where the next sixteen bytes do.
        let is_last = region.end == arena_bytes;
        let full = if is_last {
            end
        } else {
            end.next_multiple_of(ARENA_ALIGN as usize)
        };
        if full != region.end {
            return Err(ArenaFault::Slack {
                region: index,
                region_bytes: region.len(),
                used_bytes: end - region.start,
            });
        }
        used_bytes.push(end - region.start);
        tensors.push(region.start..tensors_end);
    }
    // Both runs have one input and so make the same values: what has the value of one paint has not
    // that of the other.
    let mut is_touched = vec![false; arena_bytes];
    for given in inputs.iter().chain(&states) {
        is_touched[given.clone()].fill(true);
    }
    let mut made: Vec<Vec<u8>> = Vec::new();
    for paint in [0xA5, 0x5A] {
        let mut arena = vec![paint; arena_bytes];
        plan.reset(&mut arena).map_err(ArenaFault::Run)?;
        for input in &inputs {
            for (place, value) in arena[input.clone()].iter_mut().zip((0..=u8::MAX).cycle()) {
                *place = value.wrapping_mul(29);
            }
        }
        let mut before = arena.clone();
        let mut stray = None;
        plan.run_observed(&mut arena, |op, arena| {
            let Writes {
                output,
                scratch,
                state,
            } = &writes[op];
            for byte in 0..arena.len() {
                if arena[byte] == before[byte] {
                    continue;
                }
                // Scratch may leave the very value that a later op makes there.
                if [output, scratch, state]
                    .iter()
                    .any(|range| range.contains(&byte))
                {
                    is_touched[byte] = true;
                } else {
                    stray.get_or_insert(ArenaFault::Stray { op, byte });
                }
            }
            before.copy_from_slice(arena);
        })
        .map_err(ArenaFault::Run)?;
        if let Some(stray) = stray {
            return Err(stray);
        }
        let outputs = plan.outputs().map(|output| &arena[output.range()]);
        made.push(outputs.collect::<Vec<_>>().concat());
    }
    let mut pairs = made[0].iter().zip(&made[1]);
    if let Some(byte) = pairs.position(|(one, other)| one != other) {
        return Err(ArenaFault::Unwritten { byte });
    }
    for of_region in tensors {
        let mut of_tensors = is_touched[of_region.clone()].iter();
        let touched = of_tensors.rposition(|&touched| touched);
        let touched_bytes = touched.map_or(of_region.start, |last| of_region.start + last + 1);
        if touched_bytes != of_region.end {
            return Err(ArenaFault::Untouched {
                planned_bytes: of_region.end,
                touched_bytes,
            });
        }
    }
    Ok(used_bytes)
}

fn of_op(plan: &Plan<'_>, index: usize) -> Writes {
    let op = plan.op(index).expect("the plan has so many ops");
    let tensor = |index| plan.tensor(index).expect("a loaded plan has its tensors");
    let (input, output) = (tensor(op.inputs[0]), tensor(op.output));
    // A convolution that goes into a sum writes when that runs.
    let conv = op.is_merged_sum().then(|| plan.op(index - 1)).flatten();
    let scratch_of = conv.unwrap_or(op);
    let scratch_input = tensor(scratch_of.inputs[0]);
    let scratch_bytes = match input.element {
        Element::Int8 => scratch_of.scratch_bytes(scratch_input.shape, output.shape) as usize,
        Element::Int16 => 0,
    };
    let start = scratch_of.scratch_offset as usize;
    Writes {
        state: if op.code.has_state() {
            tensor(op.inputs[1]).range()
        } else {
            0..0
        },
        output: output.range(),
        scratch: if scratch_bytes == 0 {
            0..0
        } else {
            start..start + scratch_bytes
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_nn::record::{Header, NONE, OpCode, OpRecord, TensorRecord};

    /// Two tensors of four values and an op that makes the second of the first.
    fn plan(arena_bytes: u32, second: u32, code: OpCode, constants: &[u8]) -> Vec<u8> {
        let header = Header {
            flags: 0,
            arena_bytes,
            constants_bytes: constants.len() as u32,
            tensor_count: 2,
            op_count: 1,
            input: 0,
            more_inputs: 0,
            output: 1,
            more_outputs: 0,
            more_regions: 0,
            embedding: NONE,
        };
        let tensor = |offset| TensorRecord {
            offset,
            shape: [1, 1, 1, 4],
            scale: 1.0,
            zero_point: 0,
            region: 0,
            element: Element::Int8,
            is_state: false,
        };
        let op = OpRecord {
            code,
            flags: 0,
            inputs: [0, NONE],
            output: 1,
            clamp: [-128, 127],
            shift: 0,
            scratch_offset: 0,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            weights_offset: 0,
            channels_offset: 0,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(tensor(0).to_bytes());
        bytes.extend(tensor(second).to_bytes());
        bytes.extend(op.to_bytes());
        bytes.resize(header.constants_offset(), 0);
        bytes.extend(constants);
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<usize, ArenaFault>) {
        let plan = Plan::load(bytes).expect("sound");
        assert_eq!(measure(&plan), expected.map(|bytes| vec![bytes]));
    }

    #[test]
    fn an_arena_with_a_byte_to_spare_is_a_fault() {
        let table: [u8; 256] = std::array::from_fn(|index| index as u8 ^ 1);
        let of = |arena_bytes, second| plan(arena_bytes, second, OpCode::Lookup, &table);
        let slack = |region_bytes, used_bytes| ArenaFault::Slack {
            region: 0,
            region_bytes,
            used_bytes,
        };
        check(&of(20, 16), Ok(20));
        check(&of(4, 0), Ok(4));
        check(&of(21, 16), Err(slack(21, 20)));
        check(&of(32, 0), Err(slack(32, 4)));
    }

    #[test]
    fn an_output_that_is_not_written_whole_is_a_fault() {
        // A copy of `count` values to the `at`th place on.
        let of = |count: i32, at: i32| {
            let numbers = [0, at, 1, 0, 0, 1, 0, 0, count, 1, 1];
            let numbers = numbers.map(i32::to_le_bytes).concat();
            plan(20, 16, OpCode::Copy, &numbers)
        };
        check(&of(4, 0), Ok(20));
        check(&of(2, 0), Err(ArenaFault::Unwritten { byte: 2 }));
        check(&of(3, 1), Err(ArenaFault::Unwritten { byte: 0 }));
    }
}
