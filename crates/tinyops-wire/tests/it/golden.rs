//! The formats as frozen in `testdata/golden/wire`: a changed byte is a changed promise.
//!
//! `TINYOPS_BLESS=1 cargo test -p tinyops-wire` writes the files anew, for a new version of a format.

use std::fmt::Write as _;
use std::path::Path;

use tinyops_wire::envelope::Direction;
use tinyops_wire::key_set::SignedKeySet;
use tinyops_wire::payload::SectionId;
use tinyops_wire::section::{DecisionSection, Golden, GoldenSection, Labels, ScalerSection};
use tinyops_wire::sensor::{Channel, RATE_TOLERANCE_PPM, SensorSection};
use tinyops_wire::serial::Decoder;
use tinyops_wire::{Capsule, Downlink, Frame, Sealed, Statement};

use crate::samples;

#[test]
fn frames_are_as_frozen() {
    check("frames.txt", &samples::frames());
    for (name, bytes) in samples::frames() {
        let frame = Frame::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(samples::frame(&frame), bytes, "{name}");
    }
}

#[test]
fn downlinks_are_as_frozen() {
    check("downlinks.txt", &samples::downlinks());
    for (name, bytes) in samples::downlinks() {
        let message = Downlink::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(samples::downlink(&message), bytes, "{name}");
    }
}

#[test]
fn envelopes_are_as_frozen() {
    let up = samples::envelope(Direction::Up, b"frame");
    let down = samples::envelope(Direction::Down, b"message");
    check("envelopes.txt", &[("up", up.clone()), ("down", down)]);
    let sealed = Sealed::parse(&up).expect("an envelope");
    assert_eq!(sealed.device(), samples::DEVICE);
    let opened = sealed.open(&samples::KEY, Direction::Up).expect("its key");
    assert_eq!(
        (opened.model, opened.sequence),
        (samples::MODEL, samples::SEQUENCE)
    );
    assert_eq!(opened.body, b"frame");
}

#[test]
fn serial_lines_are_as_frozen() {
    check("serial.txt", &samples::serial_lines());
    for (name, line) in samples::serial_lines() {
        let mut decoder = Decoder::<512>::new();
        let mut read = Vec::new();
        for &byte in &line {
            read.extend(
                decoder
                    .push(byte)
                    .map(|message| samples::serial_line(&message.expect(name))),
            );
        }
        assert_eq!(read, [line], "{name}");
    }
}

#[test]
fn lorawan_payloads_and_smp_frames_are_as_frozen() {
    check("lorawan.txt", &samples::lorawan_payloads());
    check("smp.txt", &samples::smp_frames());
}

#[test]
fn sensor_contracts_are_as_frozen() {
    check("sensors.txt", &samples::sensors());
    for (name, bytes) in samples::sensors() {
        let section =
            SensorSection::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(samples::sensor(&section), bytes, "{name}");
    }
    // What was written before version 2 means what it did.
    let old = [1, 1, 0, 0, 128, 64, 1, b'g'];
    let section = SensorSection::decode(&old).expect("version 1");
    let channel = Channel {
        axis: "",
        unit: "g",
        full_scale: 4.0,
    };
    assert_eq!(section.channels().collect::<Vec<_>>(), [channel]);
    let said = (
        section.rate_hz(),
        section.rate_tolerance_ppm(),
        section.mounting(),
    );
    assert_eq!(said, (None, RATE_TOLERANCE_PPM, None));
    assert_eq!(samples::sensors()[0].1, old);
}

#[test]
fn capsules_are_as_frozen() {
    let capsule = samples::capsule();
    check(
        "capsules.txt",
        &[
            ("payload", samples::payload()),
            ("capsule", capsule.clone()),
        ],
    );
    let keys = [samples::signing_key().verifying_key()];
    let capsule = Capsule::verify(&capsule, &keys).expect("a sound capsule");
    assert_eq!(capsule.manifest.name, "fan-condition");
    let section = |id| capsule.payload.section(id).expect("a section");
    assert_eq!(section(SectionId::Program), b"program");
    let scaler = ScalerSection::decode(section(SectionId::Scaler)).expect("a scaler");
    let mut features = [2.0, 2.5, 1.0, 2.0];
    scaler.apply(&mut features);
    assert_eq!(features, [0.5, 2.0, 0.0, 0.0]);
    let labels = Labels::decode(section(SectionId::Labels)).expect("labels");
    assert_eq!(labels.names().collect::<Vec<_>>(), ["idle", "läuft"]);
    let decision = DecisionSection::decode(section(SectionId::Decision)).expect("a decision");
    assert_eq!(decision.min_confidence, 0.6);
    let golden = GoldenSection::decode(section(SectionId::Golden)).expect("golden vectors");
    let expected = Golden::Tensor {
        input: &[1, 2, 255],
        output: &[128, 127],
    };
    assert_eq!(golden.vectors().collect::<Vec<_>>(), [expected]);
    assert_eq!(capsule.payload.section(SectionId::Baseline), None);
}

#[test]
fn statements_and_key_sets_are_as_frozen() {
    let statement = samples::statement();
    let set = samples::key_set();
    let roots = samples::root_keys();
    let one = samples::signed_key_set(&set, &roots[..1]);
    let three = samples::signed_key_set(&set, &roots);
    check(
        "trust.txt",
        &[
            ("statement", statement.clone()),
            ("key-set-1", one),
            ("key-set-3", three.clone()),
        ],
    );
    let keys = [samples::director().verifying_key()];
    assert_eq!(Statement::verify(&statement, &keys), Ok(samples::STATEMENT));
    let signed = SignedKeySet::parse(&three).expect("a key set");
    assert_eq!(signed.verify(&samples::roots(3)), Ok(set));
}

#[test]
fn enrolments_are_as_frozen() {
    let mut entries = vec![("claim-certificate", samples::enrolment::claim())];
    entries.extend(samples::enrolment::requests());
    let request = &entries[1].1;
    let (answer, key) = samples::enrolment::answer(request);
    entries.push(("answer-to-token", answer));
    entries.push(("device-key", key.0.to_vec()));
    entries.push(("token-key", samples::enrolment::token().key().0.to_vec()));
    check("enrolment.txt", &entries);
}

#[test]
fn records_of_a_board_are_as_frozen() {
    check("provision.txt", &samples::provision::records());
}

/// Holds lines of `name hex` against the file of that name.
#[track_caller]
fn check(file: &str, entries: &[(&str, Vec<u8>)]) {
    let mut actual = String::new();
    for (name, bytes) in entries {
        write!(actual, "{name} ").expect("a string grows");
        bytes
            .iter()
            .for_each(|byte| write!(actual, "{byte:02x}").expect("a string grows"));
        actual.push('\n');
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/wire");
    let path = folder.join(file);
    if std::env::var_os("TINYOPS_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&path, &actual).expect("a file");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is in the repository");
    assert_eq!(actual, expected, "{}", path.display());
}

#[test]
fn a_hello_whose_features_fit_the_second_version_has_no_third() {
    let frames = samples::frames();
    let (_, wide) = frames.iter().find(|(name, _)| *name == "hello-3").unwrap();
    let mut narrow = wide.clone();
    // The high byte of the features, whose lowest bit is the ninth of all.
    assert_eq!(std::mem::take(&mut narrow[22]), 1);
    assert!(Frame::decode(&narrow).is_err());
}
