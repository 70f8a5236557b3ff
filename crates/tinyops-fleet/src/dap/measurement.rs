//! What of a device's report is measured: one bucket, or a few integers.

use serde::{Deserialize, Serialize};
use tinyops_sketch::{BINS, CHANNELS_MAX, CLASSES_MAX, Summary};
use tinyops_wire::ModelId;
use tinyops_wire::frame::FrameError;
use tinyops_wire::summary::SummaryFrame;

use super::task::Vdaf;

/// Which numbers of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// The shares of the predicted classes.
    Classes,
    /// The shares of a channel's eight bins, whose edges are the training quantiles.
    Bins,
    /// How far a channel's mean is from that of training: −2 to 2 standard deviations.
    Mean,
    /// The logarithm of a channel's spread over that of training: −1 to 1.
    Spread,
}

/// What is read out of each report, and which reports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Which numbers.
    pub of: Quantity,
    /// Of which channel of the baseline, where it is of one; from 0.
    pub channel: Option<usize>,
    /// Channels that the model's reports have.
    pub channels: usize,
    /// Classes that they have.
    pub classes: usize,
    /// The model whose reports are measured, if not that of any with such reports.
    #[serde(default, with = "model")]
    pub model: Option<ModelId>,
}

/// What a report becomes before it is split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measurement {
    /// One of the histogram's buckets.
    Bucket(usize),
    /// One integer for each place of the vector.
    Vector(Vec<u64>),
}

impl Measurement {
    /// Whether it is within the task's law: shards of what is not would only be refused.
    pub(super) fn fits(&self, vdaf: &Vdaf) -> bool {
        match (self, vdaf) {
            (Measurement::Bucket(bucket), Vdaf::Prio3Histogram { .. }) => *bucket < vdaf.len(),
            (
                Measurement::Vector(values),
                Vdaf::Prio3SumVec {
                    max_measurement, ..
                },
            ) => values.len() == vdaf.len() && values.iter().all(|value| value <= max_measurement),
            _ => false,
        }
    }
}

/// Why nothing can be read so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// More channels or classes than any report has.
    #[error(
        "`measurement` says {0} channels and {1} classes; a report has at most {CHANNELS_MAX} and {CLASSES_MAX}"
    )]
    Shape(usize, usize),
    /// No channel is named, or one that no report has.
    #[error("`measurement.channel` must name a channel of the {0}, from 0")]
    Channel(usize),
    /// Classes are of no channel.
    #[error("`measurement.channel` says nothing of classes: leave it out")]
    NoChannel,
    /// The task has another number of places than there are numbers.
    #[error("`vdaf.length` is {found}, and what is measured has {wanted} numbers")]
    Length {
        /// As the task says.
        found: usize,
        /// As it must be.
        wanted: usize,
    },
    /// There is only one class, or one bucket: each report would say the same.
    #[error(
        "what is measured has one value only, so a sum says nothing but how many reports there are"
    )]
    One,
}

impl Reading {
    pub(super) fn check(&self, vdaf: &Vdaf) -> Result<(), ReadingError> {
        if self.channels > CHANNELS_MAX || self.classes > CLASSES_MAX {
            return Err(ReadingError::Shape(self.channels, self.classes));
        }
        match (self.of, self.channel) {
            (Quantity::Classes, Some(_)) => return Err(ReadingError::NoChannel),
            (Quantity::Classes, None) => {}
            (_, Some(channel)) if channel < self.channels => {}
            _ => return Err(ReadingError::Channel(self.channels)),
        }
        let found = vdaf.len();
        let wanted = match (self.of, vdaf) {
            (Quantity::Classes, _) => self.classes,
            (Quantity::Bins, _) => BINS,
            // A histogram of one number has as many buckets as the task likes.
            (_, Vdaf::Prio3Histogram { .. }) => found,
            (_, Vdaf::Prio3SumVec { .. }) => 1,
        };
        if found != wanted {
            return Err(ReadingError::Length { found, wanted });
        }
        if found == 1 && matches!(vdaf, Vdaf::Prio3Histogram { .. }) {
            return Err(ReadingError::One);
        }
        Ok(())
    }

    /// The measurement of a report of this model, or none if it is of another or has no such numbers.
    ///
    /// `draw` is uniform from 0 up to, but not including, 1: where a histogram takes one bucket of several that have
    /// shares, it takes each as often as its share says.
    ///
    /// # Errors
    /// [`FrameError::Length`] if the report has another shape.
    pub fn take(
        &self,
        vdaf: &Vdaf,
        model: ModelId,
        frame: &SummaryFrame<'_>,
        draw: f64,
    ) -> Result<Option<Measurement>, FrameError> {
        if self.model.is_some_and(|wanted| wanted != model) {
            return Ok(None);
        }
        let summary = frame.decode_undithered(self.channels, self.classes)?;
        Ok(self.of_summary(vdaf, &summary, draw))
    }

    fn of_summary(&self, vdaf: &Vdaf, summary: &Summary, draw: f64) -> Option<Measurement> {
        let channel = self.channel.and_then(|index| summary.channels().get(index));
        let length = vdaf.len();
        match self.of {
            Quantity::Classes => shares(vdaf, summary.class_shares(), draw),
            Quantity::Bins => shares(vdaf, &channel?.shares?, draw),
            Quantity::Mean => Some(number(vdaf, length, (channel?.mean + 2.0) / 4.0)),
            Quantity::Spread => Some(number(vdaf, length, (channel?.ln_sd + 1.0) / 2.0)),
        }
    }
}

