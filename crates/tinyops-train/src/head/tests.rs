//! Heads against Gaussians whose best answer is known.

use super::*;
use crate::linalg;
use crate::rng::Rng;

/// Two classes in two values, the second far noisier than the first, which alone tells them apart.
fn sums(shift: f64, count: usize) -> Statistics {
    let mut rng = Rng::new(5, count as u64);
    let mut statistics = Statistics::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
    for index in 0..count {
        let class = index % 2;
        let place = [
            20.0 * class as f32 + shift as f32 + 3.0 * rng.normal(),
            60.0 + 30.0 * rng.normal(),
        ];
        let bytes = place.map(|x| x.round().clamp(-128.0, 127.0) as i8 as u8);
        statistics.add(class, &bytes, 0).unwrap();
    }
    statistics
}

#[test]
fn every_solver_separates_what_can_be() {
    let sums = Sums::of(&sums(0.0, 2000));
    for head in [sums.lda(), sums.ridge()] {
        let accuracy = sums.expected_accuracy(&head.unwrap());
        assert!(accuracy > 0.99, "{accuracy}");
    }
    let means = sums.expected_accuracy(&sums.class_means().unwrap());
    assert!(means > 0.95, "{means}");
}

#[test]
fn tempered_margins_are_log_odds() {
    let sums = Sums::of(&sums(0.0, 2000));
    let mut head = sums.ridge().unwrap();
    sums.temper(&mut head);
    sums.margins(&head, |_, _, margin, variance| {
        assert!(
            (2.0 * margin / variance - 1.0).abs() < 0.1,
            "{margin} {variance}"
        );
    });
    let [low, high] = sums.logit_range(&head);
    assert!(low < 0.0 && high > 0.0 && low.is_finite() && high.is_finite());
}

#[test]
fn a_class_that_was_never_seen_has_no_head() {
    let mut lone = Statistics::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
    lone.add(0, &[1, 2], 0).unwrap();
    assert!(Sums::of(&lone).lda().is_none());
    assert!(
        Sums::of(&lone)
            .mixed(&Sums::of(&sums(0.0, 100)), 1.0)
            .lda()
            .is_some()
    );
}

#[test]
fn statistics_survive_their_bytes() {
    let statistics = sums(4.0, 50);
    assert_eq!(decode(&encode(&statistics)).unwrap(), statistics);
    let mut bytes = encode(&statistics);
    bytes.pop();
    assert!(decode(&bytes).is_err());
    assert!(decode(b"TOSTATS1").is_err());
}

/// Windows of four classes in six values that lean on each other.
fn windows(count: usize, seed: u64) -> Vec<(usize, [u8; 6])> {
    let mut rng = Rng::new(seed, 7);
    (0..count)
        .map(|_| {
            let class = rng.below(4);
            let common = 9.0 * rng.normal();
            let value = |at: usize, rng: &mut Rng| {
                let centre = 25.0 * f32::from(u8::from(at == class)) - 10.0;
                (centre + common + 6.0 * rng.normal())
                    .round()
                    .clamp(-128.0, 127.0) as i8 as u8
            };
            (class, std::array::from_fn(|at| value(at, &mut rng)))
        })
        .collect()
}

fn summed(windows: &[(usize, [u8; 6])], zero_point: i8) -> Statistics {
    let mut statistics = Statistics::new(4, 6, vec![0; cell_count(4, 6)]).unwrap();
    for (class, row) in windows {
        statistics.add(*class, row, zero_point).unwrap();
    }
    statistics
}

