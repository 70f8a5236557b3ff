//! Two runs of a network, layer by layer: where they differ first, and by how much.

use std::collections::HashMap;

use serde::Serialize;

use tinyops_nn::record::Element;

use crate::layers::{LayerValues, Values};

/// What one run made of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Case {
    /// The name of the input.
    pub name: String,
    /// What each layer made, in order; the last is the output.
    pub layers: Vec<LayerValues>,
}

/// What came of comparing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Each layer of either side, in order of execution.
    pub rows: Vec<Row>,
    /// The row of the first layer that differs.
    pub first: Option<usize>,
}

/// One layer, over all inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The tensor's name; that of the first side where they are paired by place.
    pub layer: String,
    /// The operator.
    pub kind: String,
    /// How many values were compared.
    pub elements: usize,
    /// What came of it.
    pub verdict: Verdict,
    /// How many inputs made a difference.
    pub cases_differing: usize,
    /// The most values that differ for one input; `None` where only checksums are known.
    pub elements_differing: Option<usize>,
    /// The greatest difference, in steps of the first side's scale; `None` as above.
    pub max_difference: Option<f64>,
    /// The first value that differs.
    pub element: Option<Witness>,
    /// The name that the second side has for it, where that is another: they are paired by place.
    pub paired_with: Option<String>,
    /// What else is to be said of what was compared.
    pub note: Option<String>,
}

/// What came of comparing one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Every value is the same, or within the tolerance.
    Same,
    /// Some value is not.
    Differs,
    /// Only the first side has it.
    OnlyA,
    /// Only the second side has it.
    OnlyB,
    /// Both have it, with different counts of values.
    Unlike,
    /// Both have it, but channels went on one side and of the other only a checksum is known.
    Unknown,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Witness {
    /// The name of the input.
    pub case: String,
    /// Which value of the layer, from 0; `None` where only checksums are known.
    pub index: Option<usize>,
    /// Its row, column and channel, where the shape is known.
    pub place: Option<[usize; 3]>,
    /// What the first side has, quantized.
    pub a: Option<i32>,
    /// What the second side has.
    pub b: Option<i32>,
}

/// Compares two runs over the same inputs; a difference of up to `tolerance` steps counts as none.
///
/// Layers are paired by name; between two pairs those without a partner are paired by their place,
/// where operator and count of values agree.
///
/// # Panics
/// If the sides have different counts of cases.
#[must_use]
pub fn compare(a: &[Case], b: &[Case], tolerance: u32) -> Comparison {
    assert_eq!(a.len(), b.len(), "both sides ran the same inputs");
    let (Some(first_a), Some(first_b)) = (a.first(), b.first()) else {
        return Comparison::default();
    };
    let mut rows = Vec::new();
    for pair in pairs(&first_a.layers, &first_b.layers) {
        rows.push(match pair {
            (Some(of_a), Some(of_b)) => {
                let layers = a.iter().zip(b).filter_map(|(a, b)| {
                    Some((a.name.as_str(), a.layers.get(of_a)?, b.layers.get(of_b)?))
                });
                row(layers, tolerance)
            }
            (Some(of_a), None) => lone(&first_a.layers[of_a], Verdict::OnlyA),
            (None, Some(of_b)) => lone(&first_b.layers[of_b], Verdict::OnlyB),
            (None, None) => continue,
        });
    }
    let first = rows
        .iter()
        .position(|row| matches!(row.verdict, Verdict::Differs | Verdict::Unlike));
    Comparison { rows, first }
}

type Pair = (Option<usize>, Option<usize>);

