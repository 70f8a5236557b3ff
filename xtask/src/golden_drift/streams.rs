//! Detectors on streams.

use std::collections::BTreeMap;

use serde_json::Value;
use tinyops_sketch::stream::{
    Adwin, Ddm, Detector, Eddm, Fhddm, HddmA, HddmW, Kswin, PageHinkley, Sides, Verdict,
};
use tinyops_sketch::{Cusum, Direction};

use super::{Near, Tally};

/// Longest windows that files may ask for.
const WINDOW_MAX: usize = 4096;

/// A detector as a file names it: `NAME(key=value,…)`.
struct Named<'a> {
    name: &'a str,
    settings: BTreeMap<&'a str, &'a str>,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Named<'a> {
        let (name, rest) = text.split_once('(').unwrap_or((text, ""));
        let rest = rest.strip_suffix(')').unwrap_or(rest);
        let settings = rest.split(',').filter_map(|pair| pair.split_once('='));
        Named {
            name,
            settings: settings
                .map(|(key, value)| (key.trim(), value.trim()))
                .collect(),
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        match self.settings.get(key) {
            Some(text) => text
                .parse()
                .map_err(|_| format!("`{key}={text}` is no number")),
            None => Ok(default),
        }
    }

    fn flag(&self, key: &str) -> bool {
        self.settings.get(key).is_some_and(|text| *text == "True")
    }

    /// Every setting must be known: a detector that leaves one out is another one.
    fn knows(&self, keys: &[&str]) -> Result<(), String> {
        match self.settings.keys().find(|key| !keys.contains(key)) {
            Some(key) => Err(format!("the setting `{key}` is not known")),
            None => Ok(()),
        }
    }
}

/// Everything that a detector said.
#[derive(Default)]
struct Said {
    drifts: Vec<Value>,
    warnings: Vec<Value>,
    /// What it knew after each value, in the order of the file's checkpoints.
    states: Vec<Vec<f64>>,
}

pub(super) fn check(file_name: &str, file: &Value, tally: &mut Tally) {
    if let Some(errors) = file["errors"].as_str() {
        let values: Vec<f64> = errors.bytes().map(|byte| f64::from(byte - b'0')).collect();
        for (detector, golden) in file["drift_at_index"].as_object().into_iter().flatten() {
            let name = || format!("{file_name}: {detector}");
            match run(detector, &values) {
                Ok(said) => indices(tally, name, &said.drifts, golden),
                Err(why) => tally.check(name, Some(why)),
            }
        }
    }
    for (sequence, stream) in file["sequences"].as_object().into_iter().flatten() {
        let values: Vec<f64> = numbers(&stream["x"]);
        for (detector, golden) in stream["detectors"].as_object().into_iter().flatten() {
            let name = || format!("{file_name}: {sequence}: {detector}");
            let said = match run(detector, &values) {
                Ok(said) => said,
                Err(why) => {
                    tally.check(name, Some(why));
                    continue;
                }
            };
            indices(tally, name, &said.drifts, &golden["drift_at_index"]);
            if let Some(count) = golden["n_warnings"].as_u64() {
                let own = said.warnings.len() as u64;
                let differs = (own != count).then(|| format!("{own} warnings instead of {count}"));
                tally.check(name, differs);
            }
            if let Some(first) = golden["first_warnings"].as_array() {
                let own = &said.warnings[..said.warnings.len().min(first.len())];
                indices(tally, name, own, &golden["first_warnings"]);
            }
            for checkpoint in golden["checkpoints"].as_array().into_iter().flatten() {
                state(tally, name, &said, checkpoint);
            }
        }
        if stream["detectors"].is_null() {
            kswin(file_name, sequence, file, stream, &values, tally);
        }
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_f64).collect()
}

fn indices(tally: &mut Tally, name: impl FnOnce() -> String, own: &[Value], golden: &Value) {
    let is_same = golden.as_array().is_some_and(|golden| golden == own);
    let differs = || {
        let golden = golden.as_array().map(Vec::as_slice).unwrap_or_default();
        let first = (0..).find(|&index| own.get(index) != golden.get(index));
        let at = first.unwrap_or(0);
        let tell = |list: &[Value]| list.get(at).map_or("nothing".to_owned(), Value::to_string);
        format!("entry {at} is {} instead of {}", tell(own), tell(golden))
    };
    tally.check(name, (!is_same).then(differs));
}

/// A checkpoint: an index, and what the detector knew after that value, to eight or ten digits.
fn state(tally: &mut Tally, name: impl Fn() -> String, said: &Said, checkpoint: &Value) {
    let fields = checkpoint.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some((index, fields)) = fields.split_first() else {
        return;
    };
    let at = index.as_u64().unwrap_or(0) as usize;
    let own = said.states.get(at).map(Vec::as_slice).unwrap_or_default();
    for (part, golden) in fields.iter().enumerate() {
        let name = || format!("{}: state {part} after value {at}", name());
        let own = own.get(part).copied().unwrap_or(f64::NAN);
        tally.number(name, own, golden, Near::Much(6e-9 * own.abs().max(1.0)));
    }
}