/// LDA of the windows themselves, in two passes over them, as a server would that had them all.
fn central_lda(windows: &[(usize, [u8; 6])], zero_point: i8) -> Linear {
    const D: usize = 6;
    let phi = |row: &[u8; D]| row.map(|byte| f64::from(byte as i8) - f64::from(zero_point));
    let mut means = [[0.0; D]; 4];
    let mut counts = [0.0; 4];
    for (class, row) in windows {
        counts[*class] += 1.0;
        let phi = phi(row);
        (0..D).for_each(|at| means[*class][at] += phi[at]);
    }
    for (mean, count) in means.iter_mut().zip(counts) {
        mean.iter_mut().for_each(|x| *x /= count);
    }
    let mut covariance = vec![0.0; D * D];
    for (class, row) in windows {
        let phi = phi(row);
        let away: [f64; D] = std::array::from_fn(|at| phi[at] - means[*class][at]);
        (0..D * D).for_each(|at| covariance[at] += away[at / D] * away[at % D]);
    }
    let total = windows.len() as f64;
    covariance.iter_mut().for_each(|x| *x /= total);
    let trace: f64 = (0..D).map(|at| covariance[at * D + at]).sum();
    (0..D).for_each(|at| covariance[at * D + at] += 0.1 * trace / D as f64);
    let lower = linalg::cholesky(&covariance, D).unwrap();
    let mut head = Linear {
        width: D,
        weights: Vec::new(),
        bias: Vec::new(),
        ahead: None,
    };
    for mean in means {
        let mut weights = mean.to_vec();
        linalg::solve(&lower, D, &mut weights);
        head.bias.push(-0.5 * sums::dot(&weights, &mean));
        head.weights.extend(weights);
    }
    head
}

#[track_caller]
fn check_equal(federated: &Linear, central: &Linear) {
    let all = |head: &Linear| [&head.weights[..], &head.bias].concat();
    let size = all(central)
        .iter()
        .fold(0.0f64, |most, x| most.max(x.abs()));
    for (own, theirs) in all(federated).iter().zip(all(central)) {
        assert!((own - theirs).abs() <= 1e-9 * size, "{own} {theirs}");
    }
}

#[test]
fn a_federated_head_is_the_central_one() {
    let all = windows(900, 1);
    // Devices of very different size and mix: the first hold one class each.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| (all[at].0, at));
    let mut sum = summed(&[], -5);
    let mut at = 0;
    for size in [200, 3, 90, 7, 1, 150, 449] {
        let device: Vec<_> = order[at..at + size].iter().map(|&at| all[at]).collect();
        sum.merge(&summed(&device, -5)).unwrap();
        at += size;
    }
    assert_eq!(at, all.len());
    check_equal(&Sums::of(&sum).lda().unwrap(), &central_lda(&all, -5));
}

#[test]
fn who_withdraws_was_never_there_and_who_is_late_is_in() {
    let (stay, leave, late) = (windows(300, 1), windows(40, 2), windows(60, 3));
    let mut sum = summed(&stay, 0);
    sum.merge(&summed(&leave, 0)).unwrap();
    sum.merge(&summed(&late, 0)).unwrap();
    sum.unmerge(&summed(&leave, 0)).unwrap();
    let without = [stay, late].concat();
    assert_eq!(sum, summed(&without, 0));
    check_equal(&Sums::of(&sum).lda().unwrap(), &central_lda(&without, 0));
}

