//! Elec2, the standard stream of labelled drift: a naive Bayes classifier that begins anew whenever a detector says so,
//! ours and river's in one run.
//!
//! The rows at hand have six of the eight features that the design notes had, so that their accuracies are not these: what
//! is held is that ours and river's agree on these rows. Labels follow each other so closely that to say the last label
//! again is right more often than any of them, which is told beside.

use std::io::BufRead as _;
use std::process::Command;

use tinyops_sketch::stream::{Adwin, Ddm, Detector, Eddm, HddmA, PageHinkley, Sides, Verdict};

use super::sets;
use crate::figure::Row;
use crate::peer;
use crate::steps::root;

/// Half-hours: as many as in the design notes.
const ROWS: usize = 20_000;
const FEATURES: usize = 6;

/// The row's name, river's name of the detector, what the design notes have of eight features.
const DETECTORS: [(&str, &str, &str); 6] = [
    ("Elec2, never begun anew", "none", "0.763"),
    ("Elec2, begun anew by ADWIN", "ADWIN", "0.818, 20"),
    (
        "Elec2, begun anew by Page–Hinkley",
        "PageHinkley",
        "0.815, 12",
    ),
    ("Elec2, begun anew by DDM", "DDM", "0.823, 42"),
    ("Elec2, begun anew by EDDM", "EDDM", "0.852, 87"),
    ("Elec2, begun anew by HDDM_A", "HDDM_A", "0.856, 81"),
];

struct Half {
    features: [f64; FEATURES],
    class: usize,
}

/// What a stream came to: right answers, and where the classifier began anew.
#[derive(Debug, PartialEq)]
struct Outcome {
    right: usize,
    resets: Vec<usize>,
}

/// Ours against river's.
pub(super) fn rows() -> Result<Vec<Row>, String> {
    let path = sets::folder("drift-elec2")?.join("elec_first30000.csv");
    let halves = read(&path)?;
    let theirs = theirs(&path);
    let last_label = halves
        .windows(2)
        .filter(|pair| pair[0].class == pair[1].class)
        .count();
    let share = |right: usize| right as f64 / halves.len() as f64;
    let row = |&(name, detector, notes): &(&'static str, &str, &str)| {
        let own = follow(&halves, make(detector));
        let told = format!("{:.3}, {} resets", share(own.right), own.resets.len());
        let (goal, peer, holds) = match &theirs {
            Err(why) => ("as river".to_owned(), format!("river skipped: {why}"), true),
            Ok(all) => {
                let river = all.iter().find(|(name, _)| name == detector);
                let river = river.map(|(_, outcome)| outcome);
                let told = river.map_or("river told nothing".to_owned(), |outcome| {
                    format!("{:.3}, {}", share(outcome.right), outcome.resets.len())
                });
                let told = format!(
                    "river {told}; the last label again {:.3}; eight features {notes}",
                    share(last_label)
                );
                ("as river, each reset".to_owned(), told, river == Some(&own))
            }
        };
        Row {
            name,
            goal,
            own: told,
            peer,
            holds,
        }
    };
    Ok(DETECTORS.iter().map(row).collect())
}

fn make(name: &str) -> Option<Box<dyn Detector>> {
    match name {
        "ADWIN" => Some(Box::new(Adwin::<24>::new(0.002, 32))),
        "PageHinkley" => Some(Box::new(PageHinkley::new(50.0, Sides::Both))),
        "DDM" => Some(Box::new(Ddm::new())),
        "EDDM" => Some(Box::new(Eddm::new())),
        "HDDM_A" => Some(Box::new(HddmA::new())),
        _ => None,
    }
}

