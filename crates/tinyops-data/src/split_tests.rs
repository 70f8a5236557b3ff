use proptest::prelude::*;

use super::*;
use crate::finding::Severity;
use crate::sample::Label;
use crate::sample::{Channel, Origin};

/// A sample of one reading, which is its index.
fn sample(index: usize, file: &str, group: &str, class: &str, role: Option<Role>) -> Sample {
    Sample {
        name: format!("{file}#{index}"),
        rate_hz: 1.0,
        channels: vec![Channel {
            name: "x".into(),
            unit: "g".into(),
        }],
        readings: vec![index as f32],
        image: None,
        label: match class {
            "" => Label::None,
            class => Label::Class(class.into()),
        },
        group: group.into(),
        role,
        origin: Origin {
            file: file.into(),
            ..Origin::default()
        },
        metadata: BTreeMap::new(),
    }
}

fn dataset(samples: Vec<Sample>) -> Dataset {
    let classes: BTreeSet<String> = samples
        .iter()
        .flat_map(|sample| sample.label.classes().map(str::to_owned))
        .collect();
    Dataset {
        samples,
        classes: classes.into_iter().collect(),
    }
}

fn spec(by: SplitBy, validation: f32, test: Option<f32>) -> SplitSpec {
    SplitSpec {
        by,
        validation,
        test,
        ..SplitSpec::default()
    }
}

fn codes(report: &Report) -> Vec<(Severity, Code)> {
    let codes = report.findings.iter();
    codes
        .map(|finding| (finding.severity, finding.code))
        .collect()
}

/// Bearings under several loads, as in `cwru-12k-de`.
fn bearings() -> Dataset {
    let mut samples = Vec::new();
    for load in 0..4 {
        for (fault, class) in [("IR007", "inner"), ("B007", "ball"), ("OR007@6", "outer")] {
            let file = format!("{fault}_{load}_{}.mat", 100 + samples.len());
            samples.push(sample(
                samples.len(),
                &file,
                &format!("load {load}"),
                class,
                None,
            ));
        }
    }
    dataset(samples)
}

