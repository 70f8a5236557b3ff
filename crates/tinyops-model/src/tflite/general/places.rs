//! Operators that move values: each as the places that its results come from.

use super::{Call, place_of};
use crate::graph::{Op, OpKind, Padding, TensorId};
use crate::tflite::facts::folded_shape;
use crate::tflite::import::{Answer, Import, op_of, product};
use crate::tflite::operator::or_refuse;
use crate::tflite::schema::{INT8, INT16};

/// Where the values of one output come from: for each axis of the output the places in the input,
/// which add up; below 0 for a value that comes from nowhere.
struct Source {
    axes: Vec<Vec<i64>>,
    fill: Option<i16>,
}

/// What stands where an axis says that a value comes from nowhere.
const NOWHERE: i64 = -1;
/// No axis is longer.
const LEN_MAX: i64 = u16::MAX as i64;

pub(super) fn read(import: &mut Import<'_>, call: &Call<'_>) -> Answer<Vec<Op>> {
    let of_value = if call.name == "SPLIT" { 1 } else { 0 };
    let number = or_refuse!(call.input(of_value));
    let input = or_refuse!(import.made(number));
    let facts = import.facts(number)?;
    let dims: Vec<i64> = facts.dims.iter().map(|&dim| i64::from(dim)).collect();
    let values = dims.iter().try_fold(1i64, |all, &dim| all.checked_mul(dim));
    // Places along an axis are written down one by one, whatever becomes of them.
    let is_long = dims.iter().any(|&dim| !(1..=LEN_MAX).contains(&dim));
    if is_long || values.is_none_or(|values| values > i64::from(i32::MAX)) {
        return Ok(Err(format!("takes shape {dims:?}")));
    }
    let mut input_of = Input::new(dims);
    let mut input = input;
    let mut ops = Vec::new();
    let zero_point = import
        .tensor(input)
        .quantization
        .as_ref()
        .map_or(0, |q| i16::from(q.zero_point));
    if call.outputs.is_empty() {
        return Ok(Err("has no output".to_owned()));
    }
    if call.name == "PAD"
        && input_of.dims[..input_of.dims.len().saturating_sub(3)]
            .iter()
            .all(|&dim| dim == 1)
        && let Some(padding) = or_refuse!(around(import, call, input_of.dims.len()))
    {
        let output = or_refuse!(import.activation(or_refuse!(call.output())));
        return Ok(Ok(vec![op_of(OpKind::Pad(padding), vec![input], output)]));
    }
    if call.name == "SPACE_TO_BATCH_ND"
        && let Some((padded, dims)) = or_refuse!(padded(import, call, input, &input_of, &mut ops))
    {
        (input, input_of) = (padded, Input::new(dims));
    }
    for (index, &output) in call.outputs.iter().enumerate() {
        let dims = import.facts(output)?.dims;
        let dims: Vec<i64> = dims.iter().map(|&dim| i64::from(dim)).collect();
        if dims.iter().any(|&dim| !(1..=LEN_MAX).contains(&dim)) {
            return Ok(Err(format!("makes shape {dims:?}")));
        }
        let source = or_refuse!(source(import, call, &input_of, index, &dims));
        let fits = source.axes.len() == dims.len()
            && source
                .axes
                .iter()
                .zip(&dims)
                .all(|(axis, &len)| axis.len() as i64 == len);
        if !fits {
            return Ok(Err(format!(
                "makes another shape than {dims:?}, which its output has"
            )));
        }
        let output = or_refuse!(import.activation(output));
        let places = or_refuse!(flat(&source.axes, input_of.len()));
        let places = or_refuse!(import.places(places));
        let fill = source.fill.unwrap_or(zero_point);
        ops.push(op_of(
            OpKind::Rearrange { fill },
            vec![input, places],
            output,
        ));
    }
    Ok(Ok(ops))
}

