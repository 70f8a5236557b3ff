//! How often the tests are wrong, and how soon they are right, by simulation.

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        normal_quantile(self.uniform())
    }
}

/// Where a sequence of failures halts.
fn halts_at(random: &mut Random, share: f64, reference: f64, alpha: f64) -> Option<usize> {
    let mut failed = Vec::new();
    for count in 1..=1_000 {
        failed.push(random.uniform() < share);
        // Only a failure raises the evidence.
        if failed[count - 1]
            && share_evidence(failed.iter().copied(), reference, 1.0 / alpha) >= 1.0
        {
            return Some(count);
        }
    }
    None
}

#[test]
fn a_good_release_is_rarely_halted_and_a_bad_one_soon() {
    let mut random = Random(1);
    let alpha = 0.01;
    let runs = 2_000;
    let good = (0..runs)
        .filter(|_| halts_at(&mut random, 0.01, 0.01, alpha).is_some())
        .count();
    // The bound is exact, so the count is that of a rare event of chance 1 % at most; three deviations above.
    assert!(good <= 33, "{good} of {runs} good releases were halted");
    assert!(good >= 2, "{good}: the evidence is far below what α allows");
    let bad: Vec<usize> = (0..500)
        .filter_map(|_| halts_at(&mut random, 0.05, 0.01, alpha))
        .collect();
    let mean = bad.iter().sum::<usize>() as f64 / bad.len() as f64;
    assert!(
        bad.len() >= 499 && mean < 135.0,
        "{} halted after {mean}",
        bad.len()
    );
}

#[test]
fn failures_that_are_told_first_prove_no_more_than_they_should() {
    // Forty devices of which two fail, and those two answer first: read among two, or among forty?
    let early = share_evidence([true, true].into_iter(), 0.01, 100.0);
    let among =
        |failed: [usize; 2]| share_evidence((0..40).map(move |i| failed.contains(&i)), 0.01, 100.0);
    assert!(among([3, 30]) < early);
    // One that turns from well to failed always adds.
    for other in 0..40 {
        if other != 7 {
            let one = share_evidence((0..40).map(|i| i == 7), 0.01, 100.0);
            assert!(among([7, other]) >= one, "{other}");
        }
    }
}

#[test]
fn bets_on_ranks_are_fair() {
    for count in [1, 2, 7, 64, POOL] {
        for tilt in [-2.0, -0.25, 0.1, 1.0] {
            let sum: f64 = (0..count)
                .map(|rank| ln_bet(normal_score(rank, count), count, tilt).exp())
                .sum();
            assert!((sum / count as f64 - 1.0).abs() < 1e-9, "{count} {tilt}");
        }
    }
}

/// After how many devices an arm a shift is found, if it is.
fn found_after(random: &mut Random, shift: f64, alpha: f64, per_arm: usize) -> Option<usize> {
    let mut values = Vec::new();
    for count in 1..=per_arm {
        for is_candidate in [true, false] {
            values.push(Value {
                stratum: (count % 2) as u32,
                is_candidate,
                value: random.normal() + if is_candidate { shift } else { 0.0 },
                tie: 0,
            });
        }
        if count % 5 == 0 && rank_evidence(&values, Worse::Lower) >= 1.0 / alpha {
            return Some(count);
        }
    }
    None
}

#[test]
fn a_shift_of_half_a_deviation_is_found_within_a_hundred_devices_an_arm() {
    let mut random = Random(2);
    let found: Vec<usize> = (0..300)
        .filter_map(|_| found_after(&mut random, -0.5, 0.01, 400))
        .collect();
    let mean = found.iter().sum::<usize>() as f64 / found.len() as f64;
    assert!(found.len() >= 295, "{} of 300", found.len());
    assert!(mean <= 100.0, "found after {mean} devices an arm");
    let false_halts = (0..500)
        .filter(|_| found_after(&mut random, 0.0, 0.01, 200).is_some())
        .count();
    assert!(false_halts <= 12, "{false_halts} of 500 at α = 1 %");
    let better = (0..200).filter(|_| found_after(&mut random, 0.5, 0.01, 100).is_some());
    assert_eq!(better.count(), 0, "a better model was halted");
}

#[test]
fn an_event_that_both_arms_show_halts_nothing() {
    let mut random = Random(3);
    let mut run = |candidate: f64, control: f64| {
        let mut blocks = Vec::new();
        for count in 1..=300 {
            let mut tally = |share: f64, trials: u32| Tally {
                events: (0..trials).filter(|_| random.uniform() < share).count() as f64,
                trials: f64::from(trials),
            };
            blocks.push(Block {
                candidate: tally(candidate, 1),
                control: tally(control, 4),
            });
            if count % 5 == 0 && blocks_evidence(&blocks, (0.02, 20.0)) >= 100.0 {
                return Some(count);
            }
        }
        None
    };
    // Where a tenth of the fleet is always silent, silence says nothing of the candidate.
    let alike = (0..400).filter(|_| run(0.1, 0.1).is_some()).count();
    assert!(alike <= 10, "{alike} of 400 at α = 1 %");
    let worse: Vec<usize> = (0..100).filter_map(|_| run(0.2, 0.02)).collect();
    let mean = worse.iter().sum::<usize>() as f64 / worse.len() as f64;
    assert!(
        worse.len() == 100 && mean < 60.0,
        "{} after {mean}",
        worse.len()
    );
}