#[test]
fn takes_of_every_machine_are_no_family() {
    let mut samples = Vec::new();
    for machine in ["m1", "m2", "m3"] {
        for class in ["normal", "worn"] {
            for take in 1..3 {
                let file = format!("{machine}/{class}/take-{take}.csv");
                samples.push(sample(samples.len(), &file, machine, class, None));
            }
        }
    }
    let mut report = Report::new();
    let spec = SplitSpec {
        hold_out: vec!["m3".into()],
        ..spec(SplitBy::Group, 0.25, None)
    };
    split(&dataset(samples), &spec, &mut report);
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn a_split_without_a_test_is_an_error() {
    let samples = (0..4).map(|i| sample(i, &format!("{i}"), "fan", ["on", "off"][i % 2], None));
    let mut report = Report::new();
    split(
        &dataset(samples.collect()),
        &spec(SplitBy::Group, 0.0, Some(0.25)),
        &mut report,
    );
    assert_eq!(codes(&report), [(Severity::Error, Code::EmptyPart)]);
}

#[test]
fn a_held_out_load_shows_the_same_bearing_on_both_sides() {
    let mut report = Report::new();
    let spec = SplitSpec {
        hold_out: vec!["load 3".into()],
        ..spec(SplitBy::Group, 0.25, None)
    };
    let split = split(&bearings(), &spec, &mut report);
    assert_eq!(split.test, [9, 10, 11]);
    assert_eq!((split.train.len(), split.validation.len()), (6, 3));
    assert_eq!(codes(&report), [(Severity::Warning, Code::LeakFamily)]);
    insta::assert_snapshot!(report, @r#"
    warning[leak-family]: 3 families of files stand on both sides of the split; by the names, each is of one object or session: B007, IR007, OR007@6 (such as `B007_0_101.mat` and `B007_3_110.mat`)
      hint: a score on another take of the same object says little about a new one: name the object as `group`, such as `group = "{fault}{diameter}"`, or accept `leak-family`
    0 errors, 1 warnings, 0 notes
    "#);
}

#[test]
fn every_group_is_left_out_once() {
    let mut report = Report::new();
    let folds = leave_one_out(&bearings(), &spec(SplitBy::Group, 0.25, None), &mut report);
    let tests: Vec<(&str, &[usize])> = folds
        .iter()
        .map(|(group, split)| (group.as_str(), split.test.as_slice()))
        .collect();
    assert_eq!(
        tests,
        [
            ("load 0", &[0, 1, 2][..]),
            ("load 1", &[3, 4, 5]),
            ("load 2", &[6, 7, 8]),
            ("load 3", &[9, 10, 11])
        ]
    );
}

#[test]
fn in_time_the_first_train_and_the_last_test() {
    let mut samples = Vec::new();
    for folder in ["off", "on"] {
        for take in 0..12 {
            let file = format!("{folder}/{take}.csv");
            samples.push(sample(samples.len(), &file, &file, folder, None));
        }
    }
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    let data = dataset(samples);
    let mut report = Report::new();
    let split = split(&data, &spec(SplitBy::Time, 0.25, Some(0.25)), &mut report);
    let files = |part: &[usize]| {
        let mut files: Vec<&str> = part
            .iter()
            .map(|&index| data.samples[index].origin.file.as_str())
            .collect();
        files.sort_by(|a, b| natural::compare(a, b));
        files.join(" ")
    };
    assert_eq!(
        files(&split.test),
        "off/9.csv off/10.csv off/11.csv on/9.csv on/10.csv on/11.csv"
    );
    assert_eq!(
        files(&split.validation),
        "off/6.csv off/7.csv off/8.csv on/6.csv on/7.csv on/8.csv"
    );
    assert_eq!(codes(&report), [(Severity::Warning, Code::LeakFamily)]);
}

#[test]
fn every_fourth_tests() {
    let samples = (0..8).map(|i| sample(i, &format!("{i}"), &i.to_string(), "", None));
    let data = dataset(samples.collect());
    let split = split(&data, &spec(SplitBy::Every, 0.5, None), &mut Report::new());
    assert_eq!(split.test, [3, 7]);
    assert_eq!(split.validation, [1, 4, 6]);
}

#[test]
fn fixed_roles_stay() {
    let roles = [
        Some(Role::Test),
        Some(Role::Train),
        Some(Role::Validation),
        Some(Role::Test),
    ];
    let samples = roles
        .iter()
        .enumerate()
        .map(|(i, role)| sample(i, &format!("{i}"), "one", "", *role));
    let data = dataset(samples.collect());
    for by in [SplitBy::Group, SplitBy::Time, SplitBy::Every] {
        let mut report = Report::new();
        let split = split(&data, &spec(by, 0.0, None), &mut report);
        assert_eq!(
            (&split.train[..], &split.validation[..], &split.test[..]),
            (&[1][..], &[2][..], &[0, 3][..])
        );
        assert_eq!(codes(&report), [(Severity::Warning, Code::LeakGroup)]);
    }
}

#[test]
fn leaks_are_named() {
    let mut twin = sample(3, "b.csv", "b", "", Some(Role::Test));
    twin.readings = vec![0.0];
    let mut head = sample(1, "c.csv", "c", "", Some(Role::Train));
    head.origin.cut = Some(0..1);
    let mut rest = sample(2, "c.csv", "c", "", Some(Role::Test));
    rest.origin.cut = Some(1..2);
    let data = dataset(vec![
        sample(0, "a.csv", "a", "", Some(Role::Train)),
        twin,
        head,
        rest,
    ]);
    let mut report = Report::new();
    split(&data, &spec(SplitBy::Group, 0.0, None), &mut report);
    insta::assert_snapshot!(report, @r#"
    warning[leak-recording]: pieces of 1 recording stand on both sides of the split: c.csv
      hint: neighbours in time look alike, so the test is easier than new data; test on another recording
    warning[leak-duplicate]: b.csv: holds the same readings as `a.csv#0` in training
      hint: leave one of the two out
    0 errors, 2 warnings, 0 notes
    "#);
}

#[test]
fn what_a_spec_gets_wrong_is_said() {
    let mut report = Report::new();
    let spec = SplitSpec {
        hold_out: vec!["load 9".into()],
        ..spec(SplitBy::Group, 0.6, Some(0.6))
    };
    split(&bearings(), &spec, &mut report);
    insta::assert_snapshot!(report, @r#"
    error[setting]: split shares validation 0.6 and test 0.6 leave nothing to train
      hint: both are between 0 and 1, and so is their sum
    error[setting]: held-out group `load 9` is not in the data
      hint: groups are: load 0, load 1, load 2, load 3
    warning[leak-family]: 3 families of files stand on both sides of the split; by the names, each is of one object or session: B007, IR007, OR007@6 (such as `B007_2_107.mat` and `B007_0_101.mat`)
      hint: a score on another take of the same object says little about a new one: name the object as `group`, such as `group = "{fault}{diameter}"`, or accept `leak-family`
    2 errors, 1 warnings, 0 notes
    "#);
}

fn groups_and_classes() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0u8..12, 0u8..3), 0..40)
}

fn grouped(pairs: &[(u8, u8)]) -> Dataset {
    let samples = pairs.iter().enumerate().map(|(i, (group, class))| {
        sample(
            i,
            &format!("{i:03}"),
            &format!("g{group}"),
            &format!("c{class}"),
            None,
        )
    });
    dataset(samples.collect())
}

proptest! {
    #[test]
    fn each_sample_has_one_part_and_no_group_two(pairs in groups_and_classes(), seed: u64) {
        let data = grouped(&pairs);
        let spec = SplitSpec { seed, ..spec(SplitBy::Group, 0.3, Some(0.3)) };
        let mut report = Report::new();
        let split = split(&data, &spec, &mut report);
        let mut all: Vec<usize> = [&split.train, &split.validation, &split.test].into_iter().flatten().copied().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..data.samples.len()).collect::<Vec<_>>());
        let of = |part: &[usize]| part.iter().map(|&i| data.samples[i].group.clone()).collect::<BTreeSet<_>>();
        prop_assert!(of(&split.train).is_disjoint(&of(&split.test)));
        prop_assert!(of(&split.train).is_disjoint(&of(&split.validation)));
        prop_assert!(of(&split.validation).is_disjoint(&of(&split.test)));
        prop_assert_eq!(report.of(Code::LeakGroup).count(), 0);
        // What is tested can be learned.
        prop_assert!(report.of(Code::MissingClass).all(|finding| !finding.message.contains("not in training")));
    }

    #[test]
    fn added_groups_move_no_other(count in 20usize..40, seed: u64) {
        // With one class in every group and enough groups, only the hash decides.
        let data = |count: usize| {
            let samples = (0..count).map(|i| sample(i, &format!("{i:03}"), &format!("g{i}"), "c", None));
            dataset(samples.collect())
        };
        let spec = SplitSpec { seed, ..spec(SplitBy::Group, 0.25, Some(0.25)) };
        let before = split(&data(count), &spec, &mut Report::new());
        let after = split(&data(count + 5), &spec, &mut Report::new());
        let moved = |before: &[usize], after: &[usize]| before.iter().filter(|i| !after.contains(i)).count();
        // A part that only the nearest group filled may lose it.
        prop_assert!(moved(&before.train, &after.train) == 0);
        prop_assert!(moved(&before.test, &after.test) <= 1);
        prop_assert!(moved(&before.validation, &after.validation) <= 1);
    }
}