#[test]
fn narrow_sums_are_those_of_narrow_embeddings() {
    let all = windows(200, 4);
    let statistics = summed(&all, 3);
    let projection = Projection::principal(&statistics, 3).unwrap();
    let narrow = projection.apply(&statistics).unwrap();
    let mut gram = [0i64; 9];
    let mut sums = [[0i64; 3]; 4];
    for (class, row) in &all {
        let psi: [i64; 3] = std::array::from_fn(|at| {
            let phi = row.iter().map(|&byte| i64::from(byte as i8) - 3);
            projection
                .row(at)
                .iter()
                .zip(phi)
                .map(|(&p, x)| i64::from(p) * x)
                .sum()
        });
        (0..3).for_each(|at| sums[*class][at] += psi[at]);
        (0..9).for_each(|at| gram[at] += psi[at / 3] * psi[at % 3]);
    }
    for (class, sum) in sums.iter().enumerate() {
        assert_eq!(narrow.class_sum(class), sum);
    }
    (0..9).for_each(|at| assert_eq!(narrow.gram(at / 3, at % 3), gram[at]));
    // Half of the values still tell the classes apart, and a head over them is one over all.
    let head = Sums::of(&narrow).lda().unwrap();
    let expected = Sums::of(&narrow).expected_accuracy(&head);
    let lifted = Sums::of(&statistics).expected_accuracy(&head.clone().lifted(Some(&projection)));
    assert!((expected - lifted).abs() < 1e-9, "{expected} {lifted}");
    assert!(expected > 0.7, "{expected}");
    let again = head.clone().lifted(Some(&projection)).narrowed(&projection);
    let worst = again
        .weights
        .iter()
        .zip(&head.weights)
        .map(|(a, b)| (a - b).abs());
    let size = head
        .weights
        .iter()
        .fold(0.0f64, |most, x| most.max(x.abs()));
    assert!(worst.fold(0.0, f64::max) < 0.05 * size);
    assert!(projection.apply(&narrow).is_none(), "of another width");
    assert!(Projection::principal(&statistics, 7).is_none());
}

#[test]
fn a_bucket_of_liars_is_left_out() {
    let factory = windows(400, 9);
    let embedded = Embedded {
        class_count: 4,
        width: 6,
        zero_point: 0,
        rows: factory.iter().flat_map(|(_, row)| *row).collect(),
        classes: factory
            .iter()
            .map(|(class, _)| Some(*class as u16))
            .collect(),
    };
    let bucket = |seed: u64, liars: bool| {
        let mut windows = windows(60, seed);
        let lie = |class: usize| if liars { 3 - class } else { class };
        windows
            .iter_mut()
            .for_each(|(class, _)| *class = lie(*class));
        Sums::of(&summed(&windows, 0))
    };
    let buckets: Vec<Sums> = (0..10).map(|seed| bucket(seed, seed % 5 == 2)).collect();
    let sums = Sums::of(&embedded.statistics().unwrap());
    let sound = buckets::sound(&buckets, &sums, &embedded, None, None);
    let expected: Vec<bool> = (0..10).map(|seed| seed % 5 != 2).collect();
    assert_eq!(sound, expected);
    // Of so few there is no middle: all are kept.
    assert_eq!(
        buckets::sound(&buckets[..3], &sums, &embedded, None, None),
        [true; 3]
    );
}

/// A head that tells two classes apart by one value, and the share that it is right about.
fn known_head(statistics: &Statistics) -> (Linear, f64) {
    let head = Sums::of(statistics).lda().unwrap();
    let right = Sums::of(statistics).expected_accuracy(&head);
    (head, right)
}

#[test]
fn few_windows_expect_on_average_what_is_true() {
    // Classes 8 apart with a spread of 3 in the first value, so that a tenth of the windows is mistaken.
    let draw = |seed: u64, count: usize| {
        let mut rng = Rng::new(seed, 3);
        let mut statistics = Statistics::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
        for index in 0..count {
            let class = index % 2;
            let place = [8.0 * class as f32 + 3.0 * rng.normal(), 40.0 * rng.normal()];
            let bytes = place.map(|x| x.round().clamp(-128.0, 127.0) as i8 as u8);
            statistics.add(class, &bytes, 0).unwrap();
        }
        statistics
    };
    let (head, right) = known_head(&draw(1, 20_000));
    assert!((0.88..0.93).contains(&right), "{right}");
    for count in [2, 4, 6, 12, 40] {
        const DRAWS: u64 = 2_000;
        let each = (0..DRAWS).map(|seed| Sums::of(&draw(10 + seed, count)));
        let mean = each.map(|sums| sums.expected_accuracy(&head)).sum::<f64>() / DRAWS as f64;
        assert!(
            (mean - right).abs() < 0.015,
            "{count} windows: {mean}, {right}"
        );
    }
}