/// Which layer of the one belongs to which of the other, in order of execution.
fn pairs(a: &[LayerValues], b: &[LayerValues]) -> Vec<Pair> {
    // Names need not be unique, so each is counted.
    let numbered = |layers: &[LayerValues]| {
        let mut count: HashMap<String, usize> = HashMap::new();
        let number = |layer: &LayerValues| {
            let count = count.entry(layer.name.clone()).or_default();
            *count += 1;
            (layer.name.clone(), *count)
        };
        layers.iter().map(number).collect::<Vec<_>>()
    };
    let places: HashMap<(String, usize), usize> = numbered(b).into_iter().zip(0..).collect();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut next = 0;
    let mut waiting: Vec<usize> = Vec::new();
    for (index, name) in numbered(a).into_iter().enumerate() {
        match places.get(&name).filter(|&&place| place >= next) {
            Some(&place) => {
                pair_by_place(&mut pairs, a, &waiting, b, next..place);
                waiting.clear();
                pairs.push((Some(index), Some(place)));
                next = place + 1;
            }
            None => waiting.push(index),
        }
    }
    pair_by_place(&mut pairs, a, &waiting, b, next..b.len());
    pairs
}

/// Pairs layers of one stretch whose operator and count of values agree, in order.
fn pair_by_place(
    pairs: &mut Vec<Pair>,
    a: &[LayerValues],
    of_a: &[usize],
    b: &[LayerValues],
    of_b: std::ops::Range<usize>,
) {
    let mut rest = of_b;
    for &index in of_a {
        let is_like = |&other: &usize| {
            a[index].kind == b[other].kind && a[index].values.bytes() == b[other].values.bytes()
        };
        let Some(place) = rest.clone().find(is_like) else {
            pairs.push((Some(index), None));
            continue;
        };
        pairs.extend((rest.start..place).map(|other| (None, Some(other))));
        pairs.push((Some(index), Some(place)));
        rest.start = place + 1;
    }
    pairs.extend(rest.map(|other| (None, Some(other))));
}

fn lone(layer: &LayerValues, verdict: Verdict) -> Row {
    Row {
        layer: layer.name.clone(),
        kind: layer.kind.clone(),
        elements: layer.values.bytes(),
        verdict,
        cases_differing: 0,
        elements_differing: None,
        max_difference: None,
        element: None,
        paired_with: None,
        note: None,
    }
}

fn row<'l>(
    layers: impl Iterator<Item = (&'l str, &'l LayerValues, &'l LayerValues)>,
    tolerance: u32,
) -> Row {
    let mut row: Option<Row> = None;
    for (case, a, b) in layers {
        let found = Found::of(a, b, tolerance);
        let row = row.get_or_insert_with(|| Row {
            elements: found.elements,
            note: found.note.clone(),
            paired_with: (a.name != b.name).then(|| b.name.clone()),
            elements_differing: found.differing.map(|_| 0),
            max_difference: found.max_difference.map(|_| 0.0),
            ..lone(a, Verdict::Same)
        });
        row.elements_differing = row.elements_differing.max(found.differing);
        row.max_difference = match (row.max_difference, found.max_difference) {
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => before.or(now),
        };
        if found.verdict == Verdict::Unknown {
            row.verdict = Verdict::Unknown;
        } else if found.verdict != Verdict::Same {
            row.verdict = found.verdict;
            row.cases_differing += 1;
            row.element.get_or_insert_with(|| Witness {
                case: case.to_owned(),
                index: found.first.map(|first| first.index),
                place: found.first.and_then(|first| place(first.index, a, b)),
                a: found.first.map(|first| first.a),
                b: found.first.map(|first| first.b),
            });
        }
    }
    row.expect("there is a first case")
}

/// Row, column and channel of a value of the first side, the channel as the network counts it.
fn place(index: usize, a: &LayerValues, b: &LayerValues) -> Option<[usize; 3]> {
    let [_, _, width, channels] = a.shape.or(b.shape)?.map(|dim| usize::from(dim.max(1)));
    let (pixel, channel) = (index / channels, index % channels);
    let channel = a.channels.as_ref().map_or(channel, |kept| kept[channel]);
    Some([pixel / width, pixel % width, channel])
}

/// What one case says of one layer.
struct Found {
    elements: usize,
    verdict: Verdict,
    differing: Option<usize>,
    max_difference: Option<f64>,
    first: Option<First>,
    note: Option<String>,
}

#[derive(Clone, Copy)]
struct First {
    index: usize,
    a: i32,
    b: i32,
}

