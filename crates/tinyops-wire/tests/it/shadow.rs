//! What a candidate says of itself beside the model that runs.

use tinyops_wire::downlink::{DownlinkError, Offer, What, When};
use tinyops_wire::frame::FrameError;
use tinyops_wire::shadow::{Answers, Pairs, ShadowReport};
use tinyops_wire::{Digest, Downlink, Frame, ModelId};

use crate::samples;

fn decoded(bytes: &[u8]) -> ShadowReport<'_> {
    match Frame::decode(bytes) {
        Ok(Frame::Shadow(report)) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_comes_back_and_is_as_long_whatever_it_says() {
    let sent = samples::shadow_report(&[30, 12, 0, 6]).with_cost(&samples::COST, samples::dither());
    let bytes = samples::frame(&Frame::Shadow(sent));
    let told = decoded(&bytes);
    assert_eq!(
        (told.model, told.answers, told.answers.pairs.judged()),
        (ModelId(0x0bad_cafe), sent.answers, 320)
    );
    let cost = told.cost(samples::dither()).expect("it is measured");
    assert!((cost.mean_us / samples::COST.mean_us - 1.0).abs() < 0.08);
    let shares: Vec<f32> = told.class_shares().collect();
    for (share, expected) in shares.iter().zip([0.625, 0.25, 0.0, 0.125]) {
        assert!((share - expected).abs() < 1.0 / 255.0, "{shares:?}");
    }
    let nothing = samples::frame(&Frame::Shadow(ShadowReport::new(
        ModelId(1),
        Answers::default(),
        &[0; 4],
    )));
    assert_eq!(nothing.len(), bytes.len());
    assert_eq!(bytes.len(), 30, "it fits the slowest rate of LoRaWAN");
    assert_eq!(decoded(&nothing).class_shares().sum::<f32>(), 0.0);
    assert_eq!(decoded(&nothing).cost(samples::dither()), None);
}

#[test]
fn numbers_that_no_report_can_hold_are_held_to_its_ends() {
    for (output, told) in [(1e9, 127.996_09), (-1e9, -128.0), (f32::NAN, 0.0)] {
        let answers = Answers {
            output,
            ..Answers::default()
        };
        let report = ShadowReport::new(ModelId(1), answers, &[u16::MAX; 32]);
        let bytes = samples::frame(&Frame::Shadow(report));
        assert_eq!(decoded(&bytes).answers.output, told);
    }
    let mut pairs = Pairs::default();
    for _ in 0..70_000 {
        pairs.count(true, false);
    }
    assert_eq!(pairs.only_active, u16::MAX);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let bytes = samples::frame(&Frame::Shadow(samples::shadow_report(&[1, 2])));
    for (at, byte, why) in [
        (1, 4, "a flag that nobody knows"),
        (14, 1, "a cost that is not measured"),
        (9, 1, "more windows agreed than were scored"),
        (25, 33, "more classes than any model has"),
        (25, 1, "bytes left over"),
    ] {
        let mut changed = bytes.clone();
        changed[at] = byte;
        assert_eq!(Frame::decode(&changed), Err(FrameError::Length), "{why}");
    }
    let mut out = [0; 64];
    let more = Answers {
        windows: 1,
        agreed: 2,
        ..Answers::default()
    };
    let more = ShadowReport::new(ModelId(1), more, &[]);
    assert!(Frame::Shadow(more).encode(&mut out).is_err());
    let later = [&[11 | 2 << 4], &bytes[1..]].concat();
    assert_eq!(Frame::decode(&later), Err(FrameError::Version { found: 2 }));
}

#[test]
fn a_candidate_is_to_score_a_window_at_least() {
    let statement = samples::statement();
    let offer = |windows, statement| {
        Downlink::Offer(Offer {
            what: What::Capsule,
            digest: Digest::of(b"capsule"),
            bytes: 9,
            when: When::Shadow { windows },
            statement,
        })
    };
    let mut out = [0; 256];
    assert!(offer(0, Some(&statement)).encode(&mut out).is_err());
    assert!(offer(1, None).encode(&mut out).is_err(), "nobody states it");
    let mut bytes = samples::downlink(&offer(1, Some(&statement)));
    assert_eq!(Downlink::decode(&bytes), Ok(offer(1, Some(&statement[..]))));
    bytes[3] = 0;
    assert_eq!(
        Downlink::decode(&bytes),
        Err(DownlinkError::When { found: 2 })
    );
    bytes[2] = 3;
    assert_eq!(
        Downlink::decode(&bytes),
        Err(DownlinkError::When { found: 3 })
    );
}
