//! The recordings of the episodes: what was trained on, what came after, and on which devices.

use tinyops_pipeline::Project;
use tinyops_train::{
    Costs, FrontEndSpec, RawSpec, ScalerSpec, Target, Template, TrainSpec, Windows,
};

use super::episodes::{Drift, Tale, readings};
use super::sets::{self, Recorded};
use crate::chance::Chance;
use crate::steps::root;

/// A story, with the seed of its training.
pub(super) type Tell = fn(u64) -> Result<Tale, String>;

/// What a project asks of a model that is none of the examples: as most templates do.
const THRESHOLD: f64 = 0.9;

/// Settings of an example project, with the seed of this run, and its threshold.
fn example(name: &str, seed: u64) -> Result<(TrainSpec, f64), String> {
    let project = Project::load(&root().join("examples").join(name));
    let project = project.map_err(|error| error.to_string())?;
    // Costs name the example's own labels, and change no weight.
    let costs = Costs::default();
    let spec = TrainSpec {
        seed,
        costs,
        ..project.train
    };
    Ok((spec, project.project.threshold))
}

/// Trained on phones, then worn as watches: each person is a device.
pub(super) fn phone_to_watch(seed: u64) -> Result<Tale, String> {
    const TRAINED: usize = 8;
    let all = sets::activities()?;
    let is = |recording: &tinyops_train::Recording, device: &str, execution: &str| {
        recording
            .metadata
            .get("device")
            .is_some_and(|text| text == device)
            && recording
                .metadata
                .get("execution")
                .is_some_and(|text| text == execution)
    };
    let mut people: Vec<String> = all
        .windows
        .recordings
        .iter()
        .map(|r| r.group.clone())
        .collect();
    people.sort();
    people.dedup();
    let (_, fleet) = people.split_at(TRAINED);
    let is_factory = |group: &str| people[..TRAINED].iter().any(|name| name == group);
    let train = all.only(|r| is(r, "sp", "01") && is_factory(&r.group));
    let of = |device: &str, execution: &str| -> Vec<Windows> {
        let each = fleet.iter();
        each.map(|name| all.only(|r| is(r, device, execution) && r.group == *name))
            .collect()
    };
    let learn = of("sw", "01");
    Ok(Tale {
        spec: TrainSpec {
            seed,
            ..TrainSpec::template(Template::Motion)
        },
        factory: parts(train),
        calm: of("sp", "01"),
        drifts: vec![Drift {
            name: "phone to watch".to_owned(),
            recorded_bytes: overlapping_bytes(&learn, 12),
            learn,
            test: of("sw", "03"),
        }],
        classes: all.classes,
        reading_bytes: 12,
        threshold: THRESHOLD,
    })
}