/// The input with zeros around, as `SPACE_TO_BATCH_ND` wants it, and its shape.
fn padded(
    import: &mut Import<'_>,
    call: &Call<'_>,
    input: TensorId,
    of: &Input,
    ops: &mut Vec<Op>,
) -> Answer<Option<(TensorId, Vec<i64>)>> {
    let pads = or_refuse!(import.int32_constant(or_refuse!(call.input(2))));
    let in_range = pads.iter().all(|pad| (0..1 << 16).contains(pad));
    if pads.len() + 4 > 2 * of.dims.len() || !pads.len().is_multiple_of(2) || !in_range {
        return Ok(Err(format!("has paddings {pads:?} of {:?}", of.dims)));
    }
    if pads.iter().all(|&pad| pad == 0) {
        return Ok(Ok(None));
    }
    let (mut axes, mut dims) = (of.all(), of.dims.clone());
    for (axis, pads) in (1..).zip(pads.as_chunks::<2>().0) {
        let [before, after] = pads.map(|pad| pad as usize);
        let mut all = vec![NOWHERE; before];
        all.extend(&axes[axis]);
        all.extend(vec![NOWHERE; after]);
        axes[axis] = all;
        dims[axis] += (before + after) as i64;
    }
    let whole: Vec<i32> = dims.iter().map(|&dim| dim as i32).collect();
    let Some(shape) = folded_shape(&whole) else {
        return Ok(Err(format!("pads to shape {dims:?}")));
    };
    let places = or_refuse!(flat(&axes, of.len()));
    let places = or_refuse!(import.places(places));
    let padded = import.between(input, "padded", shape);
    let fill = import
        .tensor(input)
        .quantization
        .as_ref()
        .map_or(0, |q| q.zero_point);
    ops.push(op_of(
        OpKind::Rearrange { fill: fill.into() },
        vec![input, places],
        padded,
    ));
    Ok(Ok(Some((padded, dims))))
}

/// Zeros around height and width alone, which a convolution may take over.
fn around(import: &Import<'_>, call: &Call<'_>, rank: usize) -> Answer<Option<Padding>> {
    let pads = or_refuse!(import.int32_constant(or_refuse!(call.input(1))));
    let mut all = vec![0; 8usize.saturating_sub(2 * rank)];
    all.extend(pads);
    let in_range = all.iter().all(|&pad| u16::try_from(pad).is_ok());
    Ok(Ok(match (&all[..], in_range) {
        (&[0, 0, top, bottom, left, right, 0, 0], true) => Some(Padding::Explicit {
            top: top as u16,
            bottom: bottom as u16,
            left: left as u16,
            right: right as u16,
        }),
        _ => None,
    }))
}

/// The shape of what is moved.
struct Input {
    dims: Vec<i64>,
}

impl Input {
    fn new(dims: Vec<i64>) -> Input {
        Input { dims }
    }

    fn len(&self) -> i64 {
        product(&self.dims)
    }

    /// How far apart two neighbours along an axis lie.
    fn step(&self, axis: usize) -> i64 {
        product(&self.dims[axis + 1..])
    }

    /// All places along an axis.
    fn whole(&self, axis: usize) -> Vec<i64> {
        (0..self.dims[axis])
            .map(|at| at * self.step(axis))
            .collect()
    }

    fn all(&self) -> Vec<Vec<i64>> {
        (0..self.dims.len()).map(|axis| self.whole(axis)).collect()
    }
}

