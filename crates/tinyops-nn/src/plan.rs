//! The compiled program of a model, read in place and checked once.

mod error;
mod head;
mod regions;
#[cfg(feature = "int16")]
mod wide;
pub use error::PlanError;
#[cfg(feature = "int16")]
pub(crate) use wide::{CLAMP_BYTES, SIGMOID_TABLE, SOFTMAX_TABLE};

use core::cell::Cell;
use core::ops::Range;

use crate::arena::{Arena, aligned};
use crate::executor::{self, RunError};
use crate::kernel;
use crate::layout::{BLOCK_PIXELS, STEP_MAX, UNPACKED_MAX};
use crate::quantize::{Multiplier, quantize};
use crate::record::{
    CONSTANTS_ALIGN, Element, FLAG_BACKWARD, FLAG_FILL, FLAG_INPUT_KEPT, FLAG_ONE_MULTIPLIER,
    FLAG_PACKED, FLAG_SUM, HEADER_BYTES, Header, NONE, OP_BYTES, OpCode, OpRecord, TENSOR_BYTES,
    TensorRecord,
};

/// A plan whose every offset, size and range has been checked.
///
/// Whatever the bytes are, once [`Plan::load`] has accepted them no run reads or writes outside
/// the plan and the arena, nor past the region that a tensor lies in, and none panics.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    header: Header,
    tensors: &'a [[u8; TENSOR_BYTES]],
    ops: &'a [[u8; OP_BYTES]],
    constants: &'a [u8],
    /// Where each region after the first begins in the arena.
    #[cfg(feature = "regions")]
    more_starts: &'a [[u8; crate::record::REGION_BYTES]],
    /// Whether any tensor has int16 values: asked before every op.
    #[cfg(feature = "int16")]
    has_int16: bool,
}

/// A tensor of the plan in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView {
    /// The first byte in the arena.
    pub offset: usize,
    /// How many values it has, each of [`Element::bytes`].
    pub len: usize,
    /// `[1, height, width, channels]`.
    pub shape: [u16; 4],
    /// `real = scale * (q - zero_point)`.
    pub scale: f32,
    /// The quantized value of 0.
    pub zero_point: i8,
    /// What its values are.
    pub element: Element,
}

impl TensorView {
    /// The tensor's place in the arena.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes()
    }

    /// The shape as sizes.
    #[cfg_attr(
        not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))),
        expect(dead_code, reason = "where instructions are few")
    )]
    #[inline(always)]
    pub(crate) fn dims(&self) -> [usize; 4] {
        let [batch, height, width, channels] = self.shape;
        [
            usize::from(batch),
            usize::from(height),
            usize::from(width),
            usize::from(channels),
        ]
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len << (self.element.bytes() - 1)
    }

    /// The quantized values of its bytes, in order of memory.
    ///
    /// # Shapes
    /// `bytes` are those at [`TensorView::range`], or as many.
    pub fn values<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = i32> + use<'b> {
        quantized_values(self.element, bytes)
    }

    /// The real value of a quantized one.
    #[must_use]
    pub fn real(&self, q: i32) -> f32 {
        self.scale * (q - i32::from(self.zero_point)) as f32
    }
}

/// The values of some bytes, in order of memory.
pub(crate) fn quantized_values(
    element: Element,
    bytes: &[u8],
) -> impl Iterator<Item = i32> + use<'_> {
    let width = element.bytes();
    bytes.chunks_exact(width).map(move |value| match value {
        &[low, high] => i32::from(i16::from_le_bytes([low, high])),
        value => i32::from(value[0] as i8),
    })
}

