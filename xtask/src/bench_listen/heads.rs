//! `cargo xtask bench listen heads`: one round of sums against forty rounds of averaged heads, and liars.
//!
//! A model is trained at the factory by our own pipeline; then the world changes, and some hundred devices hold a few
//! labelled windows each, of very uneven classes. What their sums make of the head is held against federated averaging
//! of the same head, computed here on the same devices.

use tinyops_fleet::sums::Sums;
use tinyops_model::Model;
use tinyops_train::head::{self, Embedded, Fleet, Projection, Statistics};
use tinyops_train::{
    Conv1dSpec, DenseSpec, Features, FrontEndSpec, MfccSpec, NetworkSpec, RawSpec, Recording,
    ScalerSpec, TrainSpec, Windows,
};

use super::average;
use super::rounds::{
    IN_PARTS, NARROW_RING, TOLD_IN_PARTS, WIDE_RING, bucketed, narrow_sums, plain_bytes,
    prototypes_told, told,
};
use super::sets;
use crate::chance::Chance;
use crate::figure::Row;

/// A set of recordings, and what the design notes measured on it.
struct Case {
    /// Of the rows: exact sums; 32 values; 16 values; class sums alone; liars.
    names: [&'static str; 5],
    make: fn(u64, &mut Chance) -> Result<Made, String>,
    /// Accuracy of one round with sums of 32 values, at most [`WIDE_BYTES`].
    wide: f64,
    /// With 16 values, at most [`NARROW_BYTES`].
    narrow: f64,
    /// With class sums alone, at most [`PROTOTYPE_BYTES`].
    prototypes: f64,
}

const CASES: [Case; 2] = [
    Case {
        names: [
            "digits, one round of exact sums",
            "digits, one round, 32 values, for a ring of 17 bits",
            "digits, one round, 16 values, for a ring of 15 bits",
            "digits, one round, class sums alone, 8 bits",
            "digits, a fifth of the devices lies ten times as loud",
        ],
        make: digits,
        wide: 0.844,
        narrow: 0.827,
        prototypes: 0.824,
    },
    Case {
        names: [
            "fsdd, one round of exact sums",
            "fsdd, one round, 32 values, for a ring of 17 bits",
            "fsdd, one round, 16 values, for a ring of 15 bits",
            "fsdd, one round, class sums alone, 8 bits",
            "fsdd, a fifth of the devices lies ten times as loud",
        ],
        make: spoken,
        wide: 0.913,
        narrow: 0.860,
        prototypes: 0.818,
    },
];

const WIDE_BYTES: usize = 1_940;
const NARROW_BYTES: usize = 612;
const PROTOTYPE_BYTES: usize = 152;
/// Values of the narrow embedding.
const NARROW: usize = 16;
/// Devices that lie, one of so many, and how much louder than they are.
const LIAR_EVERY: usize = 5;
const LIAR_FACTOR: i64 = 10;
/// Most that liars may cost.
const LIAR_LOSS_MAX: f64 = 0.03;
/// Buckets that devices are added up in.
const BUCKETS: usize = 20;
const SEEDS: [u64; 2] = [1, 2];

/// A factory's model, and devices in a world that has changed.
pub(super) struct World {
    model: Model,
    factory: Embedded,
    /// Windows of the fleet, as the model's body embeds them.
    pub(super) fleet: Embedded,
    /// Windows that nobody learns from.
    test: Features,
    test_embedded: Embedded,
    /// Which windows each device holds.
    pub(super) devices: Vec<Vec<usize>>,
}

/// Rows of the digits.
pub(super) fn digit_rows() -> Result<Vec<Row>, String> {
    rows(&CASES[0])
}

/// The digits' factory and fleet.
pub(super) fn digit_world() -> Result<World, String> {
    world(&CASES[0], SEEDS[0])
}

/// Rows of the spoken digits.
pub(super) fn spoken_rows() -> Result<Vec<Row>, String> {
    rows(&CASES[1])
}

/// The mean of a figure over the seeds.
#[derive(Clone, Copy, Default)]
struct Figure {
    accuracy: f64,
    bytes: f64,
}

impl Figure {
    fn add(&mut self, accuracy: f64, bytes: f64) {
        self.accuracy += accuracy / SEEDS.len() as f64;
        self.bytes += bytes / SEEDS.len() as f64;
    }
}

#[derive(Default)]
struct Figures {
    old: Figure,
    averaged: Figure,
    exact: Figure,
    wide: Figure,
    narrow: Figure,
    prototypes: Figure,
    central: Figure,
    honest: Figure,
    lied: Figure,
}

fn rows(case: &Case) -> Result<Vec<Row>, String> {
    let mut all = Figures::default();
    for seed in SEEDS {
        measure(&world(case, seed)?, &mut all)?;
    }
    let told = |figure: &Figure| format!("{:.3}, {:.0} B", figure.accuracy, figure.bytes);
    let peer = format!("40 rounds of averaging: {}", told(&all.averaged));
    let row = |at: usize, goal: f64, most: usize, figure: &Figure| Row {
        name: case.names[at],
        goal: format!("≥ {goal:.3}, ≤ {most} B"),
        own: told(figure),
        peer: peer.clone(),
        holds: figure.accuracy >= goal && figure.bytes <= most as f64,
    };
    let wide = case.wide.max(all.averaged.accuracy);
    Ok(vec![
        Row {
            name: case.names[0],
            goal: format!("≥ {:.3}, averaging", all.averaged.accuracy),
            own: told(&all.exact),
            peer: format!(
                "{peer}; as it was {:.3}; all windows at one place {:.3}",
                all.old.accuracy, all.central.accuracy
            ),
            holds: all.exact.accuracy >= all.averaged.accuracy,
        },
        row(1, wide, WIDE_BYTES, &all.wide),
        row(2, case.narrow, NARROW_BYTES, &all.narrow),
        row(3, case.prototypes, PROTOTYPE_BYTES, &all.prototypes),
        Row {
            name: case.names[4],
            goal: format!("≥ honest less {LIAR_LOSS_MAX}"),
            own: format!("{:.3}", all.lied.accuracy),
            peer: format!("all honest {:.3}", all.honest.accuracy),
            holds: all.lied.accuracy >= all.honest.accuracy - LIAR_LOSS_MAX,
        },
    ])
}

fn measure(world: &World, all: &mut Figures) -> Result<(), String> {
    let devices = world.devices.len() as f64;
    all.old.add(sets::accuracy(&world.model, &world.test)?, 0.0);
    let sums = world.sums(false)?;
    let bytes: usize = sums.iter().map(plain_bytes).sum::<Result<_, _>>()?;
    let exact = world.solved((&bucketed(&sums, 1)?, IN_PARTS), None)?;
    all.exact.add(exact, bytes as f64 / devices);
    let (kept, bytes) = told(&sums, WIDE_RING, 1.0)?;
    all.wide.add(
        world.solved((&bucketed(&kept, 1)?, TOLD_IN_PARTS), None)?,
        bytes,
    );
    let factory = world
        .factory
        .statistics()
        .map_err(|error| error.to_string())?;
    let projection = Projection::principal(&factory, NARROW).ok_or("too narrow an embedding")?;
    let narrowed = sums.iter().map(|sums| narrow_sums(sums, &projection));
    let narrowed: Vec<Sums> = narrowed.collect::<Option<_>>().ok_or("another width")?;
    let (kept, bytes) = told(&narrowed, NARROW_RING, projection.length())?;
    let narrow = world.solved((&bucketed(&kept, 1)?, TOLD_IN_PARTS), Some(&projection))?;
    all.narrow.add(narrow, bytes);
    let (accuracy, bytes) = world.prototypes(&sums)?;
    all.prototypes.add(accuracy, bytes);
    let averaged = average::best(
        &world.model,
        &world.fleet,
        &world.devices,
        &world.test_embedded,
    )?;
    all.averaged.add(averaged.accuracy, averaged.bytes as f64);
    all.central.add(world.central()?, 0.0);
    let honest = world.solved((&bucketed(&sums, BUCKETS)?, IN_PARTS), None)?;
    all.honest.add(honest, 0.0);
    let lied = bucketed(&world.sums(true)?, BUCKETS)?;
    let lied = world.solved((&lied, IN_PARTS), None)?;
    all.lied.add(lied, 0.0);
    Ok(())
}

/// Trains the factory's model and deals the fleet's windows to devices.
fn world(case: &Case, seed: u64) -> Result<World, String> {
    let mut chance = Chance(seed);
    let Made {
        spec,
        classes,
        parts,
        fleet,
        test,
        dealing,
    } = (case.make)(seed, &mut chance)?;
    let (model, set) = sets::trained(&spec, &classes, &parts)?;
    let told = |error: tinyops_train::TrainError| error.to_string();
    let factory = Embedded::of(&model, &set.train).map_err(told)?;
    let fleet_features = sets::features(&model, &fleet)?;
    let test = sets::features(&model, &test)?;
    let mut devices = Vec::new();
    for (members, count) in dealing {
        let dealt = sets::dealt(&fleet.targets, &members, classes.len(), count, &mut chance);
        devices.extend(dealt);
    }
    Ok(World {
        fleet: Embedded::of(&model, &fleet_features).map_err(told)?,
        test_embedded: Embedded::of(&model, &test).map_err(told)?,
        model,
        factory,
        test,
        devices,
    })
}

/// Recordings of a factory and of a fleet.
struct Made {
    spec: TrainSpec,
    classes: Vec<String>,
    /// For training, for validation, and none.
    parts: [Windows; 3],
    fleet: Windows,
    test: Windows,
    /// Windows of the fleet, and the number of devices that they are dealt to.
    dealing: Vec<(Vec<usize>, usize)>,
}

/// Epochs, and no smoothing of labels: embeddings that are trained long on hard labels keep more of what tells a changed
/// world's classes apart.
const EPOCHS: u32 = 200;
const SMOOTHING: f32 = 0.0;

/// Two halves of an embedding of 32.
fn dense() -> NetworkSpec {
    NetworkSpec::Dense(DenseSpec {
        hidden: vec![16],
        members: 2,
        input_dropout: 0.3,
        ..DenseSpec::default()
    })
}

/// Digits, then digits of half the contrast, brighter and noisy.
fn digits(seed: u64, chance: &mut Chance) -> Result<Made, String> {
    let spec = TrainSpec {
        seed,
        front_end: FrontEndSpec::Raw(RawSpec::default()),
        scaler: ScalerSpec::Whole,
        epochs: EPOCHS,
        label_smoothing: SMOOTHING,
        network: dense(),
        ..TrainSpec::default()
    };
    let mut faded = |pixels: &mut [f32]| {
        for pixel in pixels {
            *pixel = 0.5 * *pixel + 3.0 + 2.5 * chance.normal() as f32;
        }
    };
    let train = sets::digits(0..340, |_| ())?;
    let validation = sets::digits(340..400, |_| ())?;
    let fleet = sets::digits(400..1200, &mut faded)?;
    let test = sets::digits(1200..1500, &mut faded)?;
    let none = sets::digits(0..0, |_| ())?;
    let members = (0..fleet.windows.count()).collect();
    Ok(Made {
        spec,
        classes: train.classes,
        parts: [train.windows, validation.windows, none.windows],
        fleet: fleet.windows,
        test: test.windows,
        dealing: vec![(members, 100)],
    })
}

/// Two speakers at the factory, three in the fleet, each on a third of the devices.
fn spoken(seed: u64, _: &mut Chance) -> Result<Made, String> {
    const SPEAKERS: [&str; 5] = ["george", "jackson", "nicolas", "theo", "yweweler"];
    let spec = TrainSpec {
        seed,
        front_end: FrontEndSpec::Mfcc(MfccSpec::default()),
        epochs: EPOCHS,
        label_smoothing: SMOOTHING,
        network: NetworkSpec::Conv1d(Conv1dSpec {
            channels: vec![32, 48],
            kernel: 3,
            hidden: 32,
            dropout: 0.0,
            ..Conv1dSpec::default()
        }),
        augment: sets::voices(),
        ..TrainSpec::default()
    };
    let all = sets::spoken()?;
    let first = 2 * (seed as usize - 1);
    let is_factory = |group: &str| SPEAKERS[first..first + 2].contains(&group);
    let is_test = |recording: &Recording| {
        let index = recording
            .metadata
            .get("index")
            .and_then(|text| text.parse().ok());
        index.unwrap_or(0u32) < 10
    };
    let train = all.only(|r| is_factory(&r.group) && !is_test(r));
    let validation = all.only(|r| is_factory(&r.group) && is_test(r));
    let fleet = all.only(|r| !is_factory(&r.group) && !is_test(r));
    let test = all.only(|r| !is_factory(&r.group) && is_test(r));
    let none = all.windows.select(&[]);
    let speakers = SPEAKERS.iter().filter(|name| !is_factory(name));
    let dealing = speakers.map(|name| {
        let of = |index: &usize| &fleet.recordings[fleet.origins[*index].recording as usize];
        let members = (0..fleet.count()).filter(|index| of(index).group == **name);
        (members.collect(), 33)
    });
    Ok(Made {
        dealing: dealing.collect(),
        spec,
        classes: all.classes,
        parts: [train, validation, none],
        test,
        fleet: fleet.clone(),
    })
}

impl World {
    /// What each device has summed up; every fifth lies about its classes and shouts, where liars are asked for.
    pub(super) fn sums(&self, liars: bool) -> Result<Vec<Sums>, String> {
        let classes = self.model.labels.len();
        (0..self.devices.len())
            .map(|device| {
                let own = self.devices[device].iter().copied();
                let honest = self
                    .fleet
                    .statistics_of(own)
                    .map_err(|error| error.to_string())?;
                let is_liar = liars && device % LIAR_EVERY == 2;
                let width = honest.embedding_len();
                let mut values = honest.cells().to_vec();
                if is_liar {
                    // Each class is told to be the one opposite.
                    for class in 0..classes {
                        let other = classes - 1 - class;
                        values[class] = honest.counts()[other];
                        values[classes + class * width..][..width]
                            .copy_from_slice(honest.class_sum(other));
                    }
                    values.iter_mut().for_each(|value| *value *= LIAR_FACTOR);
                }
                Ok(Sums {
                    class_count: classes,
                    width,
                    values,
                })
            })
            .collect()
    }

