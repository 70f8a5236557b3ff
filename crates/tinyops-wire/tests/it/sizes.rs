//! The sizes that the design promises.

use tinyops_wire::cost::Cost;
use tinyops_wire::frame::FrameError;
use tinyops_wire::manifest::{MANIFEST_BYTES_MAX, TEXT_BYTES_MAX};
use tinyops_wire::summary::{Format, SummaryFrame};
use tinyops_wire::{Digest, Frame, Manifest};

use crate::samples;

#[test]
fn frames_have_the_promised_sizes() {
    for (format, bytes) in [(Format::M6H8, 51), (Format::M8, 24), (Format::M4, 11)] {
        assert_eq!(format.frame_len(9, 4), bytes, "{format:?}");
        assert_eq!(samples::summary_frame(format).len(), bytes, "{format:?}");
    }
    let sizes: Vec<(&str, usize)> = samples::frames()
        .iter()
        .map(|(name, bytes)| (*name, bytes.len()))
        .collect();
    assert!(
        sizes.contains(&("alarm", 3)) && sizes.contains(&("update", 15)),
        "{sizes:?}"
    );
}

#[test]
fn a_summary_survives_its_frame_to_the_precision_of_its_bits() {
    for (format, mean_step, ln_sd_step) in [
        (Format::M6H8, 4.0 / 63.0, 2.0 / 63.0),
        (Format::M8, 4.0 / 255.0, 2.0 / 255.0),
    ] {
        let bytes = samples::summary_frame(format);
        let Ok(Frame::Summary(frame)) = Frame::decode(&bytes) else {
            panic!("a summary");
        };
        let decoded = frame.decode(9, 4, samples::dither()).expect("its shape");
        let sent = samples::summary();
        assert!(
            (decoded.count / sent.count - 1.0).abs() < 0.05,
            "{}",
            decoded.count
        );
        for (decoded, sent) in decoded.channels().iter().zip(sent.channels()) {
            assert!((decoded.mean - sent.mean).abs() <= mean_step);
            assert!((decoded.ln_sd - sent.ln_sd).abs() <= ln_sd_step);
            if let (Some(decoded), Some(sent)) = (decoded.shares, sent.shares) {
                assert!((decoded.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                // A step of the root is 0.1; the root of a share is at most 0.45 here.
                decoded
                    .iter()
                    .zip(&sent)
                    .for_each(|(a, b)| assert!((a - b).abs() < 0.1));
            }
        }
        for (decoded, sent) in decoded.class_shares().iter().zip(sent.class_shares()) {
            assert!((decoded - sent).abs() < 0.05);
        }
        assert!(
            frame.decode(8, 4, samples::dither()).is_err(),
            "another shape has another length"
        );
    }
}

#[test]
fn what_scoring_cost_takes_three_bytes_more_where_there_is_room() {
    for (format, bytes) in [(Format::M6H8, 54), (Format::M8, 27), (Format::M4, 11)] {
        let frame = samples::costed_frame(format, &samples::COST);
        assert_eq!(frame.len(), bytes, "{format:?}");
        let Ok(Frame::Summary(decoded)) = Frame::decode(&frame) else {
            panic!("a summary");
        };
        let plain = samples::summary_frame(format);
        let Ok(Frame::Summary(before)) = Frame::decode(&plain) else {
            panic!("a summary");
        };
        assert_eq!(
            decoded.decode(9, 4, samples::dither()),
            before.decode(9, 4, samples::dither()),
            "the summary is as without it"
        );
        assert_eq!(before.cost(samples::dither()), None);
        let cost = decoded.cost(samples::dither());
        assert_eq!(cost.is_some(), format != Format::M4);
        let Some(cost) = cost else { continue };
        let share = cost.ram_share.expect("it was measured");
        assert!((cost.mean_us / 1234.0 - 1.0).abs() < 0.07, "{cost:?}");
        assert!((cost.max_us / 5678.0 - 1.0).abs() < 0.07, "{cost:?}");
        assert!((share / 0.71 - 1.0).abs() < 0.025, "{cost:?}");
    }
    // An M4 of version 2 is not one of ours.
    let mut frame = samples::summary_frame(Format::M4);
    frame[0] = frame[0] & 0xf | 2 << 4;
    assert_eq!(Frame::decode(&frame), Err(FrameError::Version { found: 2 }));
}

/// A gateway has no key of the device, and so not the dither.
#[test]
fn without_the_dither_numbers_are_right_in_the_mean_and_a_step_off_at_most() {
    let sent = samples::summary();
    let count = 2_000;
    let (mut mean, mut share) = ([0.0_f32; 9], [0.0_f32; 4]);
    for sequence in 0..count {
        let mut out = [0; 64];
        let dither = (samples::dither().0, sequence);
        let header = tinyops_wire::summary::Header::default();
        let encoded = SummaryFrame::encode(Format::M6H8, header, &sent, dither, &mut out);
        let Ok(Frame::Summary(frame)) = Frame::decode(&out[..encoded.expect("room")]) else {
            panic!("a summary");
        };
        let read = frame.decode_undithered(9, 4).expect("its shape");
        for (index, (read, sent)) in read.channels().iter().zip(sent.channels()).enumerate() {
            assert!((read.mean - sent.mean).abs() <= 4.0 / 63.0 + 1e-5);
            mean[index] += read.mean / count as f32;
        }
        for (sum, read) in share.iter_mut().zip(read.class_shares()) {
            *sum += read / count as f32;
        }
        assert!(frame.decode_undithered(8, 4).is_err(), "another shape");
    }
    for (mean, sent) in mean.iter().zip(sent.channels()) {
        assert!((mean - sent.mean).abs() < 2e-3, "{mean} for {}", sent.mean);
    }
    for (share, sent) in share.iter().zip(sent.class_shares()) {
        assert!((share - sent).abs() < 2e-3, "{share} for {sent}");
    }
}

#[test]
fn costs_average_to_what_they_were_and_extremes_stay_in_range() {
    let means = |cost: Cost| {
        let mut sums = [0.0_f64; 2];
        for sequence in 0..4_000 {
            let mut out = [0; 64];
            out[0] = 0x13;
            let dither = (77, sequence);
            let len = cost.append(Format::M8, 24, dither, &mut out).expect("room");
            let Ok(Frame::Summary(frame)) = Frame::decode(&out[..len]) else {
                panic!("a summary");
            };
            let cost = frame.cost(dither).expect("it is there");
            sums[0] += f64::from(cost.mean_us).ln() / 4_000.0;
            sums[1] += f64::from(cost.ram_share.unwrap_or(1.0)).ln() / 4_000.0;
        }
        sums.map(f64::exp)
    };
    for (mean_us, share) in [(17.3, 0.31), (1_000.0, 0.5), (250_000.0, 0.04)] {
        let [mean, ram] = means(Cost {
            mean_us,
            max_us: mean_us,
            ram_share: Some(share),
        });
        assert!((mean / f64::from(mean_us) - 1.0).abs() < 2e-3, "{mean}");
        assert!((ram / f64::from(share) - 1.0).abs() < 1e-3, "{ram}");
    }
    for (mean_us, share) in [(0.0, 0.0), (f32::INFINITY, 7.0), (f32::NAN, f32::NAN)] {
        let [mean, ram] = means(Cost {
            mean_us,
            max_us: mean_us,
            ram_share: Some(share),
        });
        assert!((2.0..=3.4e7).contains(&mean) && ram <= 1.0, "{mean} {ram}");
    }
}

#[test]
fn the_largest_manifest_fits() {
    let text = "x".repeat(TEXT_BYTES_MAX);
    let manifest = Manifest {
        sequence: u32::MAX,
        board: &text,
        payload_digest: Digest([0xff; 32]),
        payload_bytes: u32::MAX,
        program_digest: Digest([0xff; 32]),
        name: &text,
        version: u32::MAX,
    };
    let bytes = samples::write(|out| manifest.encode(out).expect("room"));
    assert!(bytes.len() <= MANIFEST_BYTES_MAX, "{} bytes", bytes.len());
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
}