/// Runs a detector, by its name, over a stream.
fn run(detector: &str, values: &[f64]) -> Result<Said, String> {
    let named = Named::parse(detector);
    match named.name {
        "ADWIN" => {
            named.knows(&[
                "delta",
                "clock",
                "max_buckets",
                "min_window_length",
                "grace_period",
            ])?;
            if named.number("max_buckets", 5.0)? != 5.0 {
                return Err("only five buckets a row are known".to_owned());
            }
            let delta = named.number("delta", 0.002)?;
            let mut adwin = Adwin::<32>::new(delta, named.number("clock", 32.0)? as u32);
            adwin.side_min = named.number("min_window_length", 5.0)? as u32;
            adwin.warm_up = named.number("grace_period", 10.0)? as u32;
            Ok(feed(adwin, values, |adwin| {
                vec![adwin.width() as f64, adwin.mean(), adwin.squares()]
            }))
        }
        "PageHinkley" => {
            named.knows(&["min_instances", "delta", "threshold", "alpha", "mode"])?;
            let sides = match named.settings.get("mode").copied() {
                None | Some("both") => Sides::Both,
                Some("up") => Sides::Up,
                Some("down") => Sides::Down,
                Some(other) => return Err(format!("the mode `{other}` is not known")),
            };
            let mut test = PageHinkley::new(named.number("threshold", 50.0)?, sides);
            test.warm_up = named.number("min_instances", 30.0)? as u32;
            test.delta = named.number("delta", 0.005)?;
            test.memory = named.number("alpha", 0.9999)?;
            Ok(feed(test, values, |test| test.sums().to_vec()))
        }
        "DDM" => {
            named.knows(&["warm_start", "warning", "drift"])?;
            let mut ddm = Ddm::new();
            ddm.warm_up = named.number("warm_start", 30.0)? as u32;
            ddm.warning = named.number("warning", 2.0)?;
            ddm.drift = named.number("drift", 3.0)?;
            Ok(feed(ddm, values, |_| Vec::new()))
        }
        "EDDM" => {
            named.knows(&["warm_start", "alpha", "beta"])?;
            let mut eddm = Eddm::new();
            eddm.warm_up = named.number("warm_start", 30.0)? as u32;
            eddm.warning = named.number("alpha", 0.95)?;
            eddm.drift = named.number("beta", 0.9)?;
            let mut said = feed(eddm, values, |_| Vec::new());
            // There, a warning stays raised when it becomes a drift.
            let raised = said.drifts.iter().filter(|drift| {
                let before = drift.as_u64().unwrap_or(0).checked_sub(1);
                before.is_some_and(|before| said.warnings.contains(&before.into()))
            });
            said.warnings.extend(raised.cloned().collect::<Vec<_>>());
            said.warnings.sort_by_key(Value::as_u64);
            Ok(said)
        }
        "HDDM_A" => {
            named.knows(&["drift_confidence", "warning_confidence", "two_sided_test"])?;
            let mut hddm = HddmA::new();
            hddm.drift = named.number("drift_confidence", 0.001)?;
            hddm.warning = named.number("warning_confidence", 0.005)?;
            hddm.two_sided = named.flag("two_sided_test");
            Ok(feed(hddm, values, |_| Vec::new()))
        }
        "HDDM_W" => {
            named.knows(&[
                "drift_confidence",
                "warning_confidence",
                "lambda_val",
                "two_sided_test",
            ])?;
            let mut hddm = HddmW::new();
            hddm.drift = named.number("drift_confidence", 0.001)?;
            hddm.warning = named.number("warning_confidence", 0.005)?;
            hddm.weight = named.number("lambda_val", 0.05)?;
            hddm.two_sided = named.flag("two_sided_test");
            Ok(feed(hddm, values, |_| Vec::new()))
        }
        "FHDDM" => {
            named.knows(&["sliding_window_size", "confidence_level"])?;
            let window = named.number("sliding_window_size", 100.0)? as usize;
            let confidence = named.number("confidence_level", 1e-6)?;
            let fhddm = Fhddm::<WINDOW_MAX>::new(window, confidence);
            let fhddm = fhddm.ok_or_else(|| format!("a window of {window} is none"))?;
            Ok(feed(fhddm, values, |_| Vec::new()))
        }
        "CUSUM" => cusum(&named, values),
        other => Err(format!("there is no detector `{other}`")),
    }
}

fn feed<D: Detector>(mut detector: D, values: &[f64], know: impl Fn(&D) -> Vec<f64>) -> Said {
    let mut said = Said::default();
    for (index, &value) in values.iter().enumerate() {
        match detector.update(value) {
            Verdict::Stable => {}
            Verdict::Warning => said.warnings.push(index.into()),
            Verdict::Drift => said.drifts.push(index.into()),
        }
        said.states.push(know(&detector));
    }
    said
}