/// Shares as one bucket, or as integers. None where nothing was counted.
fn shares(vdaf: &Vdaf, shares: &[f32], draw: f64) -> Option<Measurement> {
    let total: f64 = shares.iter().map(|&share| f64::from(share)).sum();
    if total <= 0.0 {
        return None;
    }
    Some(match vdaf {
        Vdaf::Prio3Histogram { .. } => {
            let mut left = draw * total;
            let taken = shares.iter().position(|&share| {
                left -= f64::from(share);
                left < 0.0
            });
            // Rounding may leave a little over: it is the last's that has any.
            let last = || shares.iter().rposition(|&share| share > 0.0);
            Measurement::Bucket(taken.or_else(last)?)
        }
        Vdaf::Prio3SumVec {
            max_measurement, ..
        } => {
            let whole = |&share: &f32| scaled(f64::from(share) / total, *max_measurement);
            Measurement::Vector(shares.iter().map(whole).collect())
        }
    })
}

/// A number of 0 to 1 as a bucket, or as an integer.
fn number(vdaf: &Vdaf, buckets: usize, value: f32) -> Measurement {
    let value = f64::from(value).clamp(0.0, 1.0);
    match vdaf {
        Vdaf::Prio3Histogram { .. } => {
            Measurement::Bucket(((value * buckets as f64) as usize).min(buckets - 1))
        }
        Vdaf::Prio3SumVec {
            max_measurement, ..
        } => Measurement::Vector(vec![scaled(value, *max_measurement)]),
    }
}

fn scaled(value: f64, max: u64) -> u64 {
    ((value * max as f64).round() as u64).min(max)
}

/// A model id as its eight digits.
mod model {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use tinyops_wire::ModelId;

    pub(super) fn serialize<S: Serializer>(
        model: &Option<ModelId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match model {
            Some(model) => serializer.collect_str(model),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ModelId>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let model = text.parse();
        model
            .map(Some)
            .map_err(|_| D::Error::custom(format!("`{text}` is no model id of eight hex digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_sketch::ChannelSummary;

    fn summary(mean: f32, ln_sd: f32) -> Summary {
        let mut shares = [0.0; BINS];
        (shares[1], shares[6]) = (0.25, 0.75);
        let channel = ChannelSummary {
            mean,
            ln_sd,
            shares: Some(shares),
        };
        Summary::new(288.0, &[channel], &[0.5, 0.0, 0.375, 0.125])
    }

    fn reading(of: Quantity) -> Reading {
        Reading {
            of,
            channel: (of != Quantity::Classes).then_some(0),
            channels: 1,
            classes: 4,
            model: None,
        }
    }

    fn histogram(length: u32) -> Vdaf {
        Vdaf::Prio3Histogram {
            length,
            chunk_length: 2,
        }
    }

    fn sums(length: u32) -> Vdaf {
        Vdaf::Prio3SumVec {
            length,
            max_measurement: 200,
            chunk_length: 2,
        }
    }

    #[track_caller]
    fn buckets(of: Quantity, length: u32, expected: &[usize]) {
        let mut found = vec![0; length as usize];
        let draws = 1600;
        for draw in 0..draws {
            let draw = f64::from(draw) / f64::from(draws);
            let measured = reading(of).of_summary(&histogram(length), &summary(0.0, 0.0), draw);
            let Some(Measurement::Bucket(bucket)) = measured else {
                panic!("no bucket");
            };
            found[bucket] += 1;
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_bucket_is_drawn_as_often_as_its_share_says() {
        buckets(Quantity::Classes, 4, &[800, 0, 600, 200]);
        buckets(Quantity::Bins, 8, &[0, 400, 0, 0, 0, 0, 1200, 0]);
        // However the shares are rounded, the last draw falls to one that has a share.
        let almost = 1.0 - f64::EPSILON / 2.0;
        let measured = reading(Quantity::Classes).of_summary(
            &histogram(4),
            &Summary::new(1.0, &[], &[0.1, 0.2, 0.7, 0.0]),
            almost,
        );
        assert_eq!(measured, Some(Measurement::Bucket(2)));
    }

    #[test]
    fn shares_and_numbers_are_scaled_to_the_largest_integer() {
        let vector = |of, length, mean, ln_sd| match reading(of).of_summary(
            &sums(length),
            &summary(mean, ln_sd),
            0.0,
        ) {
            Some(Measurement::Vector(values)) => values,
            other => panic!("{other:?}"),
        };
        assert_eq!(vector(Quantity::Classes, 4, 0.0, 0.0), [100, 0, 75, 25]);
        assert_eq!(
            vector(Quantity::Bins, 8, 0.0, 0.0),
            [0, 50, 0, 0, 0, 0, 150, 0]
        );
        for (value, expected) in [(-2.0, 0), (-1.0, 50), (0.0, 100), (2.0, 200)] {
            assert_eq!(vector(Quantity::Mean, 1, value, 0.0), [expected]);
            assert_eq!(vector(Quantity::Spread, 1, 0.0, value / 2.0), [expected]);
        }
    }

    #[test]
    fn a_number_is_in_one_of_even_buckets() {
        for (mean, expected) in [
            (-2.0, 0),
            (-1.76, 0),
            (-1.74, 1),
            (0.0, 8),
            (1.99, 15),
            (2.0, 15),
        ] {
            let measured =
                reading(Quantity::Mean).of_summary(&histogram(16), &summary(mean, 0.0), 0.0);
            assert_eq!(measured, Some(Measurement::Bucket(expected)), "{mean}");
        }
    }

    #[test]
    fn what_says_nothing_is_not_measured() {
        let nothing = Summary::new(0.0, &[ChannelSummary::default()], &[0.0; 4]);
        for of in [Quantity::Classes, Quantity::Bins] {
            let length = if of == Quantity::Bins { 8 } else { 4 };
            assert_eq!(
                reading(of).of_summary(&histogram(length), &nothing, 0.0),
                None
            );
        }
    }
}
