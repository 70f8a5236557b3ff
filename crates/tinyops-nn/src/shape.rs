//! How an op becomes a task for the host's kernels: where its windows lie in a padded copy of the
//! input, and how its weights are laid out.

use core::cell::Cell;

use crate::arch::host::{
    Add, BLOCK_BYTES, Conv, Convolve, Depthwise, Finish, GROUP_BYTES, HEAD, LANES, LOW_SHIFTS,
    LOW_SUMS, Line, OVERRUN_BYTES, Padded, Pool, Rule, Task, Term, Windows, array_bytes,
};
use crate::isa::Isa;
use crate::kernel::add::Sum;
use crate::kernel::{Channels, number};
use crate::plan::{Plan, TensorView};
use crate::quantize::Multiplier;
use crate::record::{Element, FLAG_BACKWARD, NONE, OpCode, OpRecord};

/// Ops whose padded input or laid out weights would take more than this stay with the portable
/// kernels: a hostile plan shall not ask for all the memory there is.
const BYTES_MAX: u64 = 1 << 24;

/// An op as the host's kernels see it. A function of the plan's records alone.
pub(crate) enum Shape {
    /// The portable kernel runs.
    Portable,
    Convolve {
        padded: Padded,
        windows: Windows,
        packed_bytes: usize,
        work_bytes: usize,
        /// What it makes waits in so many lines for the sum that takes it.
        waiting_lines: usize,
    },
    Add,
    Pool,
}

/// What is known of an op after its numbers were read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Verdict {
    /// Whether the op has a kernel of its own here; else the portable one runs.
    pub(crate) is_own: bool,
    /// As [`Finish::is_low`].
    pub(crate) is_low: bool,
}

impl Verdict {
    pub(crate) fn write(self, line: &mut Line) {
        let bytes = Line::slice_mut(core::slice::from_mut(line));
        bytes[0] = u8::from(self.is_own);
        bytes[1] = u8::from(self.is_low);
    }

    fn read(line: &Line) -> Verdict {
        let bytes = Line::slice(core::slice::from_ref(line));
        Verdict {
            is_own: bytes[0] != 0,
            is_low: bytes[1] != 0,
        }
    }
}

/// The memory of one op.
pub(crate) struct Lent<'a> {
    pub(crate) verdict: &'a Line,
    pub(crate) packed: &'a [u8],
    pub(crate) work: &'a mut [Line],
    pub(crate) arena: &'a [Cell<u8>],
    /// Whether one operand of a sum waits at the beginning of the working memory.
    pub(crate) is_waiting: bool,
}

impl Shape {
    pub(crate) fn of(plan: &Plan<'_>, op: &OpRecord, isa: Isa) -> Shape {
        let group = isa.group();
        #[cfg(feature = "int16")]
        if plan.is_wide(op) {
            return Shape::Portable;
        }
        if group == 0 {
            return Shape::Portable;
        }
        let views = [plan.view(op.inputs[0]), plan.view(op.output)];
        let second = (op.inputs[1] != NONE).then(|| plan.view(op.inputs[1]));
        let mut all = views.iter().chain(&second);
        // Kernels for int16 values are portable ones.
        if all.any(|view| view.element != Element::Int8) {
            return Shape::Portable;
        }
        let shape = match op.code {
            OpCode::Conv2d => conv_shape(op, views, group),
            OpCode::DepthwiseConv2d => depthwise_shape(op, views, group),
            OpCode::Add => Some(Shape::Add),
            OpCode::AveragePool2d | OpCode::Mean if usize::from(views[0].shape[3]) >= LANES => {
                Some(Shape::Pool)
            }
            _ => None,
        };
        let mut shape = shape.unwrap_or(Shape::Portable);
        if let Shape::Convolve { waiting_lines, .. } = &mut shape
            && op.goes_into_sum()
        {
            *waiting_lines = views[1].len.div_ceil(Line::BYTES);
        }
        shape
    }

