use super::*;

/// The generator of Steele, Lea and Flood, 2014.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Where a detector says drift.
fn drifts(detector: &mut dyn Detector, values: impl Iterator<Item = f64>) -> Vec<usize> {
    let said = values.map(|value| detector.update(value)).enumerate();
    let drifts = said.filter(|(_, verdict)| *verdict == Verdict::Drift);
    drifts.map(|(index, _)| index).collect()
}

#[test]
fn a_shift_of_two_deviations_is_found_and_a_stable_stream_is_left_alone() {
    let mut detectors: [(&str, Box<dyn Detector>, usize); 3] = [
        ("ADWIN", Box::new(Adwin::<24>::new(0.002, 32)), 100),
        (
            "Page–Hinkley",
            Box::new(PageHinkley::new(100.0, Sides::Up)),
            100,
        ),
        (
            "KSWIN",
            Box::new(Kswin::<100>::new(1e-5, 100, 30, 7).unwrap()),
            100,
        ),
    ];
    for (name, detector, within) in &mut detectors {
        let mut random = Random(11);
        let values = (0..3000).map(|index| random.normal() + if index < 2000 { 0.0 } else { 2.0 });
        let found = drifts(&mut **detector, values);
        assert!(
            found
                .first()
                .is_some_and(|first| (2000..2000 + *within).contains(first)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn more_errors_are_found_and_as_many_as_ever_are_not() {
    let mut detectors: [(&str, Box<dyn Detector>); 3] = [
        ("DDM", Box::new(Ddm::new())),
        ("HDDM_A", Box::new(HddmA::new())),
        ("HDDM_W", Box::new(HddmW::new())),
    ];
    for (name, detector) in &mut detectors {
        let mut random = Random(5);
        let errors = (0..2000).map(|index| {
            let share = if index < 1500 { 0.1 } else { 0.6 };
            f64::from(u8::from(random.uniform() < share))
        });
        let found = drifts(&mut **detector, errors);
        let after = found.iter().find(|index| **index >= 1500);
        assert!(
            after.is_some_and(|first| *first < 1600),
            "{name}: {found:?}"
        );
    }
    // Fed right predictions, the sliding window finds that there are fewer.
    let mut random = Random(5);
    let right = (0..2000).map(|index| {
        let share = if index < 1500 { 0.9 } else { 0.4 };
        f64::from(u8::from(random.uniform() < share))
    });
    let found = drifts(&mut Fhddm::<100>::new(100, 1e-6).unwrap(), right);
    assert!(
        found
            .first()
            .is_some_and(|first| (1500..1600).contains(first)),
        "{found:?}"
    );
}

#[test]
fn what_is_no_number_is_passed_over_and_nothing_ends_a_detector() {
    let mut detectors: [Box<dyn Detector>; 8] = [
        Box::new(Adwin::<4>::new(0.05, 1)),
        Box::new(PageHinkley::new(5.0, Sides::Both)),
        Box::new(Kswin::<16>::new(0.01, 16, 8, 3).unwrap()),
        Box::new(Ddm::new()),
        Box::new(Eddm::new()),
        Box::new(HddmA::new()),
        Box::new(HddmW::new()),
        Box::new(Fhddm::<8>::new(8, 0.01).unwrap()),
    ];
    let odd = [
        f64::NAN,
        f64::INFINITY,
        -0.0,
        0.0,
        1.0,
        1e300,
        -1e300,
        f64::MIN_POSITIVE,
        0.5,
    ];
    let mut random = Random(2);
    for detector in &mut detectors {
        for _ in 0..20_000 {
            let value = odd[(random.uniform() * odd.len() as f64) as usize];
            detector.update(value);
        }
        assert_eq!(detector.update(f64::NAN), Verdict::Stable);
    }
}

#[test]
fn a_short_window_loses_its_oldest_values_and_no_others() {
    let mut adwin = Adwin::<3>::new(1e-9, 32);
    for value in 0..1000 {
        adwin.update(f64::from(value % 2));
    }
    // Three rows of at most five buckets: 5 + 10 + 20 values.
    assert!((20..=35).contains(&adwin.width()), "{}", adwin.width());
    assert!((adwin.mean() - 0.5).abs() < 0.1);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    assert!(Fhddm::<8>::new(0, 0.01).is_none() && Fhddm::<8>::new(9, 0.01).is_none());
    let kswin = |window, recent| Kswin::<100>::new(0.005, window, recent, 0).is_some();
    assert!(kswin(100, 30) && kswin(60, 30));
    assert!(!kswin(101, 30) && !kswin(59, 30) && !kswin(100, 0));
}

#[test]
fn chances_of_the_smirnov_statistic_are_those_of_counted_paths() {
    // Of the 20 paths through a 3 by 3 lattice, 2 go along the edge; of the 6 through a 2 by 2 one, 4 leave the middle.
    assert!((smirnov_p(3, 3) - 2.0 / 20.0).abs() < 1e-15);
    assert!((smirnov_p(2, 2) - 2.0 / 6.0).abs() < 1e-15);
    assert_eq!((smirnov_p(2, 1), smirnov_p(30, 0)), (1.0, 1.0));
}
