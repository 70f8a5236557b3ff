//! Fixed spans of a sample, without copying.

use std::borrow::Cow;
use std::ops::Range;

use crate::dataset::Dataset;
use crate::sample::{Label, Sample, Segment};
use crate::spec::{Short, Tail, WindowSpec};

/// How samples of one rate are cut into windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windowing {
    /// Readings per channel in a window, at least 1.
    pub len: usize,
    /// Readings from one window's start to the next, at least 1.
    pub hop: usize,
    /// What becomes of the rest at the end.
    pub tail: Tail,
    /// What becomes of a sample shorter than a window.
    pub short: Short,
    /// Share of a window that its most common label must cover.
    pub label_share: f32,
}

/// One window of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Window<'a> {
    /// Which readings of the sample, counted from 0; ends past the sample if it was padded.
    pub range: Range<usize>,
    /// Interleaved readings, `len * channels`; borrowed unless padded.
    pub readings: Cow<'a, [f32]>,
    /// What it should be told to be.
    pub target: Target<'a>,
}

/// What a window should be told to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// Nothing is known.
    None,
    /// A class.
    Class(&'a str),
    /// A value; of the window's last reading, where each has its own.
    Value(f32),
}

/// Why a window spec does not fit a dataset.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Both `len` and `ms`, or both `hop` and `hop_ms`.
    #[error("`{one}` and `{other}` are both set")]
    Both {
        /// One setting.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A length of no reading.
    #[error("`{setting}` is {value}, which is less than one reading")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f32,
    },
    /// A length that no memory holds.
    #[error("`{setting}` is {value}, which is more readings than {LEN_MAX}")]
    TooLarge {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f32,
    },
    /// No window length, and samples of several lengths.
    #[error("no window length is set, and samples have between {min} and {max} readings")]
    Unequal {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// A length in milliseconds, and no rate.
    #[error("a window in milliseconds needs a sampling rate, and the dataset has none")]
    NoRate,
    /// No sample at all.
    #[error("the dataset is empty")]
    Empty,
}

/// The longest window, in readings: a minute of 96 kHz audio and more, yet a padded one still fits any host.
pub const LEN_MAX: usize = 1 << 23;

impl Windowing {
    /// Settles a spec for a dataset: lengths in readings at the dataset's rate.
    ///
    /// # Errors
    /// [`WindowError`] if the settings contradict each other or the dataset.
    pub fn new(spec: &WindowSpec, dataset: &Dataset) -> Result<Windowing, WindowError> {
        let rate_hz = dataset.rate_hz();
        let len = readings(("len", spec.len), ("ms", spec.ms), rate_hz)?;
        let hop = readings(("hop", spec.hop), ("hop_ms", spec.hop_ms), rate_hz)?;
        let len = match len {
            Some(len) => len,
            None => common_len(dataset)?,
        };
        Ok(Windowing {
            len,
            hop: hop.unwrap_or(len),
            tail: spec.tail,
            short: spec.short,
            label_share: spec.label_share,
        })
    }

    /// The windows of a sample, oldest first. Windows without a clear label are left out.
    pub fn windows<'a>(&self, sample: &'a Sample) -> impl Iterator<Item = Window<'a>> + use<'a> {
        let windowing = *self;
        let sample_len = sample.len();
        let whole = if sample_len >= self.len {
            (sample_len - self.len) / self.hop + 1
        } else {
            usize::from(sample_len > 0 && self.short != Short::Drop)
        };
        let last_end = (whole.max(1) - 1) * self.hop + self.len;
        let overlaps = self.tail == Tail::Overlap && whole > 0 && last_end < sample_len;
        let tail = overlaps.then(|| sample_len - windowing.len);
        let starts = (0..whole).map(move |index| index * windowing.hop);
        starts
            .chain(tail)
            .filter_map(move |start| windowing.window(sample, start))
    }

    fn window<'a>(&self, sample: &'a Sample, start: usize) -> Option<Window<'a>> {
        let range = start..start + self.len;
        let known = start..range.end.min(sample.len());
        let target = target(&sample.label, known.clone(), self.label_share)?;
        let width = sample.channels.len();
        let readings = &sample.readings[known.start * width..known.end * width];
        let readings = if known.len() == self.len {
            Cow::Borrowed(readings)
        } else {
            Cow::Owned(self.padded(readings, self.len * width))
        };
        Some(Window {
            range,
            readings,
            target,
        })
    }

    fn padded(&self, readings: &[f32], len: usize) -> Vec<f32> {
        match self.short {
            Short::Repeat => readings.iter().copied().cycle().take(len).collect(),
            Short::Zeros | Short::Drop => {
                let mut padded = readings.to_vec();
                padded.resize(len, 0.0);
                padded
            }
        }
    }
}