    /// Accuracy of the head that these sums, in parts of a window, lead to, with the arithmetic of a device.
    fn solved(
        &self,
        (buckets, parts): (&[Statistics], u32),
        projection: Option<&Projection>,
    ) -> Result<f64, String> {
        let fleet = Fleet {
            buckets,
            parts,
            projection,
        };
        let solved = head::solve(&self.model, fleet, &self.factory, &self.factory, 0.0)
            .map_err(|error| error.to_string())?;
        let accuracy = sets::accuracy(&solved.model, &self.test)?;
        eprintln!(
            "{:?}, the factory at {}, {} of the old head: {:.3} expected, {accuracy:.3} on test",
            solved.solver, solved.factory_weight, solved.old_share, solved.fleet_accuracy[1],
        );
        Ok(accuracy)
    }

    /// Class sums alone: the Gram matrix is that of the factory's windows, moved to the fleet's means.
    fn prototypes(&self, all: &[Sums]) -> Result<(f64, f64), String> {
        let factory = self
            .factory
            .statistics()
            .map_err(|error| error.to_string())?;
        let (classes, width) = (factory.class_count(), factory.embedding_len());
        let mut bytes = 0;
        let mut sum = Statistics::new(classes, width, vec![0; factory.cells().len()])
            .map_err(|error| error.to_string())?;
        for sums in all {
            let (prototypes, told) = prototypes_told(sums);
            bytes += told;
            let own =
                Statistics::new(classes, width, prototypes).map_err(|error| error.to_string())?;
            sum.merge(&own).map_err(|error| error.to_string())?;
        }
        let whole = head::with_scatter_of(&sum, &factory).ok_or("sums of another model")?;
        Ok((
            self.solved((&[whole], 1), None)?,
            bytes as f64 / all.len() as f64,
        ))
    }

    /// The head that all labelled windows lead to, at one place and unrounded.
    fn central(&self) -> Result<f64, String> {
        let all = self.devices.iter().flatten().copied();
        let all = self
            .fleet
            .statistics_of(all)
            .map_err(|error| error.to_string())?;
        self.solved((&[all], 1), None)
    }
}