    /// Lines that the laid out weights and numbers take.
    pub(crate) fn packed_lines(&self) -> usize {
        let bytes = match self {
            Shape::Convolve { packed_bytes, .. } => *packed_bytes,
            Shape::Add => HEAD * BLOCK_BYTES,
            Shape::Portable | Shape::Pool => 0,
        };
        bytes.div_ceil(Line::BYTES)
    }

    /// Lines that a run needs beside.
    pub(crate) fn work_lines(&self) -> usize {
        match self {
            Shape::Convolve {
                work_bytes,
                waiting_lines,
                ..
            } => waiting_lines + work_bytes.div_ceil(Line::BYTES),
            _ => 0,
        }
    }

    /// Lays weights and numbers out.
    pub(crate) fn pack(
        &self,
        plan: &Plan<'_>,
        op: &OpRecord,
        isa: Isa,
        packed: &mut [u8],
    ) -> Verdict {
        packed.fill(0);
        let verdict = match self {
            Shape::Portable => None,
            Shape::Pool => Some(false),
            Shape::Add => pack_add(plan, op, packed),
            Shape::Convolve { windows, .. } => match windows {
                Windows::Conv(conv) => pack_conv(plan, op, conv, isa, packed),
                Windows::Depthwise(own) => pack_depthwise(plan, op, own, isa, packed),
            },
        };
        Verdict {
            is_own: verdict.is_some(),
            is_low: verdict.unwrap_or(false),
        }
    }

