//! The sizes that the design promises.

use tinyops_wire::manifest::{MANIFEST_BYTES_MAX, TEXT_BYTES_MAX};
use tinyops_wire::summary::Format;
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
