//! Concept drift that labels alone show: inputs stay as they are and half of the classes are told to be others.
//!
//! A model of ours is trained, its right and wrong answers on windows that it has not seen are drawn in a random order,
//! and the server's detector of labelled errors hears them one by one.

use tinyops_model::Model;
use tinyops_sketch::stream::{Detector as _, HddmA, Verdict};
use tinyops_train::{DenseSpec, FrontEndSpec, NetworkSpec, RawSpec, ScalerSpec, TrainSpec};
use tinyops_train::{Features, Predictor, Target, Windows};

use super::episodes::joined;
use super::{sets, tales};
use crate::chance::Chance;
use crate::figure::Row;

/// Windows of a stream before the change, and after it.
const STREAM: usize = 1_000;
/// Models, and streams of each. The design notes had three of each of three models, of which false alarms are counted
/// here; a median of nine is anything from 9 to 35 at these shares, so that delays are those of all.
const SEEDS: [u64; 3] = [1, 2, 3];
const STREAMS: usize = 100;
const COUNTED: usize = 3;

/// Answers of a model to windows that it has not seen, with what they were.
struct Answered {
    /// Class told, class known.
    pairs: Vec<(usize, usize)>,
    classes: usize,
}

/// What the streams of one set came to.
#[derive(Default)]
struct Found {
    /// Windows until the change was found, of each stream; none where it was not.
    delays: Vec<Option<usize>>,
    /// In the first [`COUNTED`] streams of each model, and in all.
    false_alarms: [usize; 2],
    right: [f64; 2],
}

/// Labelled drift on phones that other people wear, and on digits.
pub(super) fn rows() -> Result<Vec<Row>, String> {
    let of = |names: [&'static str; 2], most: usize, peer: &str, make: fn(u64) -> Made| {
        let mut found = Found::default();
        for seed in SEEDS {
            found.follow(&make(seed)?, &mut Chance(seed));
        }
        Ok::<_, String>(found.rows(names, most, peer))
    };
    let mut rows = of(
        [
            "har, phones of others: samples to a labelled drift",
            "har, phones of others: false alarms per 1,000",
        ],
        13,
        "design notes, WISDM: 13, 0.777 to 0.160",
        worn_phones,
    )?;
    rows.extend(of(
        [
            "digits: samples to a labelled drift",
            "digits: false alarms per 1,000",
        ],
        24,
        "design notes, digits: 24",
        digits,
    )?);
    Ok(rows)
}

type Made = Result<Answered, String>;

/// The phone model of the episode, on phones of people whom it was not trained on.
fn worn_phones(seed: u64) -> Made {
    let tale = tales::phone_to_watch(seed)?;
    let (model, _) = sets::trained(&tale.spec, &tale.classes, &tale.factory)?;
    answered(&model, &joined(&tale.calm))
}

/// Digits that the network was not trained on.
fn digits(seed: u64) -> Made {
    let spec = TrainSpec {
        seed,
        front_end: FrontEndSpec::Raw(RawSpec::default()),
        scaler: ScalerSpec::Whole,
        network: NetworkSpec::Dense(DenseSpec {
            hidden: vec![32],
            ..DenseSpec::default()
        }),
        ..TrainSpec::default()
    };
    let rows = |range| sets::digits(range, |_| ());
    let parts = [rows(0..700)?, rows(700..800)?, rows(0..0)?];
    let classes = parts[0].classes.clone();
    let (model, _) = sets::trained(&spec, &classes, &parts.map(|part| part.windows))?;
    answered(&model, &rows(800..1_500)?.windows)
}

fn answered(model: &Model, windows: &Windows) -> Made {
    let features: Features = sets::features(model, windows)?;
    let scores = Predictor::new(model)
        .map_err(|error| error.to_string())?
        .score(&features);
    let known = (0..features.count()).filter_map(|index| match features.targets[index] {
        Target::Class(class) => {
            let given = scores.given(index, model.decision.threshold);
            Some((given, usize::from(class)))
        }
        Target::None | Target::Value(_) => None,
    });
    Ok(Answered {
        pairs: known.collect(),
        classes: model.labels.len(),
    })
}

impl Answered {
    /// What a class is told to be after the change: the commonest half of them, each the next of them.
    fn relabelled(&self) -> Vec<usize> {
        let mut counts = vec![0_usize; self.classes];
        self.pairs.iter().for_each(|&(_, known)| counts[known] += 1);
        let mut order: Vec<usize> = (0..self.classes).collect();
        order.sort_by_key(|&class| (std::cmp::Reverse(counts[class]), class));
        let half = &order[..self.classes.div_ceil(2)];
        let mut told: Vec<usize> = (0..self.classes).collect();
        for (at, &class) in half.iter().enumerate() {
            told[class] = half[(at + 1) % half.len()];
        }
        told
    }
}

impl Found {
    fn follow(&mut self, answered: &Answered, chance: &mut Chance) {
        let told = answered.relabelled();
        let share = 1.0 / (SEEDS.len() * answered.pairs.len()) as f64;
        for &(answer, known) in &answered.pairs {
            self.right[0] += share * f64::from(u8::from(answer == known));
            self.right[1] += share * f64::from(u8::from(answer == told[known]));
        }
        for stream in 0..STREAMS {
            let mut detector = HddmA::new();
            let mut found = None;
            for index in 0..2 * STREAM {
                let (answer, known) = answered.pairs[chance.below(answered.pairs.len())];
                let known = if index < STREAM { known } else { told[known] };
                let error = f64::from(u8::from(answer != known));
                if detector.update(error) != Verdict::Drift {
                    continue;
                }
                if index < STREAM {
                    self.false_alarms[0] += usize::from(stream < COUNTED);
                    self.false_alarms[1] += 1;
                } else {
                    found = Some(index - STREAM + 1);
                    break;
                }
            }
            self.delays.push(found);
        }
    }

    fn rows(mut self, names: [&'static str; 2], most: usize, peer: &str) -> Vec<Row> {
        let streams = self.delays.len();
        self.delays.sort_by_key(|delay| delay.unwrap_or(usize::MAX));
        let median = self.delays[streams / 2];
        let seen = self.delays.iter().flatten().count();
        let told = median.map_or("never".to_owned(), |median| median.to_string());
        let [before, after] = self.right;
        let [counted, all] = self.false_alarms;
        let rate = 1_000.0 * all as f64 / (streams * STREAM) as f64;
        vec![
            Row {
                name: names[0],
                goal: format!("≤ {most}, all found"),
                own: format!("{told}, {seen} of {streams}; right {before:.3}, then {after:.3}"),
                peer: peer.to_owned(),
                holds: seen == streams && median.is_some_and(|median| median <= most),
            },
            Row::at_most(
                names[1],
                Some(0),
                counted as u64,
                format!(
                    "in {} streams; {rate:.3} in all {streams}",
                    COUNTED * SEEDS.len()
                ),
            ),
        ]
    }
}
