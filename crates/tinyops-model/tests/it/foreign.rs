//! `.tflite` files: refused with a reason, or read, whatever the bytes.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_model::tflite::{ImportError, import};

/// The smallest reference model, if the data is there.
#[expect(clippy::print_stdout, reason = "a test that skips says why")]
fn reference() -> Option<Vec<u8>> {
    let data = std::env::var("TINYOPS_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let path = PathBuf::from(data).join("mlperf-tiny/kws_ref_model.tflite");
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} is not there; set TINYOPS_DATA", path.display());
    }
    bytes
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"TFL3", b"\x1c\0\0\0TFL2", &[0xFF; 64]] {
        assert!(matches!(import(bytes), Err(ImportError::NotTflite)));
    }
    assert!(matches!(
        import(b"\xFF\xFF\xFF\xFFTFL3"),
        Err(ImportError::Truncated)
    ));
    assert!(matches!(
        import(b"\0\0\0\0TFL3"),
        Err(ImportError::Truncated | ImportError::Version(_))
    ));
}

#[test]
fn a_keyword_network_is_read_whole() {
    let Some(bytes) = reference() else { return };
    let graph = import(&bytes).expect("reads");
    assert_eq!(graph.macs(), 2_656_768);
    let kinds: Vec<_> = graph.ops.iter().map(|op| op.kind.name()).collect();
    let mut expected = vec!["CONV_2D"];
    for _ in 0..4 {
        expected.extend(["DEPTHWISE_CONV_2D", "CONV_2D"]);
    }
    expected.extend(["AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]);
    assert_eq!(kinds, expected);
    // The last table ends a few bytes before the file does.
    for len in (0..bytes.len() - 100).step_by(97) {
        assert!(import(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn an_operator_without_kernel_is_named() {
    let Some(mut bytes) = reference() else { return };
    // The operator codes are the last tables of the file. SOFTMAX is 25; make it SIN, 66.
    let codes = bytes.len() - 120;
    for byte in bytes[codes..].iter_mut().filter(|byte| **byte == 25) {
        *byte = 66;
    }
    match import(&bytes) {
        Err(ImportError::Unsupported(refusals)) => {
            assert_eq!(refusals.len(), 1);
            assert_eq!((refusals[0].op, refusals[0].operator.as_str()), (12, "SIN"));
            assert!(refusals[0].why.contains("no int8 form"), "{}", refusals[0]);
        }
        other => panic!("{:?}", other.map(|_| "read")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_mutation_of_a_network_is_answered(changes in prop::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..8)) {
        let Some(mut bytes) = reference() else { return Ok(()) };
        for (index, value, near) in changes {
            // Tables lie at both ends of the file, weights in between.
            let at = if near { index.index(4096) } else { bytes.len() - 1 - index.index(20_000) };
            bytes[at] = value;
        }
        let _ = import(&bytes);
    }

    #[test]
    fn any_bytes_after_the_identifier_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 8..300), root in 0u32..300) {
        bytes[..4].copy_from_slice(&root.to_le_bytes());
        bytes[4..8].copy_from_slice(b"TFL3");
        let _ = import(&bytes);
    }
}