    /// Runs the op if it has a kernel here; answers whether it did.
    pub(crate) fn run(
        &self,
        plan: &Plan<'_>,
        op: &OpRecord,
        lent: Lent<'_>,
        run: impl FnOnce(&mut Task<'_>) -> bool,
    ) -> bool {
        let Lent {
            verdict,
            packed,
            work,
            arena,
            is_waiting,
        } = lent;
        let verdict = Verdict::read(verdict);
        let source = plan.view(op.inputs[0]);
        let result = plan.view(op.output);
        if !verdict.is_own && !is_waiting {
            return false;
        }
        let finish = Finish {
            zero_point: i32::from(result.zero_point),
            clamp: op.clamp.map(i32::from),
            is_low: verdict.is_low,
        };
        let input = &arena[source.range()];
        let output = &arena[result.range()];
        match self {
            Shape::Portable => false,
            Shape::Convolve {
                padded,
                windows,
                waiting_lines,
                ..
            } => {
                let (waiting, work) = work.split_at_mut(*waiting_lines);
                let waiting = Cell::from_mut(Line::slice_mut(waiting)).as_slice_of_cells();
                run(&mut Task::Convolve(Convolve {
                    padded: *padded,
                    windows: *windows,
                    finish,
                    input,
                    packed,
                    work: Line::slice_mut(work),
                    output: if waiting.is_empty() { output } else { waiting },
                }))
            }
            Shape::Pool => run(&mut Task::Pool {
                op: pool_of(plan, op),
                input,
                output,
            }),
            Shape::Add => {
                let waiting = is_waiting.then_some(work);
                run_add(
                    plan,
                    op,
                    (packed, verdict.is_own),
                    finish,
                    (arena, waiting),
                    run,
                )
            }
        }
    }
}

/// Runs a sum, whose operand may wait at the beginning of the working memory; answers whether it
/// did. Apart, so that what other ops do stays short.
#[inline(never)]
fn run_add(
    plan: &Plan<'_>,
    op: &OpRecord,
    (packed, is_own): (&[u8], bool),
    finish: Finish,
    (arena, waiting): (&[Cell<u8>], Option<&mut [Line]>),
    run: impl FnOnce(&mut Task<'_>) -> bool,
) -> bool {
    let len = plan.view(op.output).len;
    let mut sum = Sum::of(plan, op, arena);
    if op.is_merged_sum() {
        let Some(waiting) = waiting else {
            return false;
        };
        let waiting = &mut Line::slice_mut(waiting)[..len];
        sum = sum.with_waiting(Cell::from_mut(waiting).as_slice_of_cells());
    }
    let [first, second, output] = sum.places();
    let mut done = 0;
    if is_own && let Some((factors, rounds_once)) = packed.split_first_chunk() {
        let term = |index: usize| Term {
            zero_point: i32::from(plan.view(op.inputs[index]).zero_point),
            multiplier: multiplier(plan, op, 2 * index),
            rounds_once: rounds_once[index] != 0,
        };
        run(&mut Task::Add {
            op: Add {
                terms: [term(0), term(1)],
                factors,
            },
            finish,
            inputs: [first, second],
            output,
            done: &mut done,
        });
    }
    // What is left of the last block, or all.
    sum.add(done..len);
    true
}

/// A copy of the input that holds all that the op's windows touch, or `None` if that is too much.
fn padded_of(op: &OpRecord, [source, result]: [TensorView; 2], repeats: usize) -> Option<Padded> {
    let extent = |axis: usize| {
        let outputs = usize::from(result.shape[1 + axis]) - 1;
        let taps = usize::from(op.kernel[axis]) - 1;
        outputs * usize::from(op.stride[axis]) + taps * usize::from(op.dilation[axis]) + 1
    };
    let [_, height, width, channels] = source.shape.map(usize::from);
    let size = [extent(0), extent(1)];
    let factors = [size[0], size[1], channels, repeats];
    let values = factors.iter().map(|&factor| factor as u64);
    (values.fold(1, u64::saturating_mul) <= BYTES_MAX).then(|| Padded {
        input: [height, width, channels],
        size,
        pad: op.pad.map(usize::from),
        zero_point: source.zero_point as u8,
        repeats,
    })
}

fn convolve_shape(padded: Padded, windows: Windows, group: usize) -> Option<Shape> {
    let copy_bytes = padded.size[0] * padded.row() * (GROUP_BYTES / group);
    let (read_bytes, packed_bytes, _) = windows.reach(group);
    let work_bytes = (copy_bytes + OVERRUN_BYTES).max(read_bytes);
    (work_bytes.max(packed_bytes) as u64 <= BYTES_MAX).then_some(Shape::Convolve {
        padded,
        windows,
        packed_bytes,
        work_bytes,
        waiting_lines: 0,
    })
}

fn conv_shape(op: &OpRecord, views: [TensorView; 2], group: usize) -> Option<Shape> {
    let [source, result] = views;
    let padded = padded_of(op, views, 1)?;
    let value_bytes = GROUP_BYTES / group;
    let [_, height, width, outputs] = result.shape.map(usize::from);
    let pixel_bytes = usize::from(source.shape[3]) * value_bytes;
    let row_bytes = padded.row() * value_bytes;
    let [rows, columns] = op.kernel.map(usize::from);
    let [dilation_y, dilation_x] = op.dilation.map(usize::from);
    let [stride_y, stride_x] = op.stride.map(usize::from);
    // Taps side by side are one piece.
    let (pieces, pixels) = if dilation_x == 1 {
        (1, columns)
    } else {
        (columns, 1)
    };
    let mut conv = Conv {
        runs: [rows, pieces],
        run_steps: [dilation_y * row_bytes, dilation_x * pixel_bytes],
        run_groups: (pixels * usize::from(source.shape[3])).div_ceil(group),
        steps: [stride_x * pixel_bytes, stride_y * row_bytes],
        rows: height,
        width,
        outputs,
    };
    if conv.steps[1] == width * conv.steps[0] {
        // Rows follow each other as pixels do: they are one row.
        (conv.rows, conv.width) = (1, height * width);
    }
    convolve_shape(padded, Windows::Conv(conv), group)
}

fn depthwise_shape(op: &OpRecord, views: [TensorView; 2], group: usize) -> Option<Shape> {
    let [source, result] = views;
    let repeats = usize::from(result.shape[3]) / usize::from(source.shape[3]);
    let padded = padded_of(op, views, repeats)?;
    let value_bytes = GROUP_BYTES / group;
    let [_, height, width, channels] = result.shape.map(usize::from);
    let (pixel_bytes, row_bytes) = (channels * value_bytes, padded.row() * value_bytes);
    let [rows, columns] = op.kernel.map(usize::from);
    let [dilation_y, dilation_x] = op.dilation.map(usize::from);
    let [stride_y, stride_x] = op.stride.map(usize::from);
    // A line of taps goes along a row, or down a column where a row has but one.
    let (lines, taps, tap_step) = if columns == 1 {
        (1, rows, dilation_y * row_bytes)
    } else {
        (rows, columns, dilation_x * pixel_bytes)
    };
    let mut depthwise = Depthwise {
        groups: [lines, taps.div_ceil(group)],
        steps: [dilation_y * row_bytes, group * tap_step, tap_step],
        taps: taps.min(group),
        window_steps: [stride_x * pixel_bytes, stride_y * row_bytes],
        rows: height,
        width,
        channels,
    };
    if width == 1 {
        // A column is as good as a row.
        (depthwise.rows, depthwise.width) = (1, height);
        depthwise.window_steps[0] = depthwise.window_steps[1];
    }
    convolve_shape(padded, Windows::Depthwise(depthwise), group)
}

fn pool_of(plan: &Plan<'_>, op: &OpRecord) -> Pool {
    let [_, height, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let result = plan.view(op.output);
    let mut pool = Pool {
        input: [height, width, channels],
        output: [result.shape[1], result.shape[2]].map(usize::from),
        kernel: op.kernel,
        stride: op.stride,
        pad: op.pad,
        is_backward: op.flags & FLAG_BACKWARD != 0,
        rule: Rule::Average,
        clamp: op.clamp.map(i32::from),
    };
    if op.code == OpCode::Mean {
        pool.kernel = [height as u16, width as u16];
        pool.stride = [1, 1];
        pool.pad = [0, 0];
        pool.rule = Rule::Mean {
            bias: number(plan, op, 0),
            multiplier: multiplier(plan, op, 1),
            zero_point: i32::from(result.zero_point),
        };
    }
    pool
}

/// A multiplier and its shift among the op's own numbers.
fn multiplier(plan: &Plan<'_>, op: &OpRecord, at: usize) -> Multiplier {
    Multiplier {
        value: number(plan, op, at),
        shift: number(plan, op, at + 1) as i8,
    }
}

/// Whether the kernels' rescaling is exact for a multiplier: no plan of a compiler has another.
fn is_normal(multiplier: Multiplier) -> bool {
    multiplier.value >= 1 << 30
}

fn put(packed: &mut [u8], at: usize, value: i32) {
    packed[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_weight(packed: &mut [u8], at: usize, weight: u8, group: usize) {
    if group == GROUP_BYTES {
        packed[at] = weight;
    } else {
        packed[at..at + 2].copy_from_slice(&i16::from(weight as i8).to_le_bytes());
    }
}

/// Answers whether all shifts are low; `None` if a multiplier is none that the kernels know.
fn pack_conv(
    plan: &Plan<'_>,
    op: &OpRecord,
    conv: &Conv,
    isa: Isa,
    packed: &mut [u8],
) -> Option<bool> {
    let [input, output] = [op.inputs[0], op.output].map(|index| plan.view(index).shape);
    let filter = &plan.constants()[op.weights_offset as usize..];
    let channels = Channels::of(plan, op, conv.outputs);
    let (group, value_bytes) = (isa.group(), GROUP_BYTES / isa.group());
    let pieces = conv.runs[0] * conv.runs[1];
    let values = op.taps(input) as usize / pieces;
    let mut is_low = true;
    let bundles = crate::arch::bundles(isa, conv.pixels() == 1);
    for channel in 0..conv.outputs {
        let mut weights = Weights::default();
        for piece in 0..pieces {
            for value in 0..values {
                let tap = piece * values + value;
                let weight = filter[op.filter_index(input, output, channel, tap)];
                weights.add(weight);
                let group_index = piece * conv.run_groups + value / group;
                let (at, _) = conv.place(bundles, channel, group_index);
                put_weight(packed, at + value % group * value_bytes, weight, group);
            }
        }
        let (_, head) = conv.place(bundles, channel, 0);
        let (bias, multiplier) = channels.channel(channel);
        if !is_normal(multiplier) {
            return None;
        }
        is_low &= weights.are_low(bias, multiplier);
        put(packed, head, weights.folded(bias, isa));
        put(packed, head + BLOCK_BYTES, multiplier.value);
        put(packed, head + 2 * BLOCK_BYTES, i32::from(multiplier.shift));
    }
    Some(is_low)
}

/// What the weights of one output come to.
#[derive(Default)]
struct Weights {
    sum: i32,
    magnitudes: i64,
}

impl Weights {
    fn add(&mut self, weight: u8) {
        let weight = i32::from(weight as i8);
        self.sum = self.sum.wrapping_add(weight);
        self.magnitudes += i64::from(weight.abs());
    }

    /// The bias of values to which something was added.
    fn folded(&self, bias: i32, isa: Isa) -> i32 {
        bias.wrapping_sub(self.sum.wrapping_mul(i32::from(isa.value_offset())))
    }

    /// As [`Finish::is_low`].
    fn are_low(&self, bias: i32, multiplier: Multiplier) -> bool {
        let most = i64::from(bias).abs() + 128 * self.magnitudes;
        LOW_SHIFTS.contains(&multiplier.shift) && most < LOW_SUMS
    }
}

/// As [`pack_conv`].
fn pack_depthwise(
    plan: &Plan<'_>,
    op: &OpRecord,
    own: &Depthwise,
    isa: Isa,
    packed: &mut [u8],
) -> Option<bool> {
    let filter = &plan.constants()[op.weights_offset as usize..];
    let channels = Channels::of(plan, op, own.channels);
    let (group, value_bytes) = (isa.group(), GROUP_BYTES / isa.group());
    let [lines, groups] = own.groups;
    let taps = op.kernel.map(usize::from).iter().product::<usize>() / lines;
    let stride = array_bytes(own.channels);
    let mut is_low = true;
    for place in 0..own.channels + LANES {
        let channel = place % own.channels;
        let at = place * GROUP_BYTES;
        let mut weights = Weights::default();
        for line in 0..lines {
            for tap in 0..taps {
                let weight = filter[(line * taps + tap) * own.channels + channel];
                weights.add(weight);
                let array = (HEAD + line * groups + tap / group) * stride;
                put_weight(
                    packed,
                    array + at + tap % group * value_bytes,
                    weight,
                    group,
                );
            }
        }
        let (bias, multiplier) = channels.channel(channel);
        if !is_normal(multiplier) {
            return None;
        }
        is_low &= weights.are_low(bias, multiplier);
        put(packed, at, weights.folded(bias, isa));
        put(packed, stride + at, multiplier.value);
        put(packed, 2 * stride + at, i32::from(multiplier.shift));
    }
    Some(is_low)
}

/// As [`pack_conv`], of the factor of the sum.
fn pack_add(plan: &Plan<'_>, op: &OpRecord, packed: &mut [u8]) -> Option<bool> {
    let [one, two, three] = [0, 2, 4].map(|at| multiplier(plan, op, at));
    if ![one, two, three].into_iter().all(is_normal) {
        return None;
    }
    for lane in 0..LANES {
        put(packed, lane * GROUP_BYTES, three.value);
        put(
            packed,
            BLOCK_BYTES + lane * GROUP_BYTES,
            i32::from(three.shift),
        );
    }
    let zero_points = op.inputs.map(|index| plan.view(index).zero_point);
    packed[2 * BLOCK_BYTES] = u8::from(Term::rounds_once(zero_points[0], one));
    packed[2 * BLOCK_BYTES + 1] = u8::from(Term::rounds_once(zero_points[1], two));
    // Each term is less than 2^28.
    Some(LOW_SHIFTS.contains(&three.shift))
}
