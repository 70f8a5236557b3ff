//! Model bytes: the same model the same bytes, and any bytes an answer.

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_model::{DecodeError, Model};

use crate::samples::models;

#[test]
fn what_is_encoded_decodes_to_the_same() {
    for model in models() {
        let bytes = model.encode();
        let decoded = Model::decode(&bytes).expect("decodes");
        assert_eq!(decoded, model);
        assert_eq!(decoded.encode(), bytes);
    }
}

#[test]
fn a_model_cut_short_anywhere_does_not_decode() {
    for model in models() {
        let bytes = model.encode();
        for len in 0..bytes.len() {
            assert!(Model::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(Model::decode(&longer), Err(DecodeError::Trailing)));
    }
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let mut bytes = models()[0].encode();
    assert!(matches!(Model::decode(b"GIF89a"), Err(DecodeError::Magic)));
    bytes[4] = 9;
    assert!(matches!(
        Model::decode(&bytes),
        Err(DecodeError::Version(9))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_mutation_is_answered(which: Index, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6)) {
        let models = models();
        let mut bytes = which.get(&models).encode();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(model) = Model::decode(&bytes) {
            // What decodes must encode, and come out the same again.
            let again = model.encode();
            prop_assert_eq!(Model::decode(&again).expect("decodes").encode(), again);
        }
    }
}