impl<'a> Plan<'a> {
    /// Checks a plan and borrows it. Bytes after its end are ignored.
    ///
    /// # Errors
    /// The first [`PlanError`], in the order of the tables.
    pub fn load(bytes: &'a [u8]) -> Result<Plan<'a>, PlanError> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(PlanError::Truncated)?;
        let header = Header::from_bytes(header).ok_or(PlanError::Header)?;
        if header.flags & !FLAG_INPUT_KEPT != 0 {
            return Err(PlanError::Header);
        }
        // The tables are at most 65,535 × 60 bytes, so this cannot overflow 32 bits.
        let constants_offset = header.constants_offset();
        let tables = bytes
            .get(HEADER_BYTES..constants_offset)
            .ok_or(PlanError::Truncated)?;
        #[cfg(feature = "regions")]
        let (regions, tables) = tables.split_at(header.tensors_offset() - HEADER_BYTES);
        let (tensors, tables) = tables.split_at(usize::from(header.tensor_count) * TENSOR_BYTES);
        let (ops, padding) = tables.split_at(usize::from(header.op_count) * OP_BYTES);
        if padding.iter().any(|&byte| byte != 0) {
            return Err(PlanError::Header);
        }
        let constants = bytes[constants_offset..]
            .get(..header.constants_bytes as usize)
            .ok_or(PlanError::Truncated)?;
        if WORD_KERNELS && !bytes.as_ptr().addr().is_multiple_of(4) {
            return Err(PlanError::Misaligned);
        }
        let tensors = tensors.as_chunks().0;
        let plan = Plan {
            header,
            #[cfg(feature = "int16")]
            has_int16: wide::has_int16(tensors),
            tensors,
            ops: ops.as_chunks().0,
            constants,
            #[cfg(feature = "regions")]
            more_starts: regions.as_chunks().0,
        };
        plan.check()?;
        Ok(plan)
    }