impl Found {
    fn of(a: &LayerValues, b: &LayerValues, tolerance: u32) -> Found {
        let mut note = None;
        let (Values::Bytes(of_a), Values::Bytes(of_b)) = (&a.values, &b.values) else {
            return Found::of_checksums(a, b);
        };
        let element = a.element.or(b.element).unwrap_or_default();
        let width = element.bytes();
        let (of_a, of_b) = (&decoded(of_a, element)[..], &decoded(of_b, element)[..]);
        let (channels_a, channels_b) = (a.channels.as_deref(), b.channels.as_deref());
        let pairs: Vec<Pairing> = if of_a.len() == of_b.len() && channels_a == channels_b {
            let pairs = of_a.iter().zip(of_b).enumerate();
            pairs
                .map(|(at, (&a, &b))| Pairing { at: [at; 2], a, b })
                .collect()
        } else {
            match common(a, of_a, b, of_b) {
                Some(pairs) => {
                    let (all, some) = (of_a.len().max(of_b.len()), pairs.len());
                    note.get_or_insert(format!(
                        "{some} of {all}: the others cannot matter and went"
                    ));
                    pairs
                }
                None => {
                    return Found {
                        elements: of_a.len(),
                        verdict: Verdict::Unlike,
                        differing: None,
                        max_difference: None,
                        first: None,
                        note: Some(format!("{} values here, {} there", of_a.len(), of_b.len())),
                    };
                }
            }
        };
        let is_made = |pair: &Pairing| {
            let is_missing = |layer: &LayerValues, at: usize| {
                layer
                    .missing
                    .iter()
                    .any(|range| range.contains(&(at * width)))
            };
            !is_missing(a, pair.at[0]) && !is_missing(b, pair.at[1])
        };
        let count = pairs.len();
        let pairs: Vec<Pairing> = pairs.into_iter().filter(is_made).collect();
        if pairs.len() < count {
            let made = pairs.len();
            note.get_or_insert(format!(
                "{made} of {count}: nobody reads the other rows, so none made them"
            ));
        }
        let steps = Steps::of(a.quantization, b.quantization);
        if steps.are_rescaled {
            note.get_or_insert("scales differ: compared as real numbers".to_owned());
        }
        let mut found = Found {
            elements: pairs.len(),
            verdict: Verdict::Same,
            differing: Some(0),
            max_difference: Some(0.0),
            first: None,
            note,
        };
        let mut differing = 0;
        let mut most = 0f64;
        for pair in pairs {
            let Pairing { a, b, .. } = pair;
            let difference = steps.between(a, b);
            most = most.max(difference);
            if difference > steps.allowed(tolerance) {
                differing += 1;
                found.verdict = Verdict::Differs;
                found.first.get_or_insert(First {
                    index: pair.at[0],
                    a,
                    b,
                });
            }
        }
        (found.differing, found.max_difference) = (Some(differing), Some(most));
        found
    }

    fn of_checksums(a: &LayerValues, b: &LayerValues) -> Found {
        let (elements, others) = (a.values.bytes(), b.values.bytes());
        let went = a.channels != b.channels || !a.missing.is_empty() || !b.missing.is_empty();
        let (verdict, said) = if went {
            let said = "only a checksum is known, and this side has not all of the values";
            (Verdict::Unknown, said.to_owned())
        } else if elements != others {
            (
                Verdict::Unlike,
                format!("{elements} values here, {others} there"),
            )
        } else if a.values.crc32() == b.values.crc32() {
            (Verdict::Same, "by checksum".to_owned())
        } else {
            (
                Verdict::Differs,
                "by checksum: the values are not known".to_owned(),
            )
        };
        Found {
            elements,
            verdict,
            differing: None,
            max_difference: None,
            first: None,
            note: Some(said),
        }
    }
}

/// The values of some bytes.
fn decoded(bytes: &[u8], element: Element) -> Vec<i32> {
    let value = |value: &[u8]| match *value {
        [low, high] => i32::from(i16::from_le_bytes([low, high])),
        [byte] => i32::from(byte as i8),
        _ => 0,
    };
    bytes.chunks(element.bytes()).map(value).collect()
}

