//! What a device gains for a person whom the factory never heard of: from no label, from eight, from thirty-two.
//!
//! Of each person's windows one part is adapted to and the other judges. Without labels features are moved half of the
//! way back to training; with labels the device's own solver makes a head of them and the factory's prior, at its own
//! weights. Labels are of windows drawn by chance, or of those that lie farthest from each other.

use tinyops_train::Windows;

use super::episodes::Tale;
use super::ladder::State;
use super::{sets, tales};
use crate::chance::Chance;
use crate::figure::Row;

/// Labels of a person.
const LABELS: [usize; 2] = [8, 32];
/// Draws of labels by chance.
const DRAWS: u64 = 5;
const SEEDS: [u64; 2] = [1, 2];

/// One set, and the gains that the design notes measured.
struct Case {
    names: [&'static str; 3],
    tell: tales::Tell,
    /// In accuracy: without a label, by 8, by 32.
    gains: [f64; 3],
    peer: &'static str,
}

const CASES: [Case; 2] = [
    Case {
        names: [
            "har, phones of others, features moved, no label",
            "har, phones of others, own heads, 8 labels",
            "har, phones of others, own heads, 32 labels",
        ],
        tell: other_people,
        gains: [0.03, 0.073, 0.116],
        peer: "design notes, WISDM: 0.692 to 0.723, 0.765, 0.808",
    },
    Case {
        names: [
            "fsdd, new speakers, features moved, no label",
            "fsdd, new speakers, own heads, 8 labels",
            "fsdd, new speakers, own heads, 32 labels",
        ],
        tell: tales::new_speakers,
        gains: [0.09, 0.071, 0.165],
        peer: "design notes: 0.739 to 0.828, 0.810, 0.904",
    },
];

/// The phones of the episode, and people who wear them whom the model was not trained on.
fn other_people(seed: u64) -> Result<Tale, String> {
    let mut tale = tales::phone_to_watch(seed)?;
    let drift = tale.drifts.first_mut().ok_or("a tale without a drift")?;
    // In the order of time: the first half is adapted to.
    let halves = |own: &Windows| {
        let middle = own.count() / 2;
        // Windows that overlap the last of them judge nothing.
        let ends = own.origins[middle - 1].start + own.window_len;
        let later = (middle..own.count()).filter(|&at| {
            own.origins[at].recording != own.origins[middle - 1].recording
                || own.origins[at].start >= ends
        });
        let later: Vec<usize> = later.collect();
        let first: Vec<usize> = (0..middle).collect();
        (own.select(&first), own.select(&later))
    };
    (drift.learn, drift.test) = tale.calm.iter().map(halves).unzip();
    Ok(tale)
}

pub(super) fn rows() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for case in &CASES {
        rows.extend(case.rows()?);
    }
    Ok(rows)
}

/// Accuracies, means of all seeds.
#[derive(Default)]
struct Figures {
    as_it_is: f64,
    moved: f64,
    /// By [`LABELS`]: drawn by chance, the farthest apart.
    own: [[f64; 2]; 2],
}

impl Case {
    fn rows(&self) -> Result<Vec<Row>, String> {
        let mut all = Figures::default();
        for seed in SEEDS {
            all.add(&(self.tell)(seed)?)?;
        }
        let row = |at: usize, told: String, best: f64| Row {
            name: self.names[at],
            goal: format!("≥ {:.3} more", self.gains[at]),
            own: format!("{:.3} to {told}", all.as_it_is),
            peer: self.peer.to_owned(),
            holds: best - all.as_it_is >= self.gains[at],
        };
        let own = |at: usize| {
            let [chance, farthest] = all.own[at];
            let told = format!("{chance:.3} by chance, {farthest:.3} farthest");
            row(at + 1, told, chance.max(farthest))
        };
        Ok(vec![
            row(0, format!("{:.3}", all.moved), all.moved),
            own(0),
            own(1),
        ])
    }
}

impl Figures {
    fn add(&mut self, tale: &Tale) -> Result<(), String> {
        let share = 1.0 / SEEDS.len() as f64;
        let (model, _) = sets::trained(&tale.spec, &tale.classes, &tale.factory)?;
        let drift = tale.drifts.first().ok_or("a tale without a drift")?;
        let state = State::new(model, &tale.factory[0], drift.learn.len());
        let told = |error: tinyops_train::TrainError| error.to_string();
        let prior = state.prior()?.statistics().map_err(told)?;
        self.as_it_is += share * state.accuracy(&drift.test)?;
        let moved = state.standardised(&drift.learn)?;
        self.moved += share * moved.accuracy(&drift.test)?;
        for (own, count) in self.own.iter_mut().zip(LABELS) {
            for draw in 0..DRAWS {
                let mut chance = Chance(draw);
                let chosen: Vec<Windows> = drift
                    .learn
                    .iter()
                    .map(|learn| by_chance(learn, count, &mut chance))
                    .collect();
                let personal = state.personal(&chosen, &prior)?;
                own[0] += share / DRAWS as f64 * personal.accuracy(&drift.test)?;
            }
            let farthest = state.farthest(&drift.learn, count)?;
            let personal = state.personal(&farthest, &prior)?;
            own[1] += share * personal.accuracy(&drift.test)?;
        }
        Ok(())
    }
}

fn by_chance(windows: &Windows, count: usize, chance: &mut Chance) -> Windows {
    let mut order: Vec<usize> = (0..windows.count()).collect();
    chance.shuffle(&mut order);
    order.truncate(count);
    windows.select(&order)
}
