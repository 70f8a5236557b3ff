//! Convolutions between `SPACE_TO_BATCH_ND` and `BATCH_TO_SPACE_ND`: dilated ones, as converters
//! write them.

use std::collections::{HashMap, HashSet};

use crate::graph::{Conv, Op, Padding};
use crate::tflite::import::{Answer, Import, ImportError, op_of};
use crate::tflite::operator::{Options, filter_shape, or_refuse, weights};
use crate::tflite::outline::{Outline, Outlines};
use crate::tflite::windows::convolution_of;

/// One convolution and the operators around it, by their indexes.
#[derive(Clone, Copy)]
pub(super) struct Dilated {
    spread: usize,
    conv: usize,
    joined: usize,
}

/// All of a file.
#[derive(Default)]
pub(super) struct AllDilated {
    by_conv: HashMap<usize, Dilated>,
    /// The operators around, which the convolution does the work of.
    around: HashSet<usize>,
}

impl AllDilated {
    pub(super) fn at(&self, index: usize) -> Option<Dilated> {
        self.by_conv.get(&index).copied()
    }

    pub(super) fn is_inside(&self, index: usize) -> bool {
        self.around.contains(&index)
    }
}

/// Finds them: each of the three is the only reader of the one before.
pub(super) fn dilated(
    import: &Import<'_>,
    outlines: &Outlines<'_>,
    outputs: &[i32],
) -> Result<AllDilated, ImportError> {
    let mut all = AllDilated::default();
    for (spread, outline) in outlines.all.iter().enumerate() {
        if outline.name != "SPACE_TO_BATCH_ND" {
            continue;
        }
        let next = |tensor: Option<&i32>| {
            let tensor = tensor.filter(|tensor| !outputs.contains(tensor))?;
            outlines.only_reader(*tensor)
        };
        let Some(&input) = outline.inputs.first().filter(|&&input| input >= 0) else {
            continue;
        };
        // A signal becomes a picture of one row before the convolution, and a signal again after.
        let is_signal = import.facts(input)?.dims.len() == 3;
        let is_reshape = |name: &str| matches!(name, "RESHAPE" | "EXPAND_DIMS" | "SQUEEZE");
        let mut around = vec![spread];
        let mut beyond = |from: Option<&i32>| {
            let (index, outline) = next(from)?;
            if !is_signal || !is_reshape(&outline.name) {
                return Some((index, outline));
            }
            around.push(index);
            next(outline.outputs.first())
        };
        let Some((conv, between)) = beyond(outline.outputs.first()) else {
            continue;
        };
        let Some((joined, last)) = beyond(between.outputs.first()) else {
            continue;
        };
        let is_conv = matches!(between.name.as_str(), "CONV_2D" | "DEPTHWISE_CONV_2D")
            && last.name == "BATCH_TO_SPACE_ND";
        let reads_first = |tensor: Option<&i32>, of: &Outline<'_>| {
            tensor.is_some_and(|tensor| of.inputs.first() == Some(tensor))
        };
        let is_chain = outlines
            .all
            .iter()
            .enumerate()
            .filter(|(index, _)| around.contains(index))
            .any(|(_, outline)| reads_first(outline.outputs.first(), between));
        if is_conv && is_chain {
            let one = Dilated {
                spread,
                conv,
                joined,
            };
            all.by_conv.insert(conv, one);
            all.around.extend(around);
            all.around.insert(joined);
        }
    }
    Ok(all)
}

/// Reads one as a dilated convolution.
pub(super) fn read_dilated(
    import: &mut Import<'_>,
    outlines: &Outlines<'_>,
    one: Dilated,
) -> Answer<Vec<Op>> {
    let [spread, conv, joined] =
        [one.spread, one.conv, one.joined].map(|index| &outlines.all[index]);
    let (&[input, block, pads], &[_, joined_block, crops], &[output]) =
        (&spread.inputs[..], &joined.inputs[..], &joined.outputs[..])
    else {
        return Ok(Err("stands between batches without blocks".to_owned()));
    };
    if input < 0 || output < 0 || conv.inputs.len() < 2 {
        return Ok(Err("has no input, filter or output".to_owned()));
    }
    let [block, joined_block, pads, crops] = [
        or_refuse!(import.int32_constant(block)),
        or_refuse!(import.int32_constant(joined_block)),
        or_refuse!(import.int32_constant(pads)),
        or_refuse!(import.int32_constant(crops)),
    ];
    let options = Options(conv.options);
    let (settings, kind, channels_along) = or_refuse!(convolution_of(&options, &conv.name));
    // A signal is a picture of one row.
    let [height, width] = match block[..] {
        [width] => [1, width],
        [height, width] => [height, width],
        _ => return Ok(Err(format!("stands between blocks of {block:?}"))),
    };
    let ([pad_top, pad_bottom, pad_left, pad_right], [top, bottom, left, right]) =
        (four(&pads), four(&crops));
    let around = [
        pad_top.checked_sub(top),
        pad_bottom.checked_sub(bottom),
        pad_left.checked_sub(left),
        pad_right.checked_sub(right),
    ];
    let around = around.map(|pad| pad.and_then(|pad| u16::try_from(pad).ok()));
    let dilation = [height, width].map(|block| u8::try_from(block).ok().filter(|&block| block > 0));
    let plain = settings.stride == [1, 1]
        && settings.dilation == [1, 1]
        && settings.padding == Padding::Valid
        && block == joined_block;
    let ([Some(top), Some(bottom), Some(left), Some(right)], [Some(height), Some(width)], true) =
        (around, dilation, plain)
    else {
        return Ok(Err(format!(
            "stands between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND as no dilated convolution does: blocks of {block:?}, padding {pads:?}, crops {crops:?}, stride {:?}",
            settings.stride
        )));
    };
    let padding = if [top, bottom, left, right] == [0; 4] {
        Padding::Valid
    } else {
        Padding::Explicit {
            top,
            bottom,
            left,
            right,
        }
    };
    let whole = Conv {
        dilation: [height, width],
        padding,
        ..settings
    };
    let made = conv.outputs.first().copied().unwrap_or(-1);
    if made < 0 || import.facts(made)?.scales != import.facts(output)?.scales {
        return Ok(Err("changes its scale between batches".to_owned()));
    }
    let shape = or_refuse!(filter_shape(&import.facts(conv.inputs[1])?.dims, 4));
    if block.len() == 1 && shape[1] != 1 {
        return Ok(Err(format!(
            "has a filter of shape {shape:?} over a signal"
        )));
    }
    let mut ids = vec![or_refuse!(import.picture(input, false))];
    or_refuse!(weights(
        import,
        &conv.inputs,
        &mut ids,
        shape,
        channels_along
    ));
    let output = or_refuse!(import.activation(output));
    Ok(Ok(vec![op_of(kind(whole), ids, output)]))
}

/// Four paddings or crops; others are no dilation.
fn four(list: &[i32]) -> [i32; 4] {
    match *list {
        [left, right] => [0, 0, left, right],
        [top, bottom, left, right] => [top, bottom, left, right],
        _ => [-1; 4],
    }
}
