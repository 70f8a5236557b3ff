//! What the front end makes of windows, in one block of memory.

use rayon::prelude::*;
use tinyops_dsp::{FrontEnd, Shape};

use crate::progress::{Flow, Listener, Progress, Stage};
use crate::rng::Rng;
use crate::spec::AugmentSpec;
use crate::{Origin, Recording, Target, TrainError, Windows, augment};

/// Features of windows, before standardisation.
///
/// # Shapes
/// `values` is `[copy, window, feature]`: the windows as recorded, then changed copies of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// What made them.
    pub front_end: FrontEnd,
    /// Extents of one window's features.
    pub shape: Shape,
    /// Copies of each window, the recorded one included.
    pub copies: usize,
    /// All features.
    pub values: Vec<f32>,
    /// What each window should be told to be.
    pub targets: Vec<Target>,
    /// Where each window comes from.
    pub origins: Vec<Origin>,
    /// The recordings that origins name.
    pub recordings: Vec<Recording>,
}

impl Features {
    /// Features of the windows as recorded.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where windows are not what the front end takes;
    /// [`TrainError::NotFinite`] for a reading that is no number.
    pub fn extract(
        front_end: &FrontEnd,
        windows: &Windows,
        report: Listener<'_>,
    ) -> Result<Self, TrainError> {
        Self::extract_copies(front_end, windows, &AugmentSpec::default(), 0, report)
    }

    /// Features of the windows as recorded and of `augment.copies` changed copies of each.
    ///
    /// # Errors
    /// As [`Features::extract`].
    pub fn extract_copies(
        front_end: &FrontEnd,
        windows: &Windows,
        augment: &AugmentSpec,
        seed: u64,
        report: Listener<'_>,
    ) -> Result<Self, TrainError> {
        if windows.channel_count != front_end.channel_count
            || windows.window_len != front_end.window_len
        {
            return Err(TrainError::Mismatch(format!(
                "windows hold {} readings of {} channels, the front end takes {} of {}",
                windows.window_len,
                windows.channel_count,
                front_end.window_len,
                front_end.channel_count
            )));
        }
        let width = front_end.feature_count();
        let count = windows.count();
        let copies = 1 + augment.copies as usize;
        let mut values = vec![0.0f32; width * count * copies];
        let channels = usize::from(windows.channel_count);
        // Blocks keep the listener informed; which thread takes which window changes nothing.
        for (block, rows) in values.chunks_mut(width.max(1) * BLOCK).enumerate() {
            let start = block * BLOCK;
            rows.par_chunks_exact_mut(width.max(1))
                .enumerate()
                .try_for_each_init(
                    || (vec![0.0f32; front_end.scratch_len()], Vec::new()),
                    |(scratch, changed), (offset, row)| {
                        let (copy, index) = ((start + offset) / count, (start + offset) % count);
                        let window = windows.window(index);
                        let window = if copy == 0 {
                            window
                        } else {
                            let mut rng = Rng::new(seed, (start + offset) as u64);
                            augment::change(augment, channels, window, changed, &mut rng);
                            &changed[..]
                        };
                        front_end
                            .extract(window, row, scratch)
                            .map_err(|error| located(error, windows, index))
                    },
                )?;
            let done = (start + rows.len() / width.max(1)).min(count * copies);
            let progress = Progress {
                stage: Stage::Featurize,
                done,
                total: count * copies,
                loss: None,
                metric: None,
            };
            if report(progress) == Flow::Cancel {
                return Err(TrainError::Cancelled);
            }
        }
        Ok(Self {
            front_end: *front_end,
            shape: front_end.shape(),
            copies,
            values,
            targets: windows.targets.clone(),
            origins: windows.origins.clone(),
            recordings: windows.recordings.clone(),
        })
    }

    /// How many windows there are, copies not counted.
    pub fn count(&self) -> usize {
        self.targets.len()
    }

    /// Features of one window.
    pub fn width(&self) -> usize {
        self.shape.feature_count()
    }

    /// The features of one copy of a window; copy 0 is the recorded one.
    ///
    /// # Panics
    /// If there is no such copy or window.
    pub fn row(&self, copy: usize, index: usize) -> &[f32] {
        let at = (copy * self.count() + index) * self.width();
        &self.values[at..at + self.width()]
    }

    /// The windows at these indices, as recorded.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            copies: 1,
            values: indices
                .iter()
                .flat_map(|&index| self.row(0, index))
                .copied()
                .collect(),
            targets: indices.iter().map(|&index| self.targets[index]).collect(),
            origins: indices.iter().map(|&index| self.origins[index]).collect(),
            recordings: self.recordings.clone(),
            ..*self
        }
    }

    /// These windows and others of the same front end, copy by copy; as many copies as both have.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let copies = self.copies.min(other.copies);
        let mut joined = self.select(&[]);
        joined.copies = copies;
        for copy in 0..copies {
            for part in [self, other] {
                let rows = part.width() * part.count();
                joined
                    .values
                    .extend_from_slice(&part.values[copy * rows..][..rows]);
            }
        }
        let after = self.recordings.len() as u32;
        let moved = other.origins.iter().map(|origin| Origin {
            recording: after + origin.recording,
            ..*origin
        });
        joined.targets = [&self.targets[..], &other.targets].concat();
        joined.origins = self.origins.iter().copied().chain(moved).collect();
        joined.recordings.extend(other.recordings.iter().cloned());
        joined
    }
}

/// Windows between two reports.
const BLOCK: usize = 512;

fn located(error: tinyops_dsp::FrontEndError, windows: &Windows, index: usize) -> TrainError {
    let recording = windows
        .origins
        .get(index)
        .and_then(|origin| windows.recordings.get(origin.recording as usize));
    let name = recording.map_or("", |recording| &recording.name);
    match error {
        tinyops_dsp::FrontEndError::NotFinite { index: reading } => TrainError::NotFinite {
            what: "a reading",
            at: format!(" (window {index} of `{name}`, reading {reading})"),
        },
        other => TrainError::Mismatch(format!("window {index} of `{name}`: {other}")),
    }
}