fn readings(
    (count_name, count): (&'static str, Option<u32>),
    (ms_name, ms): (&'static str, Option<f32>),
    rate_hz: f32,
) -> Result<Option<usize>, WindowError> {
    let (setting, value, readings) = match (count, ms) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(WindowError::Both {
                one: count_name,
                other: ms_name,
            });
        }
        (Some(count), None) => (count_name, count as f32, f64::from(count)),
        (None, Some(_)) if rate_hz <= 0.0 => return Err(WindowError::NoRate),
        (None, Some(ms)) => {
            let readings = f64::from(ms) * f64::from(rate_hz) / 1000.0;
            (ms_name, ms, readings.round())
        }
    };
    if readings.is_nan() || readings < 1.0 {
        return Err(WindowError::TooSmall { setting, value });
    }
    if readings > LEN_MAX as f64 {
        return Err(WindowError::TooLarge { setting, value });
    }
    Ok(Some(readings as usize))
}

fn common_len(dataset: &Dataset) -> Result<usize, WindowError> {
    let lens = || dataset.samples.iter().map(Sample::len);
    let (min, max) = (lens().min(), lens().max());
    match (min, max) {
        (Some(min), Some(max)) if min == max && min > 0 => Ok(min),
        (Some(min), Some(max)) if max > 0 => Err(WindowError::Unequal { min, max }),
        _ => Err(WindowError::Empty),
    }
}

fn target(label: &Label, range: Range<usize>, label_share: f32) -> Option<Target<'_>> {
    Some(match label {
        Label::None => Target::None,
        Label::Class(class) => Target::Class(class),
        Label::Segments(segments) => {
            let (class, count) = most_common(segments, &range)?;
            let share = count as f32 / range.len() as f32;
            if share < label_share {
                return None;
            }
            Target::Class(class)
        }
        Label::Value(value) => Target::Value(*value),
        Label::Values(values) => Target::Value(*values.get(range.end.checked_sub(1)?)?),
    })
}

