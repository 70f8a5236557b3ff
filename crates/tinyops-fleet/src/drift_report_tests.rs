//! Reports of made tables, by their values and by their profiles.

use super::*;

/// Numbers that are normal enough, and words; `shift` moves the first column and makes one word commoner.
fn table(seed: u64, rows: usize, shift: f64) -> Table {
    let mut state = seed;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut normal = |mean: f64| (0..12).map(|_| uniform()).sum::<f64>() - 6.0 + mean;
    let moved: Vec<f64> = (0..rows).map(|_| normal(shift)).collect();
    let still: Vec<f64> = (0..rows).map(|_| 3.0 + 0.1 * normal(0.0)).collect();
    let word = |_| match uniform() < 0.5 + shift / 4.0 {
        true => "idle".to_owned(),
        false => "busy".to_owned(),
    };
    let words = (0..rows).map(word).collect();
    Table {
        columns: vec![
            ("moved".to_owned(), Column::Numbers(moved)),
            ("still".to_owned(), Column::Numbers(still)),
            ("state".to_owned(), Column::Words(words)),
        ],
    }
}

fn names(report: &Report) -> Vec<&str> {
    report
        .drifted()
        .map(|column| column.name.as_str())
        .collect()
}

#[test]
fn what_moved_is_named_and_what_did_not_is_not() {
    let reference = table(1, 4000, 0.0);
    let stable = compare(&reference, &table(2, 3000, 0.0), LIMIT).unwrap();
    assert_eq!(names(&stable), [""; 0], "{stable:#?}");
    let moved = compare(&reference, &table(3, 3000, 1.0), LIMIT).unwrap();
    assert_eq!(names(&moved), ["moved", "state"]);
    let order = moved.columns[0].order.unwrap();
    assert!((order.mean_shift - 1.0).abs() < 0.1, "{order:?}");
    assert!((order.wasserstein.unwrap() - 1.0).abs() < 0.1, "{order:?}");
    assert!(
        order.ln_sd.abs() < 0.1 && order.p.unwrap() < 1e-9,
        "{order:?}"
    );
    assert_eq!(moved.columns[2].bins.len(), 2);
}

#[test]
fn a_large_index_of_few_values_is_chance() {
    let report = compare(&table(1, 4000, 0.0), &table(2, 15, 0.0), LIMIT).unwrap();
    let most = report
        .columns
        .iter()
        .map(|column| column.psi)
        .fold(0.0, f64::max);
    assert!(most > LIMIT, "15 values are far off by chance: {most}");
    assert_eq!(names(&report), [""; 0]);
}

#[test]
fn profiles_say_the_same_and_add_up() {
    let reference = Profile::of(&table(1, 4000, 0.0), None).unwrap();
    let parts: Vec<Table> = (0..5).map(|day| table(10 + day, 600, 1.0)).collect();
    let mut merged = Profile::of(&parts[0], Some(&reference)).unwrap();
    for part in &parts[1..] {
        merged
            .merge(&Profile::of(part, Some(&reference)).unwrap())
            .unwrap();
    }
    let mut whole = parts[0].clone();
    for part in &parts[1..] {
        whole.append(part).unwrap();
    }
    let (by_parts, by_values) = (
        reference.compare(&merged, LIMIT).unwrap(),
        compare(&table(1, 4000, 0.0), &whole, LIMIT).unwrap(),
    );
    let at_once = Profile::of(&whole, Some(&reference)).unwrap();
    let at_once = reference.compare(&at_once, LIMIT).unwrap();
    assert_eq!(names(&by_parts), names(&by_values));
    for by_values in &by_values.columns {
        let find = |report: &Report| {
            let found = report
                .columns
                .iter()
                .find(|column| column.name == by_values.name);
            found.unwrap().clone()
        };
        let (parts, once) = (find(&by_parts), find(&at_once));
        assert_eq!(parts.psi, once.psi, "{}", parts.name);
        assert!(
            (parts.psi - by_values.psi).abs() < 0.02,
            "{parts:?} {by_values:?}"
        );
        if let (Some(parts), Some(values)) = (parts.order, by_values.order) {
            let (own, exact) = (parts.kolmogorov_smirnov, values.kolmogorov_smirnov);
            assert!(own <= exact + 1e-12 && exact - own < 1.0 / PROFILE_BINS as f64);
            assert!((parts.mean_shift - values.mean_shift).abs() < 1e-9);
            assert!((parts.ln_sd - values.ln_sd).abs() < 1e-9);
        }
    }
}

