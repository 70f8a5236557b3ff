//! What a drift calls for, by which signals fired.

use serde::{Deserialize, Serialize};
use tinyops_sketch::{Baseline, Source};

use crate::detector::Signal;

/// The cheapest thing that repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// The outputs or the classes moved, the inputs did not: thresholds and priors are off.
    Recalibrate,
    /// The inputs moved in place or spread, and the model says what it said: scaling them again may do.
    ReStandardise,
    /// Inputs and outputs moved, or windows lie elsewhere among the model's own features, or labels say that it errs: the
    /// last layer needs new statistics.
    HeadUpdate,
    /// A new head did not repair it: train again.
    Retrain,
    /// The readings themselves are broken: no model repairs that.
    SensorFault,
}

/// What is known when a drift is diagnosed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Symptoms {
    /// The signals that fired.
    pub fired: Vec<Signal>,
    /// Logarithms of the spreads over training's, by channel.
    pub ln_sds: Vec<f32>,
    /// A reading was infinite or not a number.
    pub not_finite: bool,
    /// Whether labels say that the model errs more than it did.
    pub errs: bool,
    /// Whether the running model is a repaired head already.
    pub repaired_before: bool,
}

/// A channel whose spread is below this, as a logarithm over training's, stands still: frames end at -1.
const STUCK_LN_SD: f32 = -0.9;

/// Names the cheapest repair.
///
/// | fired | advice |
/// |---|---|
/// | a reading that is no number, or an input whose spread fell until it stands still | sensor fault |
/// | inputs, and output or classes or labelled errors | head update; retrain if the head was updated before |
/// | labelled errors alone | head update; retrain if the head was updated before |
/// | the distance of embeddings, whatever else | head update; retrain if the head was updated before |
/// | shape of inputs alone | head update |
/// | place or spread of inputs alone | re-standardise |
/// | output or classes alone | recalibrate |
///
/// # Source
/// `docs/monitoring.md`: label-free alarms of confidence or priors alone do not justify training.
pub fn diagnose(symptoms: &Symptoms, baseline: &Baseline) -> Advice {
    let is_input = |channel: u8| is_input(channel, baseline);
    let stuck = |channel: u8| {
        symptoms
            .ln_sds
            .get(usize::from(channel))
            .is_some_and(|ln_sd| *ln_sd <= STUCK_LN_SD)
    };
    let (mut inputs, mut shapes, mut answers, mut stands_still) = (false, false, false, false);
    let mut embeddings = false;
    for signal in &symptoms.fired {
        match *signal {
            Signal::Mean(channel) if is_input(channel) => inputs = true,
            Signal::Spread(channel) if is_input(channel) => {
                inputs = true;
                stands_still |= stuck(channel);
            }
            Signal::Shape(channel) if is_input(channel) => shapes = true,
            signal if is_embedding(signal, baseline) => embeddings = true,
            _ => answers = true,
        }
    }
    let head = if symptoms.repaired_before {
        Advice::Retrain
    } else {
        Advice::HeadUpdate
    };
    if symptoms.not_finite || stands_still {
        Advice::SensorFault
    } else if symptoms.errs || embeddings || !inputs && shapes || inputs && answers {
        head
    } else if inputs {
        Advice::ReStandardise
    } else {
        Advice::Recalibrate
    }
}

/// Whether a channel is of what comes in, and not of what the model says.
fn is_input(channel: u8, baseline: &Baseline) -> bool {
    let channel = baseline.channels().get(usize::from(channel));
    channel.is_some_and(|channel| matches!(channel.source, Source::Feature(_)))
}

/// Whether a signal is of how far embeddings lie from those of the factory.
pub fn is_embedding(signal: Signal, baseline: &Baseline) -> bool {
    match signal {
        Signal::Mean(channel) | Signal::Spread(channel) | Signal::Shape(channel) => {
            baseline.embedding_channel() == Some(usize::from(channel))
        }
        Signal::Classes => false,
    }
}

