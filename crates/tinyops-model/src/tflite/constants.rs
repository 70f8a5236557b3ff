//! Whole numbers that a file computes from the shapes of its tensors: converters write a
//! `Flatten` as `SHAPE`, `STRIDED_SLICE`, `PACK`, `RESHAPE`.

use crate::tflite::import::{Answer, Import, ImportError};
use crate::tflite::operator::{Options, or_refuse};
use crate::tflite::outline::Outline;

/// More numbers than any shape has, and any list of places made of shapes.
const NUMBERS_MAX: usize = 4096;

/// The numbers that an operator makes, if all that it reads is known; `None` for another operator.
pub(super) fn fold(
    import: &Import<'_>,
    outline: &Outline<'_>,
) -> Result<Option<Vec<i64>>, ImportError> {
    let options = Options(outline.options);
    let numbers = |at: usize| -> Answer<Vec<i64>> {
        match outline.inputs.get(at) {
            Some(&input) if input >= 0 => import.whole_numbers(input),
            _ => Ok(Err("has too few inputs".to_owned())),
        }
    };
    Ok(folded(import, outline, &options, numbers)?
        .ok()
        .filter(|numbers| numbers.len() <= NUMBERS_MAX))
}

fn folded(
    import: &Import<'_>,
    outline: &Outline<'_>,
    options: &Options<'_>,
    numbers: impl Fn(usize) -> Answer<Vec<i64>>,
) -> Answer<Vec<i64>> {
    let unknown = || Ok(Err("is not computed while a file is read".to_owned()));
    let pairs = |function: fn(i64, i64) -> Option<i64>| -> Answer<Vec<i64>> {
        let (first, second) = (or_refuse!(numbers(0)), or_refuse!(numbers(1)));
        let len = first.len().max(second.len());
        let repeats = |list: &[i64]| list.len() == len || list.len() == 1;
        if len == 0 || !repeats(&first) || !repeats(&second) {
            return unknown();
        }
        let pair = |at: usize| function(first[at % first.len()], second[at % second.len()]);
        let made: Option<Vec<i64>> = (0..len).map(pair).collect();
        made.map_or_else(unknown, |made| Ok(Ok(made)))
    };
    let made = match outline.name.as_str() {
        "SHAPE" => match outline.inputs.first() {
            Some(&input) if input >= 0 => {
                let dims = import.facts(input)?.dims;
                dims.iter().map(|&dim| i64::from(dim)).collect()
            }
            _ => return unknown(),
        },
        "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" | "CAST" => or_refuse!(numbers(0)),
        "PACK" | "CONCATENATION" => {
            let mut all = Vec::new();
            for at in 0..outline.inputs.len() {
                all.extend(or_refuse!(numbers(at)));
            }
            all
        }
        "STRIDED_SLICE" | "SLICE" | "GATHER" => {
            let from = or_refuse!(numbers(0));
            let places = if outline.name == "GATHER" {
                or_refuse!(numbers(1))
            } else {
                let (&[begin], &[end]) = (&or_refuse!(numbers(1))[..], &or_refuse!(numbers(2))[..])
                else {
                    return unknown();
                };
                let len = from.len() as i64;
                if outline.name == "SLICE" {
                    let end = if end < 0 {
                        len
                    } else {
                        begin.saturating_add(end)
                    };
                    (begin..end.min(len)).collect()
                } else {
                    let counted = |at: i64| (if at < 0 { at + len } else { at }).clamp(0, len);
                    let begin = if options.int(0, 0)? & 1 != 0 {
                        0
                    } else {
                        counted(begin)
                    };
                    let shrinks = options.int(4, 0)? & 1 != 0;
                    let end = match () {
                        () if shrinks => begin + 1,
                        () if options.int(1, 0)? & 1 != 0 => len,
                        () => counted(end),
                    };
                    if or_refuse!(numbers(3)) != [1] {
                        return unknown();
                    }
                    (begin..end).collect()
                }
            };
            let place = |&at: &i64| {
                usize::try_from(at)
                    .ok()
                    .and_then(|at| from.get(at).copied())
            };
            match places.iter().map(place).collect::<Option<Vec<i64>>>() {
                Some(made) => made,
                None => return unknown(),
            }
        }
        "ADD" => or_refuse!(pairs(i64::checked_add)),
        "SUB" => or_refuse!(pairs(i64::checked_sub)),
        "MUL" => or_refuse!(pairs(i64::checked_mul)),
        "FLOOR_DIV" => or_refuse!(pairs(i64::checked_div_euclid)),
        "MAXIMUM" => or_refuse!(pairs(|a, b| Some(a.max(b)))),
        "MINIMUM" => or_refuse!(pairs(|a, b| Some(a.min(b)))),
        "BROADCAST_ARGS" => or_refuse!(pairs(|a, b| match (a, b) {
            (1, b) => Some(b),
            (a, 1) => Some(a),
            (a, b) => (a == b).then_some(a),
        })),
        "REDUCE_PROD" => {
            let mut all = or_refuse!(numbers(0)).into_iter();
            match all.try_fold(1i64, i64::checked_mul) {
                Some(product) => vec![product],
                None => return unknown(),
            }
        }
        "FILL" => {
            let (dims, value) = (or_refuse!(numbers(0)), or_refuse!(numbers(1)));
            let count = dims.iter().try_fold(1i64, |all, &dim| all.checked_mul(dim));
            match (
                count.and_then(|count| usize::try_from(count).ok()),
                &value[..],
            ) {
                (Some(count), &[value]) if count <= NUMBERS_MAX => vec![value; count],
                _ => return unknown(),
            }
        }
        _ => return unknown(),
    };
    Ok(Ok(made))
}