#[test]
fn of_two_classes_the_threshold_decides_what_is_expected_and_what_is_counted() {
    // Classes 8 apart with a spread of 3 in the one value that tells them apart.
    let windows = |seed: u64| {
        let mut rng = Rng::new(seed, 3);
        let window = |index: usize| {
            let class = index % 2;
            (
                class,
                [f64::from(8.0 * class as f32 + 3.0 * rng.normal()), 0.0],
            )
        };
        (0..20_000).map(window).collect::<Vec<_>>()
    };
    let drawn = windows(1);
    let mut sums = Sums::none(2, 2);
    for (class, value) in &drawn {
        sums.counts[*class] += 1.0;
        sums.sums[class * 2] += value[0];
        sums.gram[0] += value[0] * value[0];
    }
    for solver in [Sums::lda, Sums::ridge, Sums::class_means] {
        for (share, of_second) in [(0.05_f64, true), (0.5, false), (0.95, false)] {
            let ahead = (share / (1.0 - share)).ln();
            let head = sums.deciding(solver(&sums).unwrap(), Some(ahead));
            let told = drawn
                .iter()
                .map(|(class, value)| (*class, head.class(value)));
            let counted = linear::Accuracy::of(2, told).unwrap().balanced;
            let expected = sums.expected_accuracy(&head);
            assert!(
                (counted - expected).abs() < 0.01,
                "{share}: {counted} {expected}"
            );
            // In log odds the place from which on the second is given is known: the middle, and so much of σ² / 8 on.
            let edge = 4.0 + 9.0 / 8.0 * ahead;
            assert_eq!(head.class(&[edge + 0.4, 0.0]), 1, "{share}");
            assert_eq!(head.class(&[edge - 0.4, 0.0]), 0, "{share}");
            assert_eq!(head.class(&[3.0, 0.0]) == 1, of_second, "{share}");
        }
    }
}

#[test]
fn the_old_head_and_a_new_one_are_judged_alike() {
    let all = windows(900, 11);
    let parts: Vec<Sums> = all
        .chunks(9)
        .map(|part| Sums::of(&summed(part, 0)))
        .collect();
    let kept: Vec<&Sums> = parts.iter().collect();
    let whole = Sums::of(&summed(&all, 0));
    let apart = folds(&kept, &whole);
    let old = whole.lda().unwrap();
    let before = expected(&apart, |_| Some(old.clone())).unwrap();
    // What the others lead to is nearly the head of all, and cannot be expected to be better.
    let after = expected(&apart, Sums::lda).unwrap();
    assert!((after - before).abs() < EVEN, "{before} {after}");
    // Held against what all windows together expect of the old head, it would seem to be.
    let gained = after - whole.expected_accuracy(&old);
    assert!(gained.abs() > EVEN, "{gained}");
    assert_eq!(expected(&apart, |_| None), None);
    let lone = expected(&folds(&kept[..1], &parts[0]), |_| Some(old.clone()));
    assert_eq!(lone, Some(parts[0].expected_accuracy(&old)));
}

/// What rounding each number of sums to a step may leave, of windows of four classes in six values of which the last two
/// are nearly what the first say.
fn rounded(seed: u64) -> (Sums, Vec<(usize, [u8; 6])>) {
    const STEP: f64 = 4_000.0;
    let leaning = |mut all: Vec<(usize, [u8; 6])>| {
        for (_, row) in &mut all {
            let [a, b, c, d, ..] = row.map(|byte| i16::from(byte as i8));
            row[4] = ((a + b) / 2) as i8 as u8;
            row[5] = ((c + d) / 2) as i8 as u8;
        }
        all
    };
    let mut sums = Sums::of(&summed(&leaning(windows(800, seed)), 0));
    let mut rng = Rng::new(seed, 19);
    for i in 0..6 {
        for j in i..6 {
            let error = STEP * f64::from(rng.normal());
            sums.gram[i * 6 + j] += error;
            sums.gram[j * 6 + i] = sums.gram[i * 6 + j];
        }
    }
    (sums, leaning(windows(4_000, seed + 1)))
}