/// Whether a signal is of what the model makes of its inputs: its embedding, its output, or its classes.
pub fn is_answer(signal: Signal, baseline: &Baseline) -> bool {
    match signal {
        Signal::Mean(channel) | Signal::Spread(channel) | Signal::Shape(channel) => {
            !is_input(channel, baseline)
        }
        Signal::Classes => true,
    }
}

impl Advice {
    /// Every case, in order.
    pub const ALL: &'static [Advice] = &[
        Advice::Recalibrate,
        Advice::ReStandardise,
        Advice::HeadUpdate,
        Advice::Retrain,
        Advice::SensorFault,
    ];

    /// The word that is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Advice::Recalibrate => "recalibrate",
            Advice::ReStandardise => "re-standardise",
            Advice::HeadUpdate => "head-update",
            Advice::Retrain => "retrain",
            Advice::SensorFault => "sensor-fault",
        }
    }

    /// The case of a stored word.
    pub fn of_word(word: &str) -> Option<Advice> {
        Advice::ALL
            .iter()
            .copied()
            .find(|advice| advice.word() == word)
    }

    /// Whether statistics of the fleet's embeddings would repair it.
    pub fn calls_for_statistics(self) -> bool {
        matches!(self, Advice::ReStandardise | Advice::HeadUpdate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_sketch::ChannelBaseline;

    fn check(fired: &[Signal], change: impl FnOnce(&mut Symptoms), expected: Advice) {
        let channels = [
            ChannelBaseline::new(Source::Feature(0), 0.0, 1.0),
            ChannelBaseline::new(Source::Output, 0.9, 0.1),
            ChannelBaseline::new(Source::Embedding, 5.0, 0.5),
        ];
        let baseline = Baseline::new(100, &channels, &[]).unwrap();
        let mut symptoms = Symptoms {
            fired: fired.to_vec(),
            ..Symptoms::default()
        };
        change(&mut symptoms);
        assert_eq!(diagnose(&symptoms, &baseline), expected, "{fired:?}");
    }

    #[test]
    fn signals_lead_to_the_cheapest_repair() {
        let (input, shape, output) = (Signal::Mean(0), Signal::Shape(0), Signal::Mean(1));
        check(&[input], |_| (), Advice::ReStandardise);
        check(&[input, shape], |_| (), Advice::ReStandardise);
        for embedding in [Signal::Mean(2), Signal::Spread(2), Signal::Shape(2)] {
            check(&[embedding], |_| (), Advice::HeadUpdate);
            check(&[embedding, output], |_| (), Advice::HeadUpdate);
            check(&[embedding, input], |_| (), Advice::HeadUpdate);
        }
        check(
            &[Signal::Mean(2)],
            |s| s.repaired_before = true,
            Advice::Retrain,
        );
        // A spread that falls is a fault of a sensor, but not of the network.
        check(
            &[Signal::Spread(2)],
            |s| s.ln_sds = vec![0.0, 0.0, -0.98],
            Advice::HeadUpdate,
        );
        check(&[shape], |_| (), Advice::HeadUpdate);
        check(&[input, output], |_| (), Advice::HeadUpdate);
        check(&[input, Signal::Classes], |_| (), Advice::HeadUpdate);
        check(
            &[input, output],
            |s| s.repaired_before = true,
            Advice::Retrain,
        );
        check(&[output], |_| (), Advice::Recalibrate);
        check(&[Signal::Classes], |_| (), Advice::Recalibrate);
        check(&[], |s| s.errs = true, Advice::HeadUpdate);
        check(
            &[Signal::Spread(0)],
            |s| s.ln_sds = vec![-0.98, 0.0],
            Advice::SensorFault,
        );
        // A machine that is steadier than those of the training data, and moved.
        check(
            &[input],
            |s| s.ln_sds = vec![-0.98, 0.0],
            Advice::ReStandardise,
        );
        check(&[input], |s| s.not_finite = true, Advice::SensorFault);
    }
}
