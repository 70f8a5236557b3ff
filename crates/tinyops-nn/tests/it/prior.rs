//! The prior of a head, byte for byte as capsules bring it.
//!
//! `TINYOPS_BLESS=1 cargo test -p tinyops-nn prior` writes the file anew, for a new version of the format.

use std::fmt::Write as _;
use std::path::Path;

use tinyops_nn::EmbeddingDistance;
use tinyops_nn::head::{Prior, Sums};
use tinyops_nn::statistics::{ClassStatistics, cell_count};

const CLASSES: usize = 3;
const WIDTH: usize = 4;

/// Windows of two classes; the third has none.
fn encoded() -> Vec<u8> {
    let mut sums =
        ClassStatistics::<i64, _>::new(CLASSES, WIDTH, vec![0; cell_count(CLASSES, WIDTH)])
            .expect("as many cells");
    for index in 0..40_usize {
        let class = index % 2;
        let row: [u8; WIDTH] =
            std::array::from_fn(|at| ((index * (3 + at) % 11) as i8 - 5 + 20 * class as i8) as u8);
        sums.add(class, &row, -7).expect("a class");
    }
    let mut out = vec![0; Prior::encoded_len(CLASSES, WIDTH)];
    Prior::encode(&sums, *b"embedded", &mut out).expect("windows that vary");
    out
}

/// Where embeddings of two classes and three values lie.
fn embedding() -> Vec<u8> {
    let means = [1.0, -2.5, 20.25, 0.0, 7.0, -128.0];
    let factor = [0.5, -0.1, 0.02, 0.3, 0.04, 1.25];
    let mut out = vec![0; EmbeddingDistance::encoded_len(2, 3)];
    EmbeddingDistance::encode(&means, &factor, &[0.0, 2.25], &mut out)
        .expect("an embedding of int8");
    out
}

#[test]
fn a_frozen_embedding_measures_the_frozen_distance() {
    let bytes = embedding();
    let distance = EmbeddingDistance::decode(&bytes).expect("where embeddings lie");
    // Roots of -0.055, 0.14 and -0.3125 are -1, 2 and -5 sixteenths.
    assert_eq!(
        distance.octaves(0, &[1, 254, 20]),
        Some((1.0 + 4.0 + 25.0) / 256.0)
    );
    // 55.26² + 7.02² + 285² and one, of which 2¹⁶ is the power below.
    let far = distance.octaves(1, &[100, 0, 100]).expect("a class");
    assert!((far - (16.2868 - 2.25)).abs() < 0.02, "{far}");
}

#[test]
fn priors_are_as_frozen() {
    let mut actual = "prior ".to_owned();
    for byte in encoded() {
        write!(actual, "{byte:02x}").expect("a string grows");
    }
    actual.push_str("\nembedding ");
    for byte in embedding() {
        write!(actual, "{byte:02x}").expect("a string grows");
    }
    actual.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/wire/priors.txt");
    if std::env::var_os("TINYOPS_BLESS").is_some() {
        std::fs::write(&path, &actual).expect("a file");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is in the repository");
    assert_eq!(actual, expected, "{}", path.display());
}

#[test]
fn a_prior_says_what_its_windows_were() {
    let bytes = encoded();
    let prior = Prior::decode(&bytes).expect("a prior");
    assert_eq!(
        (prior.class_count(), prior.embedding_len()),
        (CLASSES, WIDTH)
    );
    let counts: Vec<f64> = (0..CLASSES)
        .map(|class| prior.count(class).round())
        .collect();
    assert_eq!(counts, [20.0, 20.0, 0.0]);
    // 20 more than those of the first, less what an embedded 0 is.
    let means = [0, 1].map(|class| prior.class_sum(class, 0) / prior.count(class));
    assert!((means[1] - means[0] - 20.0).abs() < 1.0, "{means:?}");
    assert!((prior.gram(1, 2) - prior.gram(2, 1)).abs() < 1e-9);
}
