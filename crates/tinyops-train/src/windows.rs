//! Raw windows in one block of memory, with what is known about each.

use std::collections::BTreeMap;

use tinyops_data::dataset::Dataset;
use tinyops_data::window::{self, Windowing};

use crate::TrainError;

/// Raw windows of one rate, length and number of channels.
///
/// # Shapes
/// `readings` is `[window, reading, channel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Readings per second and channel; 0 for pictures.
    pub rate_hz: f32,
    /// Channels.
    pub channel_count: u16,
    /// Readings per window and channel.
    pub window_len: u32,
    /// Height and width, where windows are pictures.
    pub image: Option<[u16; 2]>,
    /// All windows, one after the other.
    pub readings: Vec<f32>,
    /// What each window should be told to be.
    pub targets: Vec<Target>,
    /// Where each window comes from.
    pub origins: Vec<Origin>,
    /// Where windows come from.
    pub recordings: Vec<Recording>,
}

/// Where a window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index into [`Windows::recordings`].
    pub recording: u32,
    /// Its first reading in that recording, counted from 0.
    pub start: u32,
}

/// What a window should be told to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Nothing is known.
    None,
    /// Index of a class.
    Class(u16),
    /// A value.
    Value(f32),
}

/// What the windows of one recording share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Its name in the dataset.
    pub name: String,
    /// Who or what must not stand on both sides of a split.
    pub group: String,
    /// What else is known of it.
    pub metadata: BTreeMap<String, String>,
}

impl Recording {
    /// Whether nothing said whose it is: it, or the file that it is a part of, then stands for its group.
    #[must_use]
    pub fn is_its_own_group(&self) -> bool {
        // Names begin with the folder of their source where there are several, and end with the part, the role of a piece
        // and a count.
        let around = self.name.rsplit_once(self.group.as_str());
        around.is_some_and(|(before, behind)| {
            !self.group.is_empty()
                && (before.is_empty() || before.ends_with('/'))
                && (behind.is_empty() || behind.starts_with(['#', '@', '~']))
        })
    }
}

impl Windows {
    /// No windows yet, of this kind.
    pub fn empty(rate_hz: f32, channel_count: u16, window_len: u32) -> Self {
        Self {
            rate_hz,
            channel_count,
            window_len,
            image: None,
            readings: Vec::new(),
            targets: Vec::new(),
            origins: Vec::new(),
            recordings: Vec::new(),
        }
    }

    /// Cuts the samples at these indices into windows, in order.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where samples differ in rate or channels;
    /// [`TrainError::UnknownLabel`] for a label that is not among the dataset's classes.
    pub fn cut(
        dataset: &Dataset,
        samples: &[usize],
        windowing: &Windowing,
    ) -> Result<Self, TrainError> {
        let Some(first) = dataset.samples.first() else {
            return Err(TrainError::NoWindows {
                purpose: "cut",
                reason: "the dataset is empty".into(),
            });
        };
        let channel_count = u16::try_from(first.channels.len())
            .map_err(|_| TrainError::Mismatch(format!("{} channels", first.channels.len())))?;
        let window_len = u32::try_from(windowing.len)
            .map_err(|_| TrainError::Mismatch(format!("{} readings", windowing.len)))?;
        let mut windows = Self::empty(first.rate_hz, channel_count, window_len);
        windows.image = first.image.map(|size| [size.height, size.width]);
        for &index in samples {
            let sample = &dataset.samples[index];
            if sample.channels.len() != first.channels.len() || sample.rate_hz != first.rate_hz {
                return Err(TrainError::Mismatch(format!(
                    "`{}` has {} channels at {} Hz, `{}` has {} at {} Hz",
                    sample.name,
                    sample.channels.len(),
                    sample.rate_hz,
                    first.name,
                    first.channels.len(),
                    first.rate_hz
                )));
            }
            let recording = windows.recordings.len() as u32;
            windows.recordings.push(Recording {
                name: sample.name.clone(),
                group: sample.group.clone(),
                metadata: sample.metadata.clone(),
            });
            for window in windowing.windows(sample) {
                let target = match window.target {
                    window::Target::None => Target::None,
                    window::Target::Value(value) => Target::Value(value),
                    window::Target::Class(label) => match dataset.class_index(label) {
                        Some(class) => Target::Class(class as u16),
                        None => {
                            return Err(TrainError::UnknownLabel {
                                label: label.to_owned(),
                            });
                        }
                    },
                };
                let origin = Origin {
                    recording,
                    start: window.range.start as u32,
                };
                windows.push(&window.readings, target, origin);
            }
        }
        Ok(windows)
    }

    /// Adds one window of a recording that is (or will be) in `recordings`.
    ///
    /// # Panics
    /// If the window has another length.
    pub fn push(&mut self, readings: &[f32], target: Target, origin: Origin) {
        assert_eq!(
            readings.len(),
            self.reading_count(),
            "windows of one set are equally long"
        );
        self.readings.extend_from_slice(readings);
        self.targets.push(target);
        self.origins.push(origin);
    }

    /// How many windows there are.
    pub fn count(&self) -> usize {
        self.targets.len()
    }

    /// Readings of one window over all channels.
    pub fn reading_count(&self) -> usize {
        self.window_len as usize * usize::from(self.channel_count)
    }

    /// The readings of one window.
    pub fn window(&self, index: usize) -> &[f32] {
        let len = self.reading_count();
        &self.readings[index * len..(index + 1) * len]
    }

    /// The windows at these indices.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut chosen = Self {
            readings: Vec::new(),
            targets: Vec::new(),
            origins: Vec::new(),
            ..self.clone()
        };
        for &index in indices {
            chosen.push(self.window(index), self.targets[index], self.origins[index]);
        }
        chosen
    }
}
