//! Windows as the model's body embeds them.

use tinyops_model::Model;
use tinyops_nn::statistics::cell_count;

use super::Statistics;
use crate::predictor::Predictor;
use crate::{Features, Target, TrainError};

/// Windows as the model's body embeds them, with their classes: what a device sums up, one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    pub(super) class_count: usize,
    pub(super) width: usize,
    pub(super) zero_point: i8,
    /// `[window, value]`: int8 values as the bytes that they are in the arena.
    pub(super) rows: Vec<u8>,
    pub(super) classes: Vec<Option<u16>>,
}

impl Embedded {
    /// Embeds windows with the device's own arithmetic.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where the model has no embedding or the windows are not its own.
    pub fn of(model: &Model, features: &Features) -> Result<Self, TrainError> {
        let predictor = Predictor::new(model)?;
        let (view, rows) = predictor
            .embeddings(features)
            .ok_or_else(|| TrainError::Mismatch("the model has no head to solve for".into()))?;
        let class = |target: &Target| match *target {
            Target::Class(class) => Some(class),
            Target::None | Target::Value(_) => None,
        };
        Ok(Self {
            class_count: model.labels.len(),
            width: view.len,
            zero_point: view.zero_point,
            rows: rows.concat(),
            classes: features.targets.iter().map(class).collect(),
        })
    }

    /// How many windows there are.
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    /// Values of an embedding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The class of a window, where it is known.
    pub fn class(&self, index: usize) -> Option<u16> {
        self.classes.get(index).copied().flatten()
    }

    /// The embedding of a window as it lies in the arena.
    pub fn bytes(&self, index: usize) -> &[u8] {
        &self.rows[index * self.width..][..self.width]
    }

    /// What an embedded 0 is in int8.
    pub fn zero_point(&self) -> i8 {
        self.zero_point
    }

    /// The embedding of a window, `q - zero_point`.
    pub fn values(&self, index: usize) -> impl Iterator<Item = i16> + '_ {
        let row = self.bytes(index).iter();
        row.map(|&byte| i16::from(byte as i8) - i16::from(self.zero_point))
    }

    /// The sums of all windows whose class is known, as a device would have them.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] for a class that the model does not have.
    pub fn statistics(&self) -> Result<Statistics, TrainError> {
        self.statistics_of(0..self.count())
    }

    /// The sums of some of the windows; those whose class is not known are passed over.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] for a class that the model does not have.
    pub fn statistics_of(
        &self,
        indices: impl IntoIterator<Item = usize>,
    ) -> Result<Statistics, TrainError> {
        let cells = vec![0; cell_count(self.class_count, self.width)];
        let mut statistics = Statistics::new(self.class_count, self.width, cells)
            .map_err(|error| TrainError::Mismatch(error.to_string()))?;
        for index in indices {
            let Some(class) = self.class(index) else {
                continue;
            };
            statistics
                .add(class.into(), self.bytes(index), self.zero_point)
                .map_err(|error| TrainError::Mismatch(error.to_string()))?;
        }
        Ok(statistics)
    }
}