    /// How many bytes of arena a run needs, those of all regions together.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.header.arena_bytes as usize
    }

    /// How many bytes the plan itself has.
    #[must_use]
    pub fn plan_bytes(&self) -> usize {
        self.header.constants_offset() + self.constants.len()
    }

    /// Where the caller puts the input, the first of several.
    #[must_use]
    pub fn input(&self) -> TensorView {
        self.view(self.header.input)
    }

    /// Where the caller puts each input.
    pub fn inputs(&self) -> impl Iterator<Item = TensorView> + '_ {
        let Header {
            input, more_inputs, ..
        } = self.header;
        (input..=input + u16::from(more_inputs)).map(|index| self.view(index))
    }

    /// Where a run leaves the output, the first of several.
    #[must_use]
    pub fn output(&self) -> TensorView {
        self.view(self.header.output)
    }

    /// Where a run leaves each output.
    pub fn outputs(&self) -> impl Iterator<Item = TensorView> + '_ {
        let Header {
            output,
            more_outputs,
            ..
        } = self.header;
        (output..=output + u16::from(more_outputs)).map(|index| self.view(index))
    }

    /// The input of the last dense layer, still valid in the arena after a run.
    #[must_use]
    pub fn embedding(&self) -> Option<TensorView> {
        (self.header.embedding != NONE).then(|| self.view(self.header.embedding))
    }

    /// Whether the input tensor still holds the input after a run.
    #[must_use]
    pub fn input_is_kept(&self) -> bool {
        self.header.flags & FLAG_INPUT_KEPT != 0
    }

    /// How many ops a run executes.
    #[must_use]
    pub fn op_count(&self) -> usize {
        self.ops.len()
    }

    /// One tensor of the plan's table.
    #[must_use]
    pub fn tensor(&self, index: u16) -> Option<TensorView> {
        (usize::from(index) < self.tensors.len()).then(|| self.view(index))
    }

    /// One op of the plan's table.
    #[must_use]
    pub fn op(&self, index: usize) -> Option<OpRecord> {
        self.ops.get(index).and_then(OpRecord::from_bytes)
    }

    /// Quantizes standardised features into the input of the plan, as [`Plan::run`] takes them.
    ///
    /// # Shapes
    /// `features` are as many as the input has elements; fewer leave the rest as it is.
    ///
    /// # Errors
    /// [`RunError`] if the arena is too small; the arena is then untouched.
    pub fn set_input<A: Arena + ?Sized>(
        &self,
        features: &[f32],
        arena: &mut A,
    ) -> Result<(), RunError> {
        let input = self.input();
        let tensor = arena.bytes_mut(self, input.range())?;
        #[cfg(feature = "int16")]
        if input.element == Element::Int16 {
            for (place, &feature) in tensor.as_chunks_mut().0.iter_mut().zip(features) {
                *place = crate::quantize::quantize_int16(feature, input.scale).to_le_bytes();
            }
            return Ok(());
        }
        for (place, &feature) in tensor.iter_mut().zip(features) {
            *place = quantize(feature, input.scale, input.zero_point) as u8;
        }
        Ok(())
    }

    /// The tensors that keep their bytes between runs: what a stateful network remembers.
    pub fn states(&self) -> impl Iterator<Item = TensorView> + '_ {
        let indexes = 0..self.header.tensor_count;
        indexes
            .filter(|&index| self.is_state(index))
            .map(|index| self.view(index))
    }

    /// Forgets what earlier runs have left: every state becomes its zero point.
    ///
    /// Call it before the first run over an arena, and where a new stream begins. A plan without
    /// states has nothing to forget.
    ///
    /// # Errors
    /// [`RunError`] if the arena is too small; it is then untouched.
    pub fn reset<A: Arena + ?Sized>(&self, arena: &mut A) -> Result<(), RunError> {
        arena.suffices(self)?;
        for state in self.states() {
            let bytes = arena.bytes_mut(self, state.range())?;
            bytes.fill(state.zero_point as u8);
        }
        Ok(())
    }

    fn is_state(&self, index: u16) -> bool {
        self.tensor_record(index)
            .is_some_and(|record| record.is_state)
    }

    /// Runs the plan once: input and output lie in the arena at [`Plan::input`] and [`Plan::output`].
    ///
    /// A plan with [`Plan::states`] reads what the last run left there, so the arena is its own
    /// from [`Plan::reset`] on: nobody else may write to those bytes between runs.
    ///
    /// # Errors
    /// [`RunError`] if the arena is too small; the arena is then untouched.
    pub fn run<A: Arena + ?Sized>(&self, arena: &mut A) -> Result<(), RunError> {
        arena.run_from(self, 0)
    }

    pub(crate) fn run_slice(&self, arena: &mut [u8], first_op: usize) -> Result<(), RunError> {
        self.run_part(arena, first_op, |_, _| {})
    }

    /// [`Plan::run`] over an arena in one piece, shown after each op, to compare runs layer by layer.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_observed(
        &self,
        arena: &mut [u8],
        observe: impl FnMut(usize, &[u8]),
    ) -> Result<(), RunError> {
        self.run_part(arena, 0, observe)
    }

    fn run_part(
        &self,
        arena: &mut [u8],
        first_op: usize,
        mut observe: impl FnMut(usize, &[u8]),
    ) -> Result<(), RunError> {
        let needed = self.arena_bytes();
        let given = arena.len();
        let arena = arena
            .get_mut(..needed)
            .ok_or(RunError::ArenaTooSmall { needed, given })?;
        aligned(arena)?;
        for index in first_op..self.op_count() {
            executor::execute(self, index, Cell::from_mut(&mut *arena).as_slice_of_cells());
            observe(index, arena);
        }
        Ok(())
    }

    pub(crate) fn constants(&self) -> &'a [u8] {
        self.constants
    }

    pub(crate) fn view(&self, index: u16) -> TensorView {
        let record = self
            .tensor_record(index)
            .expect("`load` has read every tensor");
        TensorView {
            offset: record.offset as usize,
            len: record.element_count() as usize,
            shape: record.shape,
            scale: record.scale,
            zero_point: record.zero_point,
            element: record.element,
        }
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn ops(&self) -> impl Iterator<Item = OpRecord> + 'a {
        let ops = self.ops;
        ops.iter()
            .map(|bytes| OpRecord::from_bytes(bytes).expect("`load` has read every op"))
    }

    fn tensor_record(&self, index: u16) -> Option<TensorRecord> {
        self.tensors
            .get(usize::from(index))
            .and_then(TensorRecord::from_bytes)
    }

    fn check(&self) -> Result<(), PlanError> {
        for index in 0..self.header.tensor_count {
            let record = self.tensor_record(index).ok_or(PlanError::Tensor(index))?;
            let end = u64::from(record.offset) + record.element_count();
            let sound = record.element_count() > 0
                && record.shape[0] == 1
                && end <= u64::from(self.header.arena_bytes)
                && record.scale.is_finite()
                && record.scale > 0.0
                && (record.region == 0 || self.header.has_more_regions());
            #[cfg(feature = "int16")]
            let sound = sound && wide::suits(&record, self.header.arena_bytes);
            if !sound {
                return Err(PlanError::Tensor(index));
            }
        }
        #[cfg(feature = "regions")]
        self.check_regions()?;
        let known = |index: u16| usize::from(index) < self.tensors.len();
        let Header {
            input,
            more_inputs,
            output,
            more_outputs,
            embedding,
            ..
        } = self.header;
        let last = |first: u16, more: u8| first.checked_add(u16::from(more)).unwrap_or(NONE);
        let (input, output) = (last(input, more_inputs), last(output, more_outputs));
        if !known(input) || !known(output) || (embedding != NONE && !known(embedding)) {
            return Err(PlanError::NoSuchTensor);
        }
        // The statistics of embeddings are those of int8.
        #[cfg(feature = "int16")]
        if self
            .embedding()
            .is_some_and(|tensor| tensor.element != Element::Int8)
        {
            return Err(PlanError::Tensor(embedding));
        }
        let mut held = None;
        for index in 0..self.header.op_count {
            let record = self.op(usize::from(index)).ok_or(PlanError::Op(index))?;
            let second = match record.code {
                OpCode::Add => known(record.inputs[1]),
                _ if !HAS_GENERAL_OPS => record.inputs[1] == NONE,
                code if code.has_state() => {
                    known(record.inputs[1]) && self.is_state(record.inputs[1])
                }
                OpCode::Binary | OpCode::Product => {
                    known(record.inputs[1]) || record.inputs[1] == NONE
                }
                _ => record.inputs[1] == NONE,
            };
            let first = known(record.inputs[0])
                && (!HAS_GENERAL_OPS
                    || record.code != OpCode::Constant
                    || record.inputs[0] == record.output);
            let is_known = first && known(record.output) && second;
            if !is_known || !record.code.is_built() {
                return Err(PlanError::Op(index));
            }
            self.check_op(&record, index, &mut held)?;
        }
        Ok(())
    }

    /// `held` is the convolution before, if it goes into this op: the tensor that it makes, and its
    /// scratch.
    fn check_op(
        &self,
        op: &OpRecord,
        index: u16,
        held: &mut Option<(u16, Range<usize>)>,
    ) -> Result<(), PlanError> {
        let held_before = held.take();
        let fits = match held_before {
            None => !op.is_merged_sum(),
            Some((made, _)) => (op.inputs[0] == made) != (op.inputs[1] == made),
        };
        if !fits {
            return Err(PlanError::Op(index));
        }
        #[cfg(feature = "int16")]
        if self.is_wide(op) {
            return self.check_wide(op, index);
        }
        let input = self.view(op.inputs[0]);
        let output = self.view(op.output);
        let numbers_are_sound = op.clamp[0] <= op.clamp[1]
            && op.kernel.iter().all(|&n| n > 0)
            && op.stride.iter().chain(&op.dilation).all(|&n| n > 0)
            && flags_suit(op);
        if !numbers_are_sound {
            return Err(PlanError::Op(index));
        }
        let [_, _, _, input_channels] = input.shape;
        let [_, output_height, output_width, output_channels] = output.shape;
        let shapes_fit = match op.code {
            OpCode::Conv2d => true,
            OpCode::DepthwiseConv2d => output_channels.is_multiple_of(input_channels),
            OpCode::MaxPool2d | OpCode::AveragePool2d => output_channels == input_channels,
            OpCode::Add => {
                output.shape == input.shape && output.shape == self.view(op.inputs[1]).shape
            }
            OpCode::Softmax => output.shape == input.shape,
            // A build without the others has refused them before.
            _ if !HAS_GENERAL_OPS => false,
            OpCode::Lookup => output.shape == input.shape,
            OpCode::Mean => {
                [output_height, output_width, output_channels] == [1, 1, input_channels]
            }
            OpCode::Pad => {
                let fits = |axis: usize| {
                    u32::from(op.pad[axis - 1]) + u32::from(input.shape[axis])
                        <= u32::from(output.shape[axis])
                };
                fits(1) && fits(2) && output_channels == input_channels
            }
            // What these read is in their numbers, which are held to the tensors below.
            OpCode::Copy
            | OpCode::Binary
            | OpCode::Reduce
            | OpCode::ResizeBilinear
            | OpCode::Constant
            | OpCode::Product
            | OpCode::Extreme
            | OpCode::Svdf
            | OpCode::Lstm => true,
            OpCode::Normalize => output.shape == input.shape,
        };
        if !shapes_fit {
            return Err(PlanError::Shapes(index));
        }

        let channels = u64::from(output_channels);
        let weights_bytes = match op.code {
            OpCode::Lookup if HAS_GENERAL_OPS => 256,
            OpCode::Constant if HAS_GENERAL_OPS => output.len as u64,
            _ => op.filter_bytes(input.shape, output.shape),
        };
        let channels_bytes = match op.code {
            OpCode::Conv2d | OpCode::DepthwiseConv2d => channel_bytes(op, channels),
            OpCode::Mean => MEAN_BYTES,
            OpCode::Add => ADD_BYTES,
            OpCode::Softmax => SOFTMAX_BYTES,
            #[cfg(feature = "general-ops")]
            OpCode::Binary => 4 * kernel::binary::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Reduce => 4 * kernel::reduce::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::ResizeBilinear => 4 * kernel::resize::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Product => 4 * kernel::product::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Extreme => 4 * kernel::extreme::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Normalize => 4 * kernel::normalize::NUMBERS as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Svdf => 4 * kernel::svdf::HEAD as u64,
            #[cfg(feature = "general-ops")]
            OpCode::Lstm => 4 * kernel::lstm::HEAD as u64,
            #[cfg(not(feature = "general-ops"))]
            OpCode::Binary
            | OpCode::Reduce
            | OpCode::ResizeBilinear
            | OpCode::Product
            | OpCode::Extreme
            | OpCode::Normalize
            | OpCode::Svdf
            | OpCode::Lstm => 0,
            // Its tables follow, so the copy looks after its own numbers.
            OpCode::Copy
            | OpCode::Constant
            | OpCode::Lookup
            | OpCode::MaxPool2d
            | OpCode::AveragePool2d
            | OpCode::Pad => 0,
        };
        let inside = |offset: u32, bytes: u64| {
            bytes == 0 && offset == 0 || u64::from(offset) + bytes <= self.constants.len() as u64
        };
        if !inside(op.weights_offset, weights_bytes) || !inside(op.channels_offset, channels_bytes)
        {
            return Err(PlanError::Constants(index));
        }
        if !(op.weights_offset as usize).is_multiple_of(CONSTANTS_ALIGN)
            || !op.channels_offset.is_multiple_of(4)
        {
            return Err(PlanError::Constants(index));
        }
        if !self.shifts_are_sound(op, channels) {
            return Err(PlanError::Constants(index));
        }

        // Elementwise ops may write over an input they have just read; the others trail behind
        // what they still read, or stay apart. Safety does not depend on it, the result does. A
        // sum of what a convolution makes meanwhile is held to it together with that.
        let elementwise = matches!(op.code, OpCode::Add | OpCode::Softmax)
            || HAS_GENERAL_OPS
                && matches!(op.code, OpCode::Lookup | OpCode::Binary | OpCode::Constant);
        let trails = |range: &Range<usize>| {
            let distance = output.offset as i64 - range.start as i64;
            if op.flags & FLAG_BACKWARD != 0 {
                let lag = op.overlap_lag(input.shape, output.shape);
                return lag.is_some_and(|lag| distance >= lag);
            }
            let lead = op.overlap_lead(input.shape, output.shape);
            lead.is_some_and(|lead| distance <= lead)
        };
        let written = output.range();
        let may_overlap = |read: &Range<usize>| {
            apart(read, &written) || elementwise && *read == written || trails(read)
        };
        let block = BLOCK_PIXELS * usize::from(output_channels);
        for read in op.inputs {
            if read == NONE {
                continue;
            }
            let range = self.view(read).range();
            let is_sound = match &held_before {
                None => may_overlap(&range),
                // What a convolution makes has the sum's place. The other operand must lie so far
                // above that whole blocks can be made before they are added, or apart.
                Some((made, _)) if read == *made => range == written,
                Some((_, scratch)) => {
                    let is_above = range.start >= written.start + block;
                    (is_above || apart(&range, &written)) && apart(&range, scratch)
                }
            };
            if !is_sound {
                return Err(PlanError::Overlap(index));
            }
        }
        if HAS_GENERAL_OPS
            && op.code.has_state()
            && !apart(&input.range(), &self.view(op.inputs[1]).range())
        {
            return Err(PlanError::Overlap(index));
        }
        let scratch = op.scratch_bytes(input.shape, output.shape);
        let scratch_end = u64::from(op.scratch_offset) + scratch;
        let is_inside = scratch_end <= u64::from(self.header.arena_bytes);
        if scratch > 0 && !(is_inside && op.scratch_offset.is_multiple_of(4)) {
            return Err(PlanError::Op(index));
        }
        #[cfg(feature = "regions")]
        if self.header.has_more_regions()
            && scratch > 0
            && self.region(op.scratch_offset, scratch_end as u32).is_none()
        {
            return Err(PlanError::Op(index));
        }
        let scratch = op.scratch_offset as usize..scratch_end as usize;
        let is_apart = apart(&scratch, &input.range()) && apart(&scratch, &written);
        if !scratch.is_empty() && !is_apart {
            return Err(PlanError::Overlap(index));
        }
        if op.goes_into_sum() {
            let next = self.ops.get(usize::from(index) + 1);
            if next.is_none_or(|next| next[..2] != [OpCode::Add as u8, FLAG_SUM]) {
                return Err(PlanError::Op(index));
            }
            *held = Some((op.output, scratch));
        }
        Ok(())
    }

    /// Whether an op whose places are numbers stays in its tensors.
    #[cfg(feature = "general-ops")]
    fn general_op_is_sound(&self, op: &OpRecord) -> bool {
        let is_general = matches!(
            op.code,
            OpCode::Copy
                | OpCode::Binary
                | OpCode::Reduce
                | OpCode::ResizeBilinear
                | OpCode::Product
                | OpCode::Extreme
                | OpCode::Svdf
                | OpCode::Lstm
        );
        if !is_general {
            return true;
        }
        let len = |index: u16| self.view(index).len;
        let lens = [len(op.inputs[0]), len(op.output)];
        match op.code {
            OpCode::Copy => kernel::copy::is_sound(self, op, lens),
            OpCode::Binary | OpCode::Product => {
                let of_constants = self.constants.len().checked_sub(op.weights_offset as usize);
                let second = match op.inputs[1] {
                    NONE => of_constants,
                    index => Some(len(index)).filter(|_| of_constants.is_some()),
                };
                let Some(second) = second else { return false };
                if op.code == OpCode::Product {
                    return kernel::product::is_sound(self, op, [lens[0], second, lens[1]]);
                }
                kernel::binary::is_sound(self, op, [lens[0], second])
            }
            OpCode::Extreme => kernel::extreme::is_sound(self, op, lens),
            OpCode::Svdf => kernel::svdf::is_sound(self, op, [lens[0], len(op.inputs[1]), lens[1]]),
            OpCode::Lstm => kernel::lstm::is_sound(self, op, [lens[0], len(op.inputs[1]), lens[1]]),
            OpCode::Reduce => kernel::reduce::is_sound(self, op, lens),
            OpCode::ResizeBilinear => kernel::resize::is_sound(self, op),
            _ => true,
        }
    }

    /// Whether every shift of the op's multipliers is one that the arithmetic knows.
    fn shifts_are_sound(&self, op: &OpRecord, channels: u64) -> bool {
        let sound = |shift: i32| (-31..=30).contains(&shift);
        let numbers = &self.constants[op.channels_offset as usize..];
        let number = |index: usize| crate::record::read_i32(numbers, 4 * index);
        match op.code {
            OpCode::Conv2d | OpCode::DepthwiseConv2d if op.flags & FLAG_PACKED != 0 => {
                channels <= UNPACKED_MAX as u64 && (STEP_MAX - 31..=30).contains(&op.shift)
            }
            OpCode::Conv2d | OpCode::DepthwiseConv2d => {
                let (biases_and_multipliers, shifts) = channel_parts(op, channels);
                numbers[biases_and_multipliers..][..shifts]
                    .iter()
                    .all(|&shift| sound(i32::from(shift as i8)))
            }
            OpCode::Mean if HAS_GENERAL_OPS => sound(number(2)),
            OpCode::Add => (0..3).all(|pair| {
                let Multiplier { value, shift } = kernel::multiplier(self, op, pair);
                // A half, or less.
                value >= 1 << 30 && (-31..=-1).contains(&shift)
                    || pair < 2 && value == 1 << 30 && shift == 0
            }),
            OpCode::Softmax => (0..=30).contains(&number(1)),
            #[cfg(feature = "general-ops")]
            OpCode::Normalize => (-128..=127).contains(&number(0)),
            #[cfg(feature = "general-ops")]
            _ => self.general_op_is_sound(op),
            #[cfg(not(feature = "general-ops"))]
            _ => true,
        }
    }
}