fn source(
    import: &Import<'_>,
    call: &Call<'_>,
    input: &Input,
    index: usize,
    output: &[i64],
) -> Answer<Source> {
    let rank = input.dims.len();
    let constant = |at: usize| -> Answer<Vec<i32>> {
        let number = or_refuse!(call.input(at));
        import.int32_constant(number)
    };
    let axis_of = |axis: i32| -> Answer<usize> {
        let axis_of = place_of(axis, rank);
        Ok(axis_of.ok_or_else(|| format!("has axis {axis} of {rank} dimensions")))
    };
    let mut axes = input.all();
    let mut fill = None;
    match call.name {
        "TRANSPOSE" => {
            let order = or_refuse!(constant(1));
            let mut turned = Vec::new();
            for axis in order {
                turned.push(input.whole(or_refuse!(axis_of(axis))));
            }
            axes = turned;
        }
        "SLICE" => {
            let (begins, sizes) = (or_refuse!(constant(1)), or_refuse!(constant(2)));
            if begins.len() != rank || sizes.len() != rank {
                return Ok(Err(
                    "has another count of begins than of dimensions".to_owned()
                ));
            }
            for (axis, (begin, size)) in begins.into_iter().zip(sizes).enumerate() {
                let begin = i64::from(begin);
                let size = match size {
                    -1 => input.dims[axis] - begin,
                    size => i64::from(size),
                };
                if begin < 0 || size < 1 || begin + size > input.dims[axis] {
                    return Ok(Err(format!("cuts {size} from {begin} of {:?}", input.dims)));
                }
                axes[axis] = axes[axis][begin as usize..(begin + size) as usize].to_vec();
            }
        }
        "STRIDED_SLICE" => axes = or_refuse!(strided(call, input, constant)),
        "SPLIT" | "SPLIT_V" => {
            let by_size = call.name == "SPLIT_V";
            let axis = or_refuse!(constant(if by_size { 2 } else { 0 }));
            let axis = or_refuse!(axis_of(axis.first().copied().unwrap_or(i32::MAX)));
            let len = input.dims[axis];
            let count = call.outputs.len() as i64;
            let sizes: Vec<i64> = if by_size {
                let sizes = or_refuse!(constant(1));
                let known: i64 = sizes
                    .iter()
                    .filter(|&&size| size > 0)
                    .map(|&s| i64::from(s))
                    .sum();
                let size = |&size: &i32| {
                    if size < 0 {
                        len - known
                    } else {
                        i64::from(size)
                    }
                };
                sizes.iter().map(size).collect()
            } else {
                vec![len / count; count as usize]
            };
            let start: i64 = sizes.iter().take(index).sum();
            let size = sizes.get(index).copied().unwrap_or(0);
            if size < 1 || start < 0 || start + size > len || sizes.iter().sum::<i64>() != len {
                return Ok(Err(format!("splits {len} places into {sizes:?}")));
            }
            axes[axis] = axes[axis][start as usize..(start + size) as usize].to_vec();
        }
        "UNPACK" => {
            let axis = or_refuse!(axis_of(call.options.int(1, 0)?));
            if input.dims[axis] != call.outputs.len() as i64 {
                return Ok(Err(format!(
                    "takes {:?} into {} parts",
                    input.dims,
                    call.outputs.len()
                )));
            }
            let start = axes.remove(axis)[index];
            match axes.first_mut() {
                Some(first) => first.iter_mut().for_each(|place| *place += start),
                None => return Ok(Err("makes a single value".to_owned())),
            }
        }
        "PAD" | "PADV2" | "MIRROR_PAD" => {
            let pads = or_refuse!(constant(1));
            if pads.len() != 2 * rank || pads.iter().any(|&pad| !(0..1 << 16).contains(&pad)) {
                return Ok(Err(format!("has paddings {pads:?}")));
            }
            if call.name == "PADV2" {
                let value = or_refuse!(call.input(2));
                let facts = import.facts(value)?;
                match *facts.data {
                    [byte] if facts.kind == INT8 => fill = Some(i16::from(byte as i8)),
                    [low, high] if facts.kind == INT16 => {
                        fill = Some(i16::from_le_bytes([low, high]));
                    }
                    _ => {
                        return Ok(Err(format!(
                            "pads with `{}`, which is no int8 or int16 constant",
                            facts.name
                        )));
                    }
                }
            }
            let mirror = (call.name == "MIRROR_PAD").then_some(i64::from(call.options.byte(0, 0)?));
            for (axis, pads) in pads.as_chunks::<2>().0.iter().enumerate() {
                let [before, after] = pads.map(i64::from);
                let len = input.dims[axis];
                // Mode 0 leaves the edge out of the reflection, mode 1 repeats it.
                let edge = mirror.map_or(0, |mode| 1 - mode.clamp(0, 1));
                if mirror.is_some() && before.max(after) > len - edge {
                    return Ok(Err(format!("mirrors {before} and {after} of {len} places")));
                }
                let step = input.step(axis);
                let place = |at: i64| {
                    let inside = (0..len).contains(&at);
                    match mirror {
                        _ if inside => at * step,
                        None => NOWHERE,
                        Some(_) if at < 0 => (-at - 1 + edge) * step,
                        Some(_) => (2 * len - at - 1 - edge) * step,
                    }
                };
                axes[axis] = (-before..len + after).map(place).collect();
            }
        }
        "GATHER" => {
            if call.options.int(1, 0)? != 0 {
                return Ok(Err("gathers in batches".to_owned()));
            }
            let axis = or_refuse!(axis_of(call.options.int(0, 0)?));
            let number = or_refuse!(call.input(1));
            let indices = or_refuse!(import.int32_constant(number));
            let mut of_axis = Vec::new();
            for index in indices {
                let place = usize::try_from(index)
                    .ok()
                    .and_then(|index| axes[axis].get(index));
                let Some(place) = place else {
                    return Ok(Err(format!("gathers place {index} of {:?}", input.dims)));
                };
                of_axis.push(*place);
            }
            match import.facts(number)?.dims.len() {
                1 => axes[axis] = of_axis,
                // A single index takes its axis away.
                0 if of_axis.len() == 1 && rank > 1 => {
                    axes.remove(axis);
                    axes[0].iter_mut().for_each(|place| *place += of_axis[0]);
                }
                _ => {
                    return Ok(Err(
                        "gathers by indices of more than one dimension".to_owned()
                    ));
                }
            }
        }
        "RESIZE_NEAREST_NEIGHBOR" => {
            if rank != 4 || output.len() != 4 {
                return Ok(Err("is read for four dimensions".to_owned()));
            }
            let align = call.options.byte(0, 0)? != 0;
            let middle = call.options.byte(1, 0)? != 0;
            for axis in [1, 2] {
                let step = input.step(axis);
                let nearest =
                    |at: i64| nearest(at, input.dims[axis], output[axis], align, middle) * step;
                axes[axis] = (0..output[axis]).map(nearest).collect();
            }
        }
        "SPACE_TO_DEPTH" | "DEPTH_TO_SPACE" => {
            let block = i64::from(call.options.int(0, 0)?);
            if rank != 4 || output.len() != 4 || !(1..=255).contains(&block) {
                return Ok(Err(format!("has blocks of {block} in {rank} dimensions")));
            }
            let [height, width, channels] = [input.dims[1], input.dims[2], input.dims[3]];
            let (row, pixel) = (width * channels, channels);
            if call.name == "SPACE_TO_DEPTH" {
                axes[1] = (0..height / block).map(|y| y * block * row).collect();
                axes[2] = (0..width / block).map(|x| x * block * pixel).collect();
                let place = |k: i64| {
                    let (corner, channel) = (k / channels, k % channels);
                    corner / block * row + corner % block * pixel + channel
                };
                axes[3] = (0..channels * block * block).map(place).collect();
            } else {
                let inner = channels / (block * block);
                if [height * block, width * block] != output[1..3] {
                    return Ok(Err(format!("makes another shape than {output:?}")));
                }
                axes[1] = (0..height * block)
                    .map(|y| y / block * row + y % block * block * inner)
                    .collect();
                axes[2] = (0..width * block)
                    .map(|x| x / block * pixel + x % block * inner)
                    .collect();
                axes[3] = (0..inner).collect();
            }
        }
        "SPACE_TO_BATCH_ND" | "BATCH_TO_SPACE_ND" => {
            let block = or_refuse!(constant(1));
            let spatial = block.len();
            let in_range = block.iter().all(|block| (1..=255).contains(block));
            if spatial == 0 || spatial + 1 > rank.min(4) || !in_range {
                return Ok(Err(format!("has blocks of {block:?} in {rank} dimensions")));
            }
            let block: Vec<i64> = block.into_iter().map(i64::from).collect();
            let batch = input.step(0);
            if call.name == "SPACE_TO_BATCH_ND" {
                // Batches count the places within a block first, then those of the input.
                let mut of_batch = input.whole(0);
                for (axis, &block) in (1..spatial + 1).zip(&block).rev() {
                    let count = (of_batch.len() as i64).saturating_mul(block);
                    if input.dims[axis] % block != 0 || count > LEN_MAX {
                        return Ok(Err(format!("has blocks of {block} in {:?}", input.dims)));
                    }
                    let step = input.step(axis);
                    let within = (0..block).map(|at| at * step);
                    of_batch = within
                        .flat_map(|start| of_batch.iter().map(move |place| start + place))
                        .collect();
                    axes[axis] = (0..input.dims[axis] / block)
                        .map(|at| at * block * step)
                        .collect();
                }
                axes[0] = of_batch;
            } else {
                let crops = or_refuse!(constant(2));
                let whole = product(&block);
                let sound = crops.len() == 2 * spatial && crops.iter().all(|&crop| crop >= 0);
                if !sound || input.dims[0] % whole != 0 {
                    return Ok(Err(format!(
                        "has blocks of {block:?}, crops {crops:?} in {:?}",
                        input.dims
                    )));
                }
                let batches = input.dims[0] / whole;
                axes[0] = (0..batches).map(|at| at * batch).collect();
                let mut per_place = batches * batch;
                for (axis, (&block, crops)) in (1..spatial + 1)
                    .zip(block.iter().zip(crops.as_chunks::<2>().0))
                    .rev()
                {
                    let [before, after] = crops.map(i64::from);
                    let step = input.step(axis);
                    axes[axis] = (before..input.dims[axis] * block - after)
                        .map(|at| at % block * per_place + at / block * step)
                        .collect();
                    per_place *= block;
                }
            }
        }
        "REVERSE_V2" => {
            for axis in or_refuse!(constant(1)) {
                axes[or_refuse!(axis_of(axis))].reverse();
            }
        }
        // TILE and BROADCAST_TO: the whole again and again, as often as the output tells.
        _ => {
            let missing = output.len().checked_sub(rank);
            let Some(missing) = missing else {
                return Ok(Err(format!("makes shape {output:?} of {:?}", input.dims)));
            };
            axes = vec![vec![0]; missing];
            axes.extend(input.all());
            for (axis, &len) in axes.iter_mut().zip(output) {
                let period = axis.len() as i64;
                if len % period != 0 || call.name == "BROADCAST_TO" && len != period && period != 1
                {
                    return Ok(Err(format!("makes shape {output:?} of {:?}", input.dims)));
                }
                *axis = axis.iter().copied().cycle().take(len as usize).collect();
            }
        }
    }
    Ok(Ok(Source { axes, fill }))
}

