use super::*;
use crate::finding::Severity;
use crate::sample::{Channel, Origin};

/// One channel at 100 Hz.
fn sample(name: &str, class: &str, readings: &[f32]) -> Sample {
    Sample {
        name: name.into(),
        rate_hz: 100.0,
        channels: vec![Channel {
            name: "x".into(),
            unit: "g".into(),
        }],
        readings: readings.to_vec(),
        image: None,
        label: if class.is_empty() {
            Label::None
        } else {
            Label::Class(class.into())
        },
        group: name.into(),
        role: None,
        origin: Origin {
            file: name.into(),
            ..Origin::default()
        },
        metadata: BTreeMap::new(),
    }
}

fn spec() -> DataSpec {
    DataSpec {
        window: WindowSpec {
            len: Some(4),
            ..WindowSpec::default()
        },
        ..DataSpec::default()
    }
}

#[track_caller]
fn check(spec: &DataSpec, samples: Vec<Sample>, expected: &[(Severity, Code)]) -> Dataset {
    let mut report = Report::new();
    let dataset = dataset(spec, samples, &mut report);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.code))
        .collect();
    assert_eq!(found, expected, "{report}");
    dataset
}

const ONE: [f32; 4] = [1.0, 2.0, 1.5, 2.5];
const TWO: [f32; 4] = [2.0, 1.0, 2.5, 0.5];

#[test]
fn sound_data_is_left_alone() {
    let found = check(
        &spec(),
        vec![sample("b", "2", &ONE), sample("a", "10", &TWO)],
        &[],
    );
    assert_eq!(found.classes, ["2", "10"]);
    assert_eq!(found.samples[0].name, "a");
}

#[test]
fn rates_and_channels_must_agree() {
    let mut fast = sample("c", "a", &[0.5, 3.0, 1.0, 2.0]);
    fast.rate_hz = 400.0;
    let mut jitter = sample("b", "a", &ONE);
    jitter.rate_hz = 101.0;
    let expected = [(Severity::Error, Code::RateMismatch)];
    check(
        &spec(),
        vec![sample("a", "a", &TWO), jitter, fast],
        &expected,
    );

    let mut other = sample("c", "a", &[0.5, 3.0, 1.0, 2.0]);
    other.channels[0].unit = "m/s2".into();
    let expected = [(Severity::Error, Code::ChannelMismatch)];
    let found = check(
        &spec(),
        vec![sample("a", "a", &ONE), sample("b", "a", &TWO), other],
        &expected,
    );
    assert_eq!(found.samples.len(), 2);

    let mut unknown = sample("a", "a", &ONE);
    unknown.rate_hz = 0.0;
    check(
        &spec(),
        vec![unknown],
        &[(Severity::Error, Code::MissingRate)],
    );
}

#[test]
fn labels_must_be_known() {
    let spec = DataSpec {
        classes: vec!["walk".into(), "run".into()],
        label_map: BTreeMap::from([
            ("w*".into(), "walk".into()),
            ("junk".into(), String::new()),
            ("never".into(), "run".into()),
        ]),
        ..spec()
    };
    let samples = vec![
        sample("a", "wlk", &ONE),
        sample("b", "sit", &TWO),
        sample("c", "junk", &[9.0; 4]),
        sample("d", "", &[0.0, 1.0, 0.5, 2.0]),
    ];
    let found = check(
        &spec,
        samples,
        &[
            (Severity::Warning, Code::UnknownLabel),
            (Severity::Warning, Code::MissingLabel),
            (Severity::Error, Code::UnknownLabel),
            (Severity::Warning, Code::MissingClass),
        ],
    );
    assert_eq!(found.samples[0].label, Label::Class("walk".into()));
    assert_eq!(found.samples.len(), 3);
}

#[test]
fn flaws_of_signals() {
    let clipped: Vec<f32> = (0..40)
        .map(|i| (2.5 * (i as f32 / 3.0).sin()).clamp(-2.0, 2.0))
        .collect();
    check(
        &spec(),
        vec![sample("a", "a", &clipped)],
        &[(Severity::Warning, Code::Clipped)],
    );
    let still = [(Severity::Note, Code::Constant)];
    check(
        &spec(),
        vec![sample("a", "a", &ONE), sample("b", "a", &[1.7; 4])],
        &still,
    );
    check(
        &spec(),
        vec![sample("b", "a", &[1.7; 4])],
        &[(Severity::Warning, Code::Constant)],
    );
    let twin = vec![sample("a", "a", &ONE), sample("b", "b", &ONE)];
    check(&spec(), twin, &[(Severity::Warning, Code::Duplicate)]);
    check(
        &spec(),
        vec![sample("a", "a", &ONE[..3])],
        &[(Severity::Warning, Code::TooShort)],
    );
    let long: Vec<f32> = (0..60).map(|i| (i as f32).sin()).collect();
    let uneven = vec![sample("a", "a", &ONE), sample("b", "b", &long)];
    check(&spec(), uneven, &[(Severity::Warning, Code::Imbalance)]);
}

#[test]
fn windows_must_fit() {
    let samples = || vec![sample("a", "a", &ONE), sample("b", "a", &TWO[..3])];
    let whole = DataSpec::default();
    check(&whole, samples(), &[(Severity::Error, Code::Setting)]);
    check(&whole, Vec::new(), &[(Severity::Error, Code::Empty)]);
}