fn read(path: &std::path::Path) -> Result<Vec<Half>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let lines = std::io::BufReader::new(file).lines();
    let halves = lines.skip(1).take(ROWS).enumerate().map(|(row, line)| {
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let numbers: Option<Vec<f64>> = line.split(',').map(|word| word.parse().ok()).collect();
        let half = numbers.and_then(|numbers| {
            let (class, features) = numbers.split_last()?;
            Some(Half {
                features: features.try_into().ok()?,
                class: usize::from(*class == 1.0),
            })
        });
        half.ok_or_else(|| wrong(format!("row {row} is not {FEATURES} features and a class")))
    });
    let halves: Vec<Half> = halves.collect::<Result<_, String>>()?;
    match halves.len() {
        ROWS => Ok(halves),
        found => Err(wrong(format!("{found} rows where {ROWS} are needed"))),
    }
}

/// Each row is answered, then learnt; the detector hears whether the answer was wrong.
fn follow(halves: &[Half], mut detector: Option<Box<dyn Detector>>) -> Outcome {
    let mut model = NaiveBayes::default();
    let (mut right, mut resets) = (0, Vec::new());
    for (index, half) in halves.iter().enumerate() {
        let is_wrong = model.class(&half.features) != half.class;
        right += usize::from(!is_wrong);
        model.learn(half);
        let Some(detector) = &mut detector else {
            continue;
        };
        if detector.update(f64::from(u8::from(is_wrong))) == Verdict::Drift {
            resets.push(index);
            model = NaiveBayes::default();
        }
    }
    Outcome { right, resets }
}

/// Normal laws of each feature in each class, as river's `GaussianNB` has them.
#[derive(Default)]
struct NaiveBayes {
    counts: [f64; 2],
    /// Class that came first: it wins where both are as likely.
    first: usize,
    laws: [[Law; FEATURES]; 2],
}

#[derive(Clone, Copy, Default)]
struct Law {
    count: f64,
    mean: f64,
    squares: f64,
}

impl NaiveBayes {
    fn learn(&mut self, half: &Half) {
        if self.counts == [0.0; 2] {
            self.first = half.class;
        }
        self.counts[half.class] += 1.0;
        for (law, &value) in self.laws[half.class].iter_mut().zip(&half.features) {
            law.count += 1.0;
            let before = law.mean;
            law.mean += (value - law.mean) / law.count;
            law.squares += (value - before) * (value - law.mean);
        }
    }

    /// The likelier class; the first label's where none was seen is 0.
    fn class(&self, features: &[f64; FEATURES]) -> usize {
        let total: f64 = self.counts.iter().sum();
        let log = |class: usize| -> f64 {
            let laws = self.laws[class].iter().zip(features);
            // What river adds, so that no likelihood is nothing.
            let densities = laws.map(|(law, &x)| (1e-9 + law.density(x)).ln());
            (self.counts[class] / total).ln() + densities.sum::<f64>()
        };
        let other = 1 - self.first;
        match self.counts {
            [0.0, 0.0] => 0,
            counts if counts[other] == 0.0 => self.first,
            _ if log(other) > log(self.first) => other,
            _ => self.first,
        }
    }
}

impl Law {
    fn density(&self, x: f64) -> f64 {
        if self.count < 2.0 || self.squares <= 0.0 {
            return 0.0;
        }
        let variance = self.squares / (self.count - 1.0);
        let away = x - self.mean;
        (away * away / (-2.0 * variance)).exp() / (std::f64::consts::TAU * variance).sqrt()
    }
}

fn theirs(path: &std::path::Path) -> Result<Vec<(String, Outcome)>, String> {
    let folder = root().join("target/bench-listen");
    let python = peer::python(&folder, &super::speed::RIVER, "river.drift")?;
    let output = Command::new(python)
        .arg(root().join("xtask/peers/river_elec2.py"))
        .arg(path)
        .arg(ROWS.to_string())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, right, count, resets) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let resets: Vec<usize> = match resets {
            "-" => Vec::new(),
            told => told
                .split(',')
                .map(|index| index.parse().ok())
                .collect::<Option<_>>()?,
        };
        (count.parse() == Ok(resets.len())).then_some((
            name.to_owned(),
            Outcome {
                right: right.parse().ok()?,
                resets,
            },
        ))
    };
    text.lines()
        .map(|told| line(told).ok_or_else(|| format!("river told `{told}`")))
        .collect()
}