#[test]
fn a_direction_that_rounding_left_no_variance_is_not_trusted() {
    let mut indefinite = 0;
    for seed in 0..20 {
        let (sums, fresh) = rounded(2 * seed);
        if linalg::cholesky(&sums.within(), 6).is_some() {
            continue;
        }
        indefinite += 1;
        let lone = folds(&[&sums], &sums);
        let head = lone[0].solves.lda().unwrap();
        let right = |(class, row): &&(usize, [u8; 6])| {
            head.class(&row.map(|byte| f64::from(byte as i8))) == *class
        };
        let had = fresh.iter().filter(right).count() as f64 / fresh.len() as f64;
        let expected = expected(&lone, |_| Some(head.clone())).unwrap();
        assert!(expected < had + 0.05, "{seed}: {expected}, {had}");
    }
    assert!(indefinite >= 10, "{indefinite}");
}

#[test]
fn exact_sums_stay_as_they_are() {
    // Of a value that never moves, and of one that is another's double, too.
    let mut all = windows(50, 3);
    for (_, row) in &mut all {
        row[1] = 7;
        row[2] = (2 * i16::from(row[3] as i8)).clamp(-128, 127) as i8 as u8;
    }
    for count in [1, 3, 50] {
        let sums = Sums::of(&summed(&all[..count], 0));
        assert_eq!(sums.clone().definite().gram, sums.gram, "{count}");
    }
    assert_eq!(Sums::none(4, 6).definite().gram, Sums::none(4, 6).gram);
}

/// Windows as a model would embed them.
fn embedded<const D: usize>(class_count: usize, windows: &[(usize, [u8; D])]) -> Embedded {
    Embedded {
        class_count,
        width: D,
        zero_point: 0,
        rows: windows.iter().flat_map(|(_, row)| *row).collect(),
        classes: windows
            .iter()
            .map(|(class, _)| Some(*class as u16))
            .collect(),
    }
}

fn scatter(windows: &Embedded) -> Scatter {
    let sums = Sums::of(&windows.statistics().unwrap());
    Scatter::of(windows, &sums, None).unwrap()
}

/// Two classes in two values, so far apart in the first, which scatters so far; the second is far noisier.
fn two_classes(seed: u64, count: usize, [apart, spread]: [f32; 2]) -> Embedded {
    let mut rng = Rng::new(seed, count as u64);
    let mut window = |index: usize| {
        let class = index % 2;
        let place = [
            apart * class as f32 + spread * rng.normal(),
            60.0 + 30.0 * rng.normal(),
        ];
        (
            class,
            place.map(|x| x.round().clamp(-128.0, 127.0) as i8 as u8),
        )
    };
    let windows: Vec<_> = (0..count).map(&mut window).collect();
    embedded(2, &windows)
}

#[test]
fn moved_windows_expect_on_average_what_is_true() {
    // Classes 8 apart with a spread of 3 in the first value, so that a tenth of the windows is mistaken; at the factory
    // they lay otherwise.
    let world = |seed: u64, count: usize| two_classes(seed, count, [8.0, 3.0]);
    let all = world(1, 20_000);
    let head = Sums::of(&all.statistics().unwrap()).lda().unwrap();
    let right = head.accuracy(&all).unwrap().plain;
    assert!((0.88..0.93).contains(&right), "{right}");
    let factory = scatter(&two_classes(2, 400, [30.0, 6.0]));
    for count in [4, 6, 12, 40] {
        const DRAWS: u64 = 1_000;
        let each = (0..DRAWS).map(|seed| {
            let sums = Sums::of(&world(10 + seed, count).statistics().unwrap());
            factory.moved(&sums.definite()).unwrap().accuracy(&head)
        });
        let mean = each.sum::<f64>() / DRAWS as f64;
        assert!(
            (mean - right).abs() < 0.025,
            "{count} windows: {mean}, {right}"
        );
    }
    // Lone windows of their classes are where they are, and right or wrong.
    let lone = Sums::of(&world(3, 2).statistics().unwrap());
    let expected = factory.moved(&lone);
    assert!(expected.is_none_or(|moved| [0.0, 0.5, 1.0].contains(&moved.accuracy(&head))));
}