#[test]
fn a_profile_is_small_and_survives_its_text() {
    let columns = (0..30).map(|index| {
        let (_, column) = table(index, 2000, 0.0).columns.swap_remove(0);
        (format!("column {index}"), column)
    });
    let table = Table {
        columns: columns.collect(),
    };
    let profile = Profile::of(&table, None).unwrap();
    let text = serde_json::to_string(&profile).unwrap();
    assert!(text.len() <= 64 * 1024, "{}", text.len());
    let read: Profile = serde_json::from_str(&text).unwrap();
    assert!(read.is_sound());
    // Edges and counts are the very same; sums may lose their last digit in the text.
    for column in profile.compare(&read, LIMIT).unwrap().columns {
        let order = column.order.unwrap();
        assert_eq!((column.psi, order.kolmogorov_smirnov), (0.0, 0.0));
        assert!(order.mean_shift.abs() < 1e-12 && order.ln_sd.abs() < 1e-12);
    }
    let wrong = text.replacen("\"counts\":[", "\"counts\":[1,", 1);
    let wrong: Profile = serde_json::from_str(&wrong).unwrap();
    assert!(!wrong.is_sound());
    assert!(serde_json::from_str::<Profile>("{\"tinyops_profile\":1,\"colums\":{}}").is_err());
}

#[test]
fn many_words_are_kept_as_the_commonest_and_others() {
    let cells = (0..1000).flat_map(|index| vec![format!("w{}", index % 200); 1 + index % 3]);
    let words = |cells: Vec<String>| Table {
        columns: vec![("w".to_owned(), Column::Words(cells))],
    };
    let cells: Vec<String> = cells.chain([String::new()]).collect();
    let reference = Profile::of(&words(cells.clone()), None).unwrap();
    let again = Profile::of(&words(cells), Some(&reference)).unwrap();
    let report = reference.compare(&again, LIMIT).unwrap();
    assert_eq!(report.columns[0].psi, 0.0);
    assert_eq!(report.columns[0].sides[0].missing, 1);
    assert!(report.columns[0].bins.iter().any(|bin| bin.name == OTHERS));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let of = |name: &str, column: Column| Table {
        columns: vec![(name.to_owned(), column)],
    };
    let (numbers, words) = (
        Column::Numbers(vec![1.0, f64::NAN]),
        Column::Words(vec!["a".to_owned()]),
    );
    let (a, b) = (of("x", numbers.clone()), of("x", words));
    assert_eq!(
        compare(&a, &b, LIMIT),
        Err(DriftError::Kind("x".to_owned()))
    );
    let other = of("y", numbers);
    assert_eq!(a.clone().append(&other), Err(DriftError::Columns));
    assert_eq!(a.clone().append(&b), Err(DriftError::Kind("x".to_owned())));
    assert_eq!(compare(&a, &other, LIMIT), Err(DriftError::NothingInCommon));
    let (one, two) = (
        Profile::of(&a, None).unwrap(),
        Profile::of(&table(1, 50, 0.0), None).unwrap(),
    );
    assert_eq!(one.compare(&two, LIMIT), Err(DriftError::NothingInCommon));
    let mut far = Profile::of(&table(9, 50, 3.0), None).unwrap();
    let before = far.clone();
    let edges = Err(DriftError::Edges("moved".to_owned()));
    assert_eq!(far.merge(&two), edges);
    assert_eq!(far, before);
    // A side without a value says nothing, and does not panic.
    let empty = of("x", Column::Numbers(vec![f64::NAN; 3]));
    let report = compare(&empty, &a, LIMIT).unwrap();
    assert!(!report.columns[0].drifted && report.columns[0].sides[0].missing == 3);
    assert!(report.columns[0].order.is_none());
}