/// Two speakers at the factory, three others in the fleet, each on some devices.
pub(super) fn new_speakers(seed: u64) -> Result<Tale, String> {
    const TRAINED: [&str; 2] = ["jackson", "theo"];
    const DEVICES: usize = 8;
    let all = sets::spoken()?;
    let index = |recording: &tinyops_train::Recording| -> usize {
        let text = recording.metadata.get("index");
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let is_factory = |group: &str| TRAINED.contains(&group);
    let train = all.only(|r| is_factory(&r.group) && index(r) >= 15);
    let calm_all = all.only(|r| is_factory(&r.group) && index(r) < 15);
    let (mut learn, mut test, mut calm) = (Vec::new(), Vec::new(), Vec::new());
    for speaker in ["george", "nicolas", "yweweler"] {
        for device in 0..DEVICES {
            let own =
                |r: &tinyops_train::Recording| r.group == speaker && index(r) % DEVICES == device;
            learn.push(all.only(|r| own(r) && index(r) >= 15));
            test.push(all.only(|r| own(r) && index(r) < 15));
            calm.push(calm_all.clone());
        }
    }
    let (spec, threshold) = example("fsdd", seed)?;
    Ok(Tale {
        spec,
        threshold,
        factory: parts(train),
        calm,
        drifts: vec![Drift {
            name: "new speakers".to_owned(),
            recorded_bytes: learn.iter().map(readings).sum::<usize>() * 2,
            learn,
            test,
        }],
        classes: all.classes,
        reading_bytes: 2,
    })
}

/// A fan of even blades, then one with a coin on a blade: the speed is asked.
pub(super) fn weighted_fan(seed: u64) -> Result<Tale, String> {
    const DEVICES: usize = 8;
    let all = sets::recorded(
        r#"
        [[source]]
        root = "${TINYOPS_DATA:-../../../shared/data}/fan-esp32"
        files = ["fan_0_{label}_{weight}_weight/{index}.csv"]
        channels = ["x", "y", "z"]
        rate_hz = 200
        rows_max = 190
        [window]
        len = 190
        "#,
    )?;
    let is = |r: &tinyops_train::Recording, weight: &str| {
        r.metadata.get("weight").is_some_and(|text| text == weight)
    };
    let even = all.only(|r| is(r, "0"));
    let weighted = all.only(|r| is(r, "1"));
    // In the order of time within each folder: two thirds train, the rest is the calm world.
    let (train, calm) = by_share(&even, all.classes.len());
    let (learn, test) = by_share(&weighted, all.classes.len());
    let learn = dealt(&learn, DEVICES);
    let (spec, threshold) = example("fan-esp32", seed)?;
    Ok(Tale {
        spec,
        threshold,
        factory: parts(train),
        calm: vec![calm; DEVICES],
        drifts: vec![Drift {
            name: "a coin on a blade".to_owned(),
            recorded_bytes: learn.iter().map(Windows::count).sum::<usize>() * 190 * 3 * 2,
            learn,
            test: dealt(&test, DEVICES),
        }],
        classes: all.classes,
        reading_bytes: 6,
    })
}

/// Gas sensors that age: batch 1, then batches 2 to 5.
pub(super) fn ageing_sensors(seed: u64) -> Result<Tale, String> {
    const DEVICES: usize = 8;
    let first = gas(1)?;
    let (train, calm) = by_share(&first.windows, first.classes.len());
    let mut drifts = Vec::new();
    for batch in 2..=5 {
        let recorded = gas(batch)?;
        let (learn, test) = by_share(&recorded.windows, first.classes.len());
        drifts.push(Drift {
            name: format!("batch {batch}"),
            recorded_bytes: learn.count() * 128 * 4,
            learn: dealt(&learn, DEVICES),
            test: dealt(&test, DEVICES),
        });
    }
    Ok(Tale {
        spec: TrainSpec {
            front_end: FrontEndSpec::Raw(RawSpec::default()),
            scaler: ScalerSpec::Feature,
            seed,
            ..TrainSpec::default()
        },
        classes: first.classes,
        factory: parts(train),
        calm: dealt(&calm, DEVICES),
        drifts,
        reading_bytes: 4,
        threshold: THRESHOLD,
    })
}

fn gas(batch: usize) -> Result<Recorded, String> {
    const CLASSES: [&str; 6] = [
        "Acetaldehyde",
        "Acetone",
        "Ammonia",
        "Ethanol",
        "Ethylene",
        "Toluene",
    ];
    let path = sets::folder("drift-gas-sensor")?.join(format!("batch{batch}.dat"));
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut windows = Windows::empty(0.0, 1, 128);
    windows.recordings.push(tinyops_train::Recording::default());
    for (row, line) in text.lines().enumerate() {
        let mut words = line.split(',');
        let gas = words.next().unwrap_or_default().trim();
        let class = CLASSES.iter().position(|name| *name == gas);
        let class = class.ok_or_else(|| format!("{}: gas `{gas}` is not known", path.display()))?;
        let numbers: Result<Vec<f32>, _> = words.skip(1).map(|word| word.trim().parse()).collect();
        let numbers = numbers.map_err(|error| format!("{} row {row}: {error}", path.display()))?;
        if numbers.len() != 128 {
            return Err(format!(
                "{} row {row}: {} features",
                path.display(),
                numbers.len()
            ));
        }
        windows.push(
            &numbers,
            Target::Class(class as u16),
            sets::at(0, row * 128),
        );
    }
    Ok(Recorded {
        classes: CLASSES.map(String::from).to_vec(),
        windows,
    })
}

/// The windows, a sixth of them for validation, and none.
fn parts(windows: Windows) -> [Windows; 3] {
    let pick = |is_validation: bool| {
        let chosen = (0..windows.count()).filter(|index| (index % 6 == 5) == is_validation);
        windows.select(&chosen.collect::<Vec<_>>())
    };
    [pick(false), pick(true), windows.select(&[])]
}

/// The first two thirds of each class, and the last.
fn by_share(windows: &Windows, classes: usize) -> (Windows, Windows) {
    let mut first = Vec::new();
    let mut last = Vec::new();
    for class in 0..classes {
        let of =
            (0..windows.count()).filter(|&i| windows.targets[i] == Target::Class(class as u16));
        let of: Vec<usize> = of.collect();
        let mark = (2 * of.len()).div_ceil(3);
        first.extend(&of[..mark]);
        last.extend(&of[mark..]);
    }
    first.sort_unstable();
    last.sort_unstable();
    (windows.select(&first), windows.select(&last))
}

/// The windows dealt to devices, in a random order.
fn dealt(windows: &Windows, devices: usize) -> Vec<Windows> {
    let mut order: Vec<usize> = (0..windows.count()).collect();
    Chance(7).shuffle(&mut order);
    (0..devices)
        .map(|device| {
            let own: Vec<usize> = order
                .iter()
                .copied()
                .skip(device)
                .step_by(devices)
                .collect();
            windows.select(&own)
        })
        .collect()
}

/// Bytes of what windows cover, each reading once.
fn overlapping_bytes(devices: &[Windows], bytes_a_reading: usize) -> usize {
    let mut readings = 0;
    for windows in devices {
        let mut ends = std::collections::BTreeMap::<u32, u32>::new();
        for origin in &windows.origins {
            let end = ends.entry(origin.recording).or_insert(0);
            let stop = origin.start + windows.window_len;
            readings += stop.saturating_sub((*end).max(origin.start)) as usize;
            *end = stop.max(*end);
        }
    }
    readings * bytes_a_reading
}