fn strided(
    call: &Call<'_>,
    input: &Input,
    constant: impl Fn(usize) -> Answer<Vec<i32>>,
) -> Answer<Vec<Vec<i64>>> {
    let lists = [
        or_refuse!(constant(1)),
        or_refuse!(constant(2)),
        or_refuse!(constant(3)),
    ];
    let [begin_mask, end_mask, ellipsis, new_axis, shrink] = [
        call.options.int(0, 0)?,
        call.options.int(1, 0)?,
        call.options.int(2, 0)?,
        call.options.int(3, 0)?,
        call.options.int(4, 0)?,
    ];
    let rank = input.dims.len();
    if ellipsis != 0 || new_axis != 0 || call.options.byte(5, 0)? != 0 {
        return Ok(Err(
            "has an ellipsis, a new axis or offsets; begin, end and strides for each axis are read"
                .to_owned(),
        ));
    }
    if lists
        .iter()
        .any(|list| list.len() > rank || list.len() != lists[0].len())
    {
        return Ok(Err(
            "has another count of begins than of dimensions".to_owned()
        ));
    }
    let mut axes = Vec::new();
    let mut start = 0;
    for axis in 0..rank {
        let whole = input.whole(axis);
        let [Some(&begin), Some(&end), Some(&stride)] =
            [0, 1, 2].map(|list: usize| lists[list].get(axis))
        else {
            axes.push(whole);
            continue;
        };
        let (len, stride) = (input.dims[axis], i64::from(stride));
        if stride == 0 {
            return Ok(Err("has a stride of 0".to_owned()));
        }
        // Forwards from 0 to the length, backwards from the last to before the first.
        let (low, high) = if stride > 0 { (0, len) } else { (-1, len - 1) };
        let counted = |at: i32| {
            let at = i64::from(at);
            (if at < 0 { at + len } else { at }).clamp(low, high)
        };
        let bit = 1i32.checked_shl(axis as u32).unwrap_or(0);
        let (first, last) = if stride > 0 { (0, len) } else { (len - 1, -1) };
        let begin = if begin_mask & bit != 0 {
            first
        } else {
            counted(begin)
        };
        let end = if end_mask & bit != 0 {
            last
        } else {
            counted(end)
        };
        if shrink & bit != 0 {
            match usize::try_from(begin).ok().and_then(|at| whole.get(at)) {
                Some(place) => start += place,
                None => return Ok(Err(format!("takes place {begin} of {len}"))),
            }
            continue;
        }
        let count = if stride > 0 {
            (end - begin + stride - 1) / stride
        } else {
            (begin - end - stride - 1) / -stride
        };
        let places = (0..count.max(0)).filter_map(|at| whole.get((begin + at * stride) as usize));
        axes.push(places.copied().collect());
    }
    match axes.first_mut() {
        Some(first) => first.iter_mut().for_each(|place: &mut i64| *place += start),
        None => return Ok(Err("makes a single value".to_owned())),
    }
    Ok(Ok(axes))
}