/// One value of both: its index in either, and what either has.
struct Pairing {
    at: [usize; 2],
    a: i32,
    b: i32,
}

/// The values that both have, where one has lost channels or both have.
fn common(a: &LayerValues, of_a: &[i32], b: &LayerValues, of_b: &[i32]) -> Option<Vec<Pairing>> {
    let channels_of = |layer: &LayerValues| -> Option<Vec<usize>> {
        let count = usize::from(layer.shape?[3]);
        Some(
            layer
                .channels
                .clone()
                .unwrap_or_else(|| (0..count).collect()),
        )
    };
    let (channels_a, channels_b) = (channels_of(a)?, channels_of(b)?);
    let pixels = of_a.len() / channels_a.len().max(1);
    if a.channels.is_none() && b.channels.is_none()
        || pixels != of_b.len() / channels_b.len().max(1)
    {
        return None;
    }
    let place_in_b: HashMap<usize, usize> = channels_b.iter().copied().zip(0..).collect();
    let shared: Vec<(usize, usize)> = (0..channels_a.len())
        .filter_map(|at| Some((at, *place_in_b.get(&channels_a[at])?)))
        .collect();
    let of_pixel = |pixel: usize| {
        let (from_a, from_b) = (pixel * channels_a.len(), pixel * channels_b.len());
        let pair = move |&(in_a, in_b): &(usize, usize)| {
            let at = [from_a + in_a, from_b + in_b];
            Pairing {
                at,
                a: of_a[at[0]],
                b: of_b[at[1]],
            }
        };
        shared.iter().map(pair)
    };
    Some((0..pixels).flat_map(of_pixel).collect())
}

/// How differences are counted: in steps of the first side's scale.
struct Steps {
    a: (f32, i8),
    b: (f32, i8),
    are_rescaled: bool,
}

impl Steps {
    fn of(a: Option<(f32, i8)>, b: Option<(f32, i8)>) -> Steps {
        let known = a.or(b).unwrap_or((1.0, 0));
        let (a, b) = (a.unwrap_or(known), b.unwrap_or(known));
        Steps {
            a,
            b,
            are_rescaled: a != b,
        }
    }

    fn between(&self, a: i32, b: i32) -> f64 {
        if !self.are_rescaled {
            return f64::from(a.abs_diff(b));
        }
        let real = |value: i32, (scale, zero_point): (f32, i8)| {
            f64::from(scale) * f64::from(value - i32::from(zero_point))
        };
        (real(a, self.a) - real(b, self.b)).abs() / f64::from(self.a.0)
    }

