//! Statistics are exact: order does not matter, and what was added can be taken back.

use proptest::prelude::*;
use tinyops_nn::statistics::{ClassStatistics, StatisticsError, cell_count};

const CLASSES: usize = 3;
const WIDTH: usize = 5;

type Device = ClassStatistics<i32, Vec<i32>>;
type Fleet = ClassStatistics<i64, Vec<i64>>;
type Labelled = (usize, [u8; WIDTH]);

fn device() -> Device {
    Device::new(CLASSES, WIDTH, vec![0; cell_count(CLASSES, WIDTH)]).expect("the right count")
}

fn fleet() -> Fleet {
    Fleet::new(CLASSES, WIDTH, vec![0; cell_count(CLASSES, WIDTH)]).expect("the right count")
}

fn of(embeddings: &[Labelled], zero_point: i8) -> Device {
    let mut statistics = device();
    for (class, embedding) in embeddings {
        statistics.add(*class, embedding, zero_point).expect("fits");
    }
    statistics
}

fn embeddings() -> impl Strategy<Value = Vec<Labelled>> {
    prop::collection::vec((0..CLASSES, any::<[u8; WIDTH]>()), 0..20)
}

proptest! {
    #[test]
    fn sums_are_what_they_say(embeddings in embeddings(), zero_point: i8) {
        let statistics = of(&embeddings, zero_point);
        let phi = |embedding: &[u8; WIDTH], i: usize| i64::from(embedding[i] as i8) - i64::from(zero_point);
        for class in 0..CLASSES {
            let members: Vec<_> = embeddings.iter().filter(|(c, _)| *c == class).collect();
            prop_assert_eq!(statistics.counts()[class] as usize, members.len());
            for i in 0..WIDTH {
                let sum: i64 = members.iter().map(|(_, embedding)| phi(embedding, i)).sum();
                prop_assert_eq!(i64::from(statistics.class_sum(class)[i]), sum);
            }
        }
        for i in 0..WIDTH {
            for j in 0..WIDTH {
                let sum: i64 = embeddings.iter().map(|(_, e)| phi(e, i) * phi(e, j)).sum();
                prop_assert_eq!(statistics.gram(i, j), sum);
            }
        }
        prop_assert!(statistics.is_plausible());
    }

    #[test]
    fn the_order_of_merging_does_not_matter(a in embeddings(), b in embeddings(), c in embeddings(), zero_point: i8) {
        let parts = [of(&a, zero_point), of(&b, zero_point), of(&c, zero_point)];
        let merged = |order: [usize; 3]| {
            let mut all = fleet();
            order.iter().for_each(|&index| all.merge(&parts[index]).expect("fits"));
            all
        };
        prop_assert_eq!(merged([0, 1, 2]), merged([2, 0, 1]));
        prop_assert_eq!(merged([0, 1, 2]), merged([1, 2, 0]));
        let at_once = of(&[a, b, c].concat(), zero_point);
        let mut all = fleet();
        all.merge(&at_once).expect("fits");
        prop_assert_eq!(merged([0, 1, 2]), all);
    }

    #[test]
    fn subtracting_is_the_exact_inverse(a in embeddings(), b in embeddings(), zero_point: i8) {
        let (before, other) = (of(&a, zero_point), of(&b, zero_point));
        let mut statistics = before.clone();
        statistics.merge(&other).expect("fits");
        statistics.unmerge(&other).expect("was merged");
        prop_assert_eq!(&statistics, &before);
        for (class, embedding) in &b {
            statistics.add(*class, embedding, zero_point).expect("fits");
        }
        for (class, embedding) in b.iter().rev() {
            statistics.subtract(*class, embedding, zero_point).expect("was added");
        }
        prop_assert_eq!(statistics, before);
    }

    #[test]
    fn nothing_panics_over_any_cells(cells in prop::collection::vec(any::<i32>(), cell_count(CLASSES, WIDTH)), other in embeddings()) {
        let mut statistics = Device::new(CLASSES, WIDTH, cells).expect("the right count");
        let _ = (statistics.is_plausible(), statistics.total(), statistics.gram(4, 1));
        let other = of(&other, 0);
        let _ = statistics.merge(&other);
        let _ = statistics.unmerge(&other);
        let _ = statistics.add(1, &[0x80; WIDTH], 127);
        let _ = statistics.subtract(1, &[0x80; WIDTH], 127);
    }
}

#[test]
fn wrong_shapes_and_full_sums_are_errors() {
    assert_eq!(
        Device::new(2, 2, vec![0; 5]).err(),
        Some(StatisticsError::CellCount)
    );
    let mut statistics = device();
    assert_eq!(
        statistics.add(CLASSES, &[0; WIDTH], 0),
        Err(StatisticsError::Class)
    );
    assert_eq!(
        statistics.add(0, &[0; WIDTH - 1], 0),
        Err(StatisticsError::Shape)
    );
    assert_eq!(
        statistics.subtract(0, &[0; WIDTH], 0),
        Err(StatisticsError::Empty)
    );
    for _ in 0..33_025 {
        statistics
            .add(1, &[0x80; WIDTH], 127)
            .expect("the promised count fits");
    }
    assert_eq!(
        statistics.add(1, &[0x80; WIDTH], 127),
        Err(StatisticsError::Full)
    );
    assert_eq!(statistics.gram(0, 0), 33_025 * 255 * 255);
    assert!(statistics.is_plausible());
}

#[test]
fn impossible_statistics_are_seen() {
    let mut cells = vec![0i64; cell_count(CLASSES, WIDTH)];
    cells[CLASSES] = 1000;
    assert!(
        !Fleet::new(CLASSES, WIDTH, cells.clone())
            .expect("the right count")
            .is_plausible()
    );
    cells[0] = 4;
    assert!(
        Fleet::new(CLASSES, WIDTH, cells.clone())
            .expect("the right count")
            .is_plausible()
    );
    cells[1] = i64::MAX;
    assert!(
        !Fleet::new(CLASSES, WIDTH, cells)
            .expect("the right count")
            .is_plausible()
    );
}