/// The nearest place of the input.
///
/// # Source
/// TFLM, `reference_ops::GetNearestNeighbor`: single precision.
fn nearest(at: i64, input: i64, output: i64, align: bool, middle: bool) -> i64 {
    let scale = if align && output > 1 {
        (input - 1) as f32 / (output - 1) as f32
    } else {
        input as f32 / output as f32
    };
    let place = (at as f32 + if middle { 0.5 } else { 0.0 }) * scale;
    let place = if align { place.round() } else { place.floor() };
    (place as i64).min(input - 1).max(0)
}

/// The places of `[height, width, channels]`, one list after the other; the axes before the last
/// two make the height together.
pub(super) fn flat(axes: &[Vec<i64>], len: i64) -> Answer<Vec<i32>> {
    if len > i64::from(i32::MAX) {
        return Ok(Err(format!("moves {len} values")));
    }
    let (rows, last) = axes.split_at(axes.len().saturating_sub(2));
    let mut height = vec![0];
    for axis in rows {
        if (height.len() * axis.len()) as i64 > LEN_MAX {
            return Ok(Err("makes more than 65,535 rows".to_owned()));
        }
        // Where one axis comes from nowhere, so does everything.
        let both = |&start: &i64, &place: &i64| match (start, place) {
            (NOWHERE, _) | (_, NOWHERE) => NOWHERE,
            (start, place) => start + place,
        };
        height = height
            .iter()
            .flat_map(|start| axis.iter().map(move |place| both(start, place)))
            .collect();
    }
    let single = vec![0];
    let (width, channels) = match last {
        [width, channels] => (width, channels),
        [channels] => (&single, channels),
        _ => (&single, &single),
    };
    let places = height.iter().chain(width).chain(channels);
    Ok(Ok(places.map(|&place| place as i32).collect()))
}