/// The class that covers most of `range`, the earliest of equals, and how much it covers.
fn most_common<'a>(segments: &'a [Segment], range: &Range<usize>) -> Option<(&'a str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let first = segments.partition_point(|segment| segment.range.end <= range.start);
    for segment in &segments[first..] {
        if segment.range.start >= range.end {
            break;
        }
        let end = segment.range.end.min(range.end);
        let count = end.saturating_sub(segment.range.start.max(range.start));
        match counts.iter_mut().find(|(class, _)| *class == segment.class) {
            Some((_, total)) => *total += count,
            None => counts.push((&segment.class, count)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Channel, Origin};

    fn sample(len: usize, width: usize, label: Label) -> Sample {
        let channel = Channel {
            name: "x".into(),
            unit: "g".into(),
        };
        Sample {
            name: "s".into(),
            rate_hz: 10.0,
            channels: vec![channel; width],
            readings: (0..len * width).map(|i| i as f32).collect(),
            image: None,
            label,
            group: "s".into(),
            role: None,
            origin: Origin::default(),
            metadata: Default::default(),
        }
    }

    fn windowing(len: usize, hop: usize, tail: Tail, short: Short) -> Windowing {
        Windowing {
            len,
            hop,
            tail,
            short,
            label_share: 0.5,
        }
    }

    #[track_caller]
    fn check_starts(len: usize, windowing: Windowing, expected: &[usize]) {
        let sample = sample(len, 2, Label::None);
        let starts: Vec<usize> = windowing.windows(&sample).map(|w| w.range.start).collect();
        assert_eq!(starts, expected);
    }

    #[test]
    fn where_windows_begin() {
        check_starts(10, windowing(4, 3, Tail::Drop, Short::Drop), &[0, 3, 6]);
        check_starts(11, windowing(4, 3, Tail::Drop, Short::Drop), &[0, 3, 6]);
        check_starts(
            11,
            windowing(4, 3, Tail::Overlap, Short::Drop),
            &[0, 3, 6, 7],
        );
        check_starts(10, windowing(4, 3, Tail::Overlap, Short::Drop), &[0, 3, 6]);
        check_starts(3, windowing(4, 3, Tail::Overlap, Short::Drop), &[]);
        check_starts(3, windowing(4, 3, Tail::Overlap, Short::Zeros), &[0]);
        check_starts(0, windowing(4, 3, Tail::Overlap, Short::Repeat), &[]);
    }

    #[test]
    fn short_samples_are_filled_up() {
        let sample = sample(2, 1, Label::Class("a".into()));
        let fill = |short| {
            let mut windows = windowing(5, 5, Tail::Drop, short).windows(&sample);
            windows.next().map(|window| window.readings.into_owned())
        };
        assert_eq!(fill(Short::Zeros), Some(vec![0.0, 1.0, 0.0, 0.0, 0.0]));
        assert_eq!(fill(Short::Repeat), Some(vec![0.0, 1.0, 0.0, 1.0, 0.0]));
    }

    #[test]
    fn the_most_common_label_counts_if_it_covers_enough() {
        let segment = |range, class: &str| Segment {
            range,
            class: class.into(),
        };
        let label = Label::Segments(vec![
            segment(0..3, "a"),
            segment(3..8, "b"),
            segment(8..9, "a"),
        ]);
        let sample = sample(12, 1, label);
        let windows = windowing(4, 4, Tail::Drop, Short::Drop);
        let targets: Vec<Target<'_>> = windows.windows(&sample).map(|w| w.target).collect();
        // The last window has one labelled reading of four.
        assert_eq!(targets, [Target::Class("a"), Target::Class("b")]);
    }

    #[test]
    fn a_value_is_that_of_the_last_reading() {
        let sample = sample(4, 1, Label::Values(vec![1.0, 2.0, 3.0, 4.0]));
        let windows = windowing(2, 1, Tail::Drop, Short::Drop);
        let targets: Vec<Target<'_>> = windows.windows(&sample).map(|w| w.target).collect();
        assert_eq!(targets, [2.0, 3.0, 4.0].map(Target::Value));
    }

    #[test]
    fn settings_are_settled_at_the_rate_of_the_data() {
        let dataset = Dataset {
            samples: vec![sample(30, 1, Label::None), sample(20, 1, Label::None)],
            classes: Vec::new(),
        };
        let settle = |spec: WindowSpec| {
            Windowing::new(&spec, &dataset).map(|windowing| (windowing.len, windowing.hop))
        };
        let spec = WindowSpec::default();
        assert_eq!(
            settle(spec.clone()),
            Err(WindowError::Unequal { min: 20, max: 30 })
        );
        let ms = WindowSpec {
            ms: Some(1000.0),
            hop: Some(5),
            ..spec.clone()
        };
        assert_eq!(settle(ms), Ok((10, 5)));
        let both = WindowSpec {
            ms: Some(1000.0),
            len: Some(5),
            ..spec.clone()
        };
        assert_eq!(
            settle(both),
            Err(WindowError::Both {
                one: "len",
                other: "ms"
            })
        );
        let nan = WindowSpec {
            ms: Some(f32::NAN),
            ..spec.clone()
        };
        assert!(matches!(
            settle(nan),
            Err(WindowError::TooSmall { setting: "ms", .. })
        ));
        let huge = WindowSpec {
            ms: Some(f32::INFINITY),
            ..spec
        };
        assert!(matches!(
            settle(huge),
            Err(WindowError::TooLarge { setting: "ms", .. })
        ));
    }

    proptest! {
        #[test]
        fn windows_are_spans_of_the_sample(len in 0usize..60, size in 1usize..20, hop in 1usize..20, overlap: bool) {
            let tail = if overlap { Tail::Overlap } else { Tail::Drop };
            let sample = sample(len, 2, Label::None);
            let windows: Vec<_> = windowing(size, hop, tail, Short::Drop).windows(&sample).collect();
            for window in &windows {
                prop_assert!(window.range.end <= len);
                prop_assert_eq!(&*window.readings, &sample.readings[2 * window.range.start..2 * window.range.end]);
                prop_assert!(matches!(window.readings, Cow::Borrowed(_)));
            }
            if overlap && len >= size {
                prop_assert_eq!(windows.last().map(|window| window.range.end), Some(len));
            }
        }
    }
}
