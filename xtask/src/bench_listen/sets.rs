//! Recordings as windows, for the benches that learn from them.

use std::io::Read as _;
use std::ops::Range;
use std::path::PathBuf;

use tinyops_data::finding::Report;
use tinyops_data::spec::DataSpec;
use tinyops_data::window::Windowing;
use tinyops_train::progress::Flow;
use tinyops_train::{
    AugmentSpec, FeatureSet, Features, Origin, Predictor, Recording, Target, TrainSpec, Windows,
    fit, quantize,
};

use crate::bench_loop::load;
use crate::chance::Chance;
use crate::steps::{data, root};

/// Windows and the classes that their targets name.
pub(super) struct Recorded {
    pub(super) classes: Vec<String>,
    pub(super) windows: Windows,
}

impl Recorded {
    /// The windows whose recording passes, in order.
    pub(super) fn only(&self, passes: impl Fn(&Recording) -> bool) -> Windows {
        let recordings = &self.windows.recordings;
        let of = |index: &usize| &recordings[self.windows.origins[*index].recording as usize];
        let chosen: Vec<usize> = (0..self.windows.count())
            .filter(|index| passes(of(index)))
            .collect();
        self.windows.select(&chosen)
    }
}

/// What the recordings' folder holds, cut as a project file's `[data]` says.
pub(super) fn recorded(spec: &str) -> Result<Recorded, String> {
    let data: DataSpec = toml::from_str(spec).map_err(|error| error.to_string())?;
    let mut report = Report::new();
    let dataset = load(&root().join("examples/fsdd"), &data, &mut report)?;
    if report.has_errors() {
        return Err(format!("the recordings are not sound:\n{report}"));
    }
    let windowing = Windowing::new(&data.window, &dataset).map_err(|error| error.to_string())?;
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let windows = Windows::cut(&dataset, &all, &windowing).map_err(|error| error.to_string())?;
    Ok(Recorded {
        classes: dataset.classes.clone(),
        windows,
    })
}

/// The folder of the recordings.
pub(super) fn folder(name: &str) -> Result<PathBuf, String> {
    let folder = data(name);
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(format!(
            "no recordings in {}: set TINYOPS_DATA",
            folder.display()
        ))
    }
}

/// Handwritten digits of eight by eight pixels: these rows, each changed by `change`.
pub(super) fn digits(
    rows: Range<usize>,
    mut change: impl FnMut(&mut [f32]),
) -> Result<Recorded, String> {
    let path = folder("digits-8x8")?.join("digits_rows0000-1499.csv.gz");
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(&path).map_err(wrong)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .map_err(wrong)?;
    let mut windows = Windows::empty(0.0, 1, 64);
    windows.recordings.push(Recording::default());
    for (row, line) in text.lines().enumerate().take(rows.end).skip(rows.start) {
        let numbers: Vec<f32> = line
            .split(',')
            .map(|word| {
                word.trim()
                    .parse()
                    .map_err(|_| format!("row {row}: `{word}`"))
            })
            .collect::<Result<_, _>>()?;
        let [pixels @ .., class] = &numbers[..] else {
            return Err(format!("row {row} is empty"));
        };
        let mut pixels = pixels.to_vec();
        change(&mut pixels);
        windows.push(&pixels, Target::Class(*class as u16), at(0, row * 64));
    }
    Ok(Recorded {
        classes: (0..10).map(|digit| digit.to_string()).collect(),
        windows,
    })
}

/// Words of the spoken digits' recordings; the group is the speaker, `index` the recording's own number.
pub(super) fn spoken() -> Result<Recorded, String> {
    recorded(
        r#"
        [[source]]
        root = "${TINYOPS_DATA:-../../../shared/data}/fsdd/recordings"
        files = ["{label}_{group}_{index}.wav"]
        [window]
        ms = 1000
        short = "zeros"
        "#,
    )
}