#[test]
fn moved_windows_have_the_sums_that_they_were_moved_to() {
    let factory = windows(300, 21);
    let there = Sums::of(&summed(&windows(4_000, 22), 0));
    let mut shifted = there.clone();
    // Of half the spread, elsewhere.
    for class in 0..4 {
        for at in 0..6 {
            shifted.sums[class * 6 + at] += 9.0 * shifted.counts[class];
        }
    }
    for i in 0..6 {
        for j in 0..6 {
            let moved = |class: usize| {
                let (old, new) = (there.mean(class), shifted.mean(class));
                there.counts[class] * (new[i] * new[j] - old[i] * old[j])
            };
            shifted.gram[i * 6 + j] += (0..4).map(moved).sum::<f64>();
        }
    }
    let moved = scatter(&embedded(4, &factory)).moved(&shifted).unwrap();
    for class in 0..4 {
        let own: Vec<&[f64]> = moved
            .rows
            .chunks_exact(6)
            .zip(&moved.labels)
            .filter(|(_, label)| **label == class)
            .map(|(row, _)| row)
            .collect();
        for (at, mean) in shifted.mean(class).iter().enumerate() {
            let found = own.iter().map(|row| row[at]).sum::<f64>() / own.len() as f64;
            assert!((found - mean).abs() < 1e-9, "{class} {at}: {found} {mean}");
        }
    }
    let within = shifted.within();
    let total = moved.labels.len() as f64;
    for i in 0..6 {
        let squares = moved.rows.chunks_exact(6).zip(&moved.labels);
        let squares = squares.map(|(row, class)| (row[i] - shifted.mean(*class)[i]).powi(2));
        let found = squares.sum::<f64>() / total;
        assert!((found / within[i * 7] - 1.0).abs() < 0.02, "{found}");
    }
}

#[test]
fn an_old_head_that_knows_more_than_the_sums_is_kept_in_part_and_one_that_misleads_is_not() {
    // Few windows of a fleet in which nothing has changed: the head of many is better than that of theirs.
    let factory = embedded(4, &windows(2_000, 31));
    let sums = Sums::of(&factory.statistics().unwrap());
    let mut old = sums.lda().unwrap();
    sums.temper(&mut old);
    let chosen = |old: &Linear| {
        let parts: Vec<Sums> = (0..8)
            .map(|seed| Sums::of(&summed(&windows(10, 40 + seed), 0)))
            .collect();
        let kept: Vec<&Sums> = parts.iter().collect();
        let mut whole = Sums::none(4, 6);
        kept.iter().for_each(|part| whole.accumulate(part, 1.0));
        let held_out = judging(&kept, &whole, &scatter(&factory));
        assert_eq!(held_out.len(), FOLDS_MAX);
        let of = |share: f64| {
            moved_accuracy(&held_out, |fleet| Some(fleet.lda()?.blended(old, share))).unwrap()
        };
        [0.0, 0.5, 1.0].map(of)
    };
    let [alone, half, as_much] = chosen(&old);
    assert!(half > alone && as_much > alone, "{alone} {half} {as_much}");
    // Classes that have changed places.
    let mut misleads = old.clone();
    misleads.weights.rotate_left(6);
    misleads.bias.rotate_left(1);
    let [alone, half, as_much] = chosen(&misleads);
    assert!(alone > half && alone > as_much, "{alone} {half} {as_much}");
}
