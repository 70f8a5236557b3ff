//! The prior of a head, byte for byte as capsules bring it.
//!
//! `TINYOPS_BLESS=1 cargo test -p tinyops-nn prior` writes the file anew, for a new version of the format.

use std::fmt::Write as _;
use std::path::Path;

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

#[test]
fn priors_are_as_frozen() {
    let mut actual = "prior ".to_owned();
    for byte in encoded() {
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