/// Activities on phones and watches; the group is the person, `device` and `execution` say which recording it is.
pub(super) fn activities() -> Result<Recorded, String> {
    recorded(
        r#"
        [[source]]
        root = "${TINYOPS_DATA:-../../../shared/data}/har-phone-watch"
        files = ["{group}/{subject}_{execution}_{device}.csv"]
        channels = ["x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro"]
        label_column = "label"
        time_column = "timestamp"
        time_unit = "ms"
        resample_hz = 50
        [window]
        ms = 1000
        hop_ms = 240
        "#,
    )
}

/// Other voices and rooms, as the example's project file has them.
pub(super) fn voices() -> AugmentSpec {
    AugmentSpec {
        copies: 4,
        speed: 0.2,
        noise: 0.05,
        feature_noise: 0.2,
        mask_frames: 2,
        mix: 0.2,
        ..AugmentSpec::default()
    }
}

/// A place in a recording.
pub(super) fn at(recording: u32, start: usize) -> Origin {
    Origin {
        recording,
        start: start as u32,
    }
}

/// A model of windows for training, validation and test, as the pipeline makes it.
pub(super) fn trained(
    spec: &TrainSpec,
    classes: &[String],
    parts: &[Windows; 3],
) -> Result<(tinyops_model::Model, FeatureSet), String> {
    let told = |error: tinyops_train::TrainError| error.to_string();
    let mut quiet = |_| Flow::Continue;
    let set = FeatureSet::of_windows(spec, classes, parts, &mut quiet).map_err(told)?;
    let float = fit(spec, &set, &mut quiet).map_err(told)?;
    let model = quantize("bench", spec, &float, &set, &mut quiet).map_err(told)?;
    Ok((model, set))
}

/// What a model's front end makes of windows.
pub(super) fn features(
    model: &tinyops_model::Model,
    windows: &Windows,
) -> Result<Features, String> {
    Features::extract(&model.front_end, windows, &mut |_| Flow::Continue)
        .map_err(|error| error.to_string())
}

/// Share of the windows that the int8 model is right about.
pub(super) fn accuracy(model: &tinyops_model::Model, features: &Features) -> Result<f64, String> {
    let told = |error: tinyops_train::TrainError| error.to_string();
    let scores = Predictor::new(model).map_err(told)?.score(features);
    let right = (0..features.count())
        .filter(|&index| {
            let given = scores.given(index, model.decision.threshold);
            features.targets[index] == Target::Class(given as u16)
        })
        .count();
    Ok(right as f64 / features.count().max(1) as f64)
}

/// Deals windows to devices: each draws a mix of classes by Dirichlet's law and takes `size` windows by it, each
/// window once.
pub(super) fn dealt(
    targets: &[Target],
    members: &[usize],
    class_count: usize,
    devices: usize,
    chance: &mut Chance,
) -> Vec<Vec<usize>> {
    const CONCENTRATION: f64 = 0.3;
    let mut by_class = vec![Vec::new(); class_count];
    for &index in members {
        if let Target::Class(class) = targets[index] {
            by_class[usize::from(class)].push(index);
        }
    }
    by_class.iter_mut().for_each(|class| chance.shuffle(class));
    let size = members.len() / devices.max(1);
    (0..devices)
        .map(|_| {
            let mix = chance.dirichlet(CONCENTRATION, class_count);
            let mut own = Vec::with_capacity(size);
            while own.len() < size {
                // What has run out is passed over.
                let left = |class: usize| {
                    if by_class[class].is_empty() {
                        0.0
                    } else {
                        mix[class] + 1e-9
                    }
                };
                let sum: f64 = (0..class_count).map(left).sum();
                let mut mark = chance.uniform() * sum;
                let mut drawn = None;
                for class in 0..class_count {
                    mark -= left(class);
                    if left(class) > 0.0 {
                        drawn = Some(class);
                        if mark < 0.0 {
                            break;
                        }
                    }
                }
                match drawn.and_then(|class| by_class[class].pop()) {
                    Some(index) => own.push(index),
                    None => break,
                }
            }
            own
        })
        .collect()
}