#[test]
fn a_difference_is_held_at_every_look_and_leaves_no_difference_out_where_evidence_is_strong() {
    let mut random = Random(6);
    let mut missed = 0;
    for _ in 0..400 {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        let mut is_in = true;
        for count in 1..=200 {
            let mut draw = |tally: &mut Tally, share: f64| {
                tally.trials += 1.0;
                tally.events += f64::from(u8::from(random.uniform() < share));
            };
            draw(&mut a, 0.15);
            draw(&mut b, 0.05);
            draw(&mut b, 0.05);
            if count % 5 == 0 {
                let (low, high) = difference_interval(a, b, 0.05);
                is_in &= low <= 0.1 && 0.1 <= high;
            }
        }
        missed += u32::from(!is_in);
    }
    assert!(missed <= 32, "{missed} of 400 at 5 %");
    let tally = |events: f64, trials: f64| Tally { events, trials };
    let (low, high) = difference_interval(tally(7.0, 8.0), tally(0.0, 20.0), 0.01);
    assert!(low > 0.15 && high < 1.0, "{low} {high}");
    let mirrored = difference_interval(tally(0.0, 20.0), tally(7.0, 8.0), 0.01);
    assert!((mirrored.0 + high).abs() < 1e-5 && (mirrored.1 + low).abs() < 1e-5);
    // What weighs as a part of a window, and arms that say nothing.
    let (low, high) = difference_interval(tally(0.6, 0.9), tally(0.0, 3.4), 0.01);
    assert!(low < 0.0 && high > 0.6, "{low} {high}");
    assert_eq!(
        difference_interval(tally(0.0, 0.0), tally(1.0, 2.0), 0.01),
        (-1.0, 1.0)
    );
}

#[test]
fn intervals_hold_the_truth_at_every_look() {
    let mut random = Random(4);
    let (mut missed_share, mut missed_mean) = (0, 0);
    for _ in 0..300 {
        let (mut events, mut values) = (0, Vec::new());
        let (mut share_is_in, mut mean_is_in) = (true, true);
        for count in 1..=300 {
            events += u32::from(random.uniform() < 0.03);
            for is_candidate in [true, false] {
                values.push(Value {
                    stratum: 0,
                    is_candidate,
                    value: random.uniform() + if is_candidate { 0.2 } else { 0.0 },
                    tie: 0,
                });
            }
            if count % 10 == 0 {
                let (low, high) = share_interval(events, count, 0.05);
                share_is_in &= low <= 0.03 && 0.03 <= high;
                let (_, (low, high)) = mean_difference(&values, 0.05).unwrap();
                mean_is_in &= low <= 0.2 && 0.2 <= high;
            }
        }
        missed_share += u32::from(!share_is_in);
        missed_mean += u32::from(!mean_is_in);
    }
    assert!(
        missed_share <= 26 && missed_mean <= 26,
        "{missed_share} {missed_mean} of 300 at 5 %"
    );
    let (low, high) = share_interval(5, 100, 0.01);
    assert!(
        low > 0.004 && low < 0.03 && high > 0.08 && high < 0.2,
        "{low} {high}"
    );
}

/// Where paired values of −1 or 1, which are 1 with this chance, halt.
fn paired_halts_at(random: &mut Random, chance: f64, alpha: f64) -> Option<usize> {
    let mut values = Vec::new();
    for count in 1..=200 {
        values.push(match random.uniform() < chance {
            true => 1.0,
            false => -1.0,
        });
        if paired_evidence(values.iter().copied()) >= 1.0 / alpha {
            return Some(count);
        }
    }
    None
}

#[test]
fn pairs_that_go_either_way_prove_nothing_and_those_that_go_one_way_do() {
    let (mut random, alpha, runs) = (Random(11), 0.01, 2_000);
    let mut halted = |chance: f64| -> Vec<usize> {
        let halts = (0..runs).filter_map(|_| paired_halts_at(&mut random, chance, alpha));
        halts.collect()
    };
    let even = halted(0.5).len();
    assert!(even <= 33, "{even} of {runs}");
    assert!(even >= 2, "{even}: the evidence is far below what α allows");
    assert_eq!(halted(0.7).len(), 0, "it is better");
    let bad = halted(0.1);
    let mean = bad.iter().sum::<usize>() as f64 / bad.len() as f64;
    assert!(
        bad.len() == runs && mean < 17.0,
        "{} after {mean}",
        bad.len()
    );
    // As soon as all of them go one way.
    let first =
        (1..20).find(|count| paired_evidence(std::iter::repeat_n(-1.0, *count)) >= 1.0 / alpha);
    assert_eq!(first, Some(9));
    // What is no number, and what is beyond the ends, costs no validity.
    let odd = [f64::NAN, -7.0, 7.0];
    assert!(paired_evidence(odd.into_iter()) < 1.0);
}

#[test]
fn an_interval_of_pairs_holds_their_mean_at_every_look() {
    let (mut random, runs) = (Random(12), 400);
    let mut missed = 0;
    for _ in 0..runs {
        let mut values = Vec::new();
        let mut is_missed = false;
        for _ in 0..150 {
            values.push(0.1 * random.normal() - 0.05);
            if values.len() >= 10
                && let Some((_, (low, high))) = mean_interval(&values, 0.05)
            {
                is_missed |= low > -0.05 || high < -0.05;
            }
        }
        missed += usize::from(is_missed);
        let (_, (low, high)) = mean_interval(&values, 0.05).unwrap();
        assert!(high - low < 0.08, "{low} to {high}");
    }
    assert!(missed <= 28, "{missed} of {runs} at 5 %");
    assert_eq!(mean_interval(&[1.0], 0.05), None);
}