/// Whether all ops are in this build, or few.
const HAS_GENERAL_OPS: bool = cfg!(feature = "general-ops");
/// Whether the kernels of this processor read and write words where the plan aligns them.
pub(crate) const WORD_KERNELS: bool = cfg!(all(
    target_arch = "arm",
    any(target_feature = "dsp", feature = "mve")
));

/// Bias, multiplier, shift of a `MEAN`, as 32-bit numbers.
pub(crate) const MEAN_BYTES: u64 = 12;
/// Multiplier and shift of first input, second input and output of an `ADD`, as 32-bit numbers.
pub(crate) const ADD_BYTES: u64 = 24;
/// Multiplier, left shift and least difference of a `SOFTMAX`, as 32-bit numbers.
pub(crate) const SOFTMAX_BYTES: u64 = 12;

fn apart(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.end <= b.start || b.end <= a.start
}

/// Whether the op knows its flags.
fn flags_suit(op: &OpRecord) -> bool {
    let known = match op.code {
        OpCode::Conv2d => FLAG_ONE_MULTIPLIER | FLAG_PACKED | FLAG_SUM,
        OpCode::Add => FLAG_SUM,
        OpCode::DepthwiseConv2d => FLAG_ONE_MULTIPLIER | FLAG_PACKED | FLAG_BACKWARD,
        OpCode::MaxPool2d | OpCode::AveragePool2d => FLAG_BACKWARD,
        OpCode::Copy => FLAG_FILL,
        _ => FLAG_ONE_MULTIPLIER,
    };
    let both = FLAG_ONE_MULTIPLIER | FLAG_PACKED;
    op.flags & !known == 0
        && op.flags & both != both
        && (op.shift == 0 || op.flags & FLAG_PACKED != 0)
}

fn channel_bytes(op: &OpRecord, channels: u64) -> u64 {
    let (words, rest) = channel_parts(op, channels);
    (words + rest) as u64
}

/// The bytes of the 32-bit numbers in the channel block of a convolution, and of what follows
/// them: the shifts, or the biases of packed channels.
pub(crate) fn channel_parts(op: &OpRecord, channels: u64) -> (usize, usize) {
    // At most 65,535 channels, so this fits any `usize`.
    if op.flags & FLAG_PACKED != 0 {
        return (4 * channels as usize, 3 * channels as usize);
    }
    let multipliers = if op.flags & FLAG_ONE_MULTIPLIER != 0 {
        1
    } else {
        channels
    };
    (
        (4 * (channels + multipliers)) as usize,
        multipliers as usize,
    )
}