    /// With two scales, a step of the coarser one is no difference.
    fn allowed(&self, tolerance: u32) -> f64 {
        if !self.are_rescaled {
            return f64::from(tolerance);
        }
        let coarser = f64::from(self.b.0 / self.a.0).max(1.0);
        coarser * f64::from(tolerance.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, kind: &str, values: &[i8]) -> LayerValues {
        LayerValues {
            name: name.to_owned(),
            kind: kind.to_owned(),
            shape: Some([1, 1, 1, values.len() as u16]),
            quantization: Some((0.5, 3)),
            element: Some(Element::Int8),
            channels: None,
            missing: Vec::new(),
            values: Values::Bytes(values.iter().map(|&value| value as u8).collect()),
        }
    }

    fn case(layers: Vec<LayerValues>) -> Vec<Case> {
        let name = "one".to_owned();
        vec![Case { name, layers }]
    }

    #[test]
    fn the_first_layer_that_differs_is_named_with_its_element() {
        let a = case(vec![
            layer("first", "CONV_2D", &[1, 2, 3]),
            layer("second", "ADD", &[4, -5, 6]),
            layer("third", "SOFTMAX", &[0, 0, 0]),
        ]);
        let mut b = a.clone();
        b[0].layers[1] = layer("second", "ADD", &[4, -3, 7]);
        b[0].layers[2] = layer("third", "SOFTMAX", &[9, 9, 9]);
        let found = compare(&a, &b, 0);
        assert_eq!(found.first, Some(1));
        let row = &found.rows[1];
        assert_eq!(
            (row.elements_differing, row.max_difference),
            (Some(2), Some(2.0))
        );
        let element = row.element.as_ref().expect("it differs");
        assert_eq!((element.index, element.place), (Some(1), Some([0, 0, 1])));
        assert_eq!((element.a, element.b), (Some(-5), Some(-3)));
        assert_eq!(compare(&a, &b, 2).first, Some(2), "two steps are borne");
        assert_eq!(compare(&a, &a, 0).first, None);
    }

    #[test]
    fn layers_are_paired_by_name_and_else_by_place() {
        let a = case(vec![
            layer("x", "CONV_2D", &[1]),
            layer("gone", "RELU", &[1]),
            layer("y", "ADD", &[2]),
            layer("z", "SOFTMAX", &[3, 3]),
        ]);
        let b = case(vec![
            layer("other", "CONV_2D", &[1]),
            layer("y", "ADD", &[2]),
            layer("more", "PAD", &[9]),
            layer("last", "SOFTMAX", &[3, 4]),
        ]);
        let found = compare(&a, &b, 0);
        let told: Vec<_> = found
            .rows
            .iter()
            .map(|row| (row.layer.as_str(), row.verdict))
            .collect();
        assert_eq!(
            told,
            [
                ("x", Verdict::Same),
                ("gone", Verdict::OnlyA),
                ("y", Verdict::Same),
                ("more", Verdict::OnlyB),
                ("z", Verdict::Differs),
            ]
        );
    }

    #[test]
    fn lost_channels_are_left_out() {
        let whole = layer("x", "CONV_2D", &[10, 11, 12, 13]);
        let mut some = layer("x", "CONV_2D", &[11, 13]);
        some.channels = Some(vec![1, 3]);
        let found = compare(&case(vec![whole]), &case(vec![some.clone()]), 0);
        assert_eq!(
            (found.rows[0].verdict, found.rows[0].elements),
            (Verdict::Same, 2)
        );
        let other = layer("x", "CONV_2D", &[10, 11, 12, 14]);
        let found = compare(&case(vec![other]), &case(vec![some]), 0);
        let element = found.rows[0].element.as_ref().expect("it differs");
        assert_eq!(
            (element.index, element.a, element.b),
            (Some(3), Some(14), Some(13))
        );
    }

    #[test]
    fn a_checksum_is_enough_to_tell_a_difference() {
        let known = layer("x", "CONV_2D", &[1, 2]);
        let mut sum = known.clone();
        sum.values = Values::Crc32 {
            bytes: 2,
            crc32: known.values.crc32(),
        };
        let found = compare(&case(vec![known.clone()]), &case(vec![sum.clone()]), 0);
        assert_eq!(found.rows[0].verdict, Verdict::Same);
        let other = layer("x", "CONV_2D", &[1, 3]);
        let found = compare(&case(vec![other]), &case(vec![sum]), 0);
        assert_eq!(found.rows[0].verdict, Verdict::Differs);
        assert_eq!(
            found.rows[0].element.as_ref().and_then(|found| found.index),
            None
        );
    }

    #[test]
    fn other_scales_are_compared_as_real_numbers() {
        let a = layer("x", "CONV_2D", &[3, 13]);
        let mut b = layer("x", "CONV_2D", &[0, 5]);
        // 0 and 5.0 in both.
        b.quantization = Some((1.0, 0));
        let found = compare(&case(vec![a.clone()]), &case(vec![b.clone()]), 0);
        assert_eq!(
            (found.first, found.rows[0].max_difference),
            (None, Some(0.0))
        );
        b.values = Values::Bytes(vec![0, 9]);
        let found = compare(&case(vec![a]), &case(vec![b]), 0);
        assert_eq!(
            (found.first, found.rows[0].max_difference),
            (Some(0), Some(8.0))
        );
    }
}