/// The cumulative sum, of what is standardised by the first hundred values.
fn cusum(named: &Named<'_>, values: &[f64]) -> Result<Said, String> {
    const FIRST: usize = 100;
    let first = values.get(..FIRST).ok_or("it needs a hundred values")?;
    let mean = sum(first.iter().copied()) / FIRST as f64;
    let squares = sum(first.iter().map(|value| (value - mean) * (value - mean)));
    let deviation = (squares / FIRST as f64).sqrt();
    let mut cusum = Cusum::new(named.number("k", 0.25)?, named.number("h", 8.0)?);
    let mut said = Said {
        states: vec![Vec::new(); FIRST],
        ..Said::default()
    };
    for (index, value) in values.iter().enumerate().skip(FIRST) {
        if let Some(direction) = cusum.update((value - mean) / deviation) {
            let word = match direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            said.drifts.push(serde_json::json!([index, word]));
        }
        said.states.push(vec![cusum.up, cusum.down]);
    }
    Ok(said)
}

/// A sum as numpy rounds it, for fewer than 128 numbers: eight at a time. Sums of ones and zeros tie.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let whole = values.len() / 8 * 8;
    let mut lanes = [0.0; 8];
    for eight in values[..whole].chunks_exact(8) {
        let pairs = lanes.iter_mut().zip(eight);
        pairs.for_each(|(lane, value)| *lane += value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let joined = ((a + b) + (c + d)) + ((e + f) + (g + h));
    values[whole..]
        .iter()
        .fold(joined, |sum, value| sum + value)
}

/// KSWIN: with what was drawn where the file has it, by what twenty seeds find where not.
fn kswin(
    file_name: &str,
    sequence: &str,
    file: &Value,
    stream: &Value,
    values: &[f64],
    tally: &mut Tally,
) {
    let about = file["about"].as_str().unwrap_or_default();
    let named = Named::parse(about.split_inclusive(')').next().unwrap_or_default());
    let setting = |key: &str, default: f64| named.number(key, default).unwrap_or(default);
    let (window, recent) = (
        setting("window_size", 100.0) as usize,
        setting("stat_size", 30.0) as usize,
    );
    let begun = |seed| Kswin::<WINDOW_MAX>::new(setting("alpha", 0.005), window, recent, seed);
    let name = || format!("{file_name}: {sequence}: KSWIN");
    let Some(mut kswin) = begun(0) else {
        return tally.check(name, Some(format!("a window of {window} is none")));
    };
    if let Some(draws) = stream["draws"].as_array() {
        let mut draws = draws.iter();
        let mut own = Said::default();
        let mut p_values = Vec::new();
        for (index, &value) in values.iter().enumerate() {
            let mut places = None;
            let verdict = kswin.take_with(value, |_| {
                let places = places.get_or_insert_with(|| {
                    let drawn = draws.next().map(numbers).unwrap_or_default();
                    drawn
                        .into_iter()
                        .map(|place| place as usize)
                        .collect::<Vec<_>>()
                        .into_iter()
                });
                places.next().unwrap_or(0)
            });
            if places.is_some() {
                p_values.push((index, kswin.p()));
            }
            if verdict == Verdict::Drift {
                own.drifts.push(index.into());
            }
        }
        indices(tally, name, &own.drifts, &stream["drift_at_index"]);
        let golden = stream["p_every_test"].as_array().into_iter().flatten();
        for (pair, (index, p)) in golden.zip(p_values) {
            let name = || format!("{}: p after value {index}", name());
            let differs = (pair[0] != index).then(|| format!("tested there, not at {}", pair[0]));
            match differs {
                Some(_) => tally.check(name, differs),
                None => tally.number(name, p, &pair[1], Near::Much(1e-6)),
            }
        }
        return;
    }
    let change = stream["true_change"].as_u64().unwrap_or(0) as usize;
    let field = stream.as_object().into_iter().flatten();
    let seeds = field
        .filter(|(key, _)| key.starts_with("seeds"))
        .find_map(|(_, seeds)| seeds.as_array());
    let golden: Vec<u64> = seeds
        .into_iter()
        .flatten()
        .filter_map(|seed| seed[0].as_u64())
        .collect();
    let first = |seed: u64| {
        let mut kswin = begun(seed)?;
        let said = |index: &usize| kswin.update(values[*index]) == Verdict::Drift;
        let drifts: Vec<usize> = (0..values.len()).filter(said).collect();
        drifts.into_iter().find(|&index| index >= change)
    };
    let mut own: Vec<usize> = (0..20).filter_map(first).collect();
    own.sort_unstable();
    let (least, most) = (golden.iter().min(), golden.iter().max());
    let middle = own.get(own.len() / 2).map(|&index| index as u64);
    let is_within = middle.as_ref() >= least && middle.as_ref() <= most && own.len() >= 10;
    let differs = || format!("20 seeds find it first at {own:?}, the file's at {golden:?}");
    tally.check(name, (!is_within).then(differs));
}
