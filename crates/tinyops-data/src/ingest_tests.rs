use super::*;
use crate::sample::Label;
use crate::spec::Missing;

/// A source with these patterns.
fn source(files: &[&str], exclude: &[&str]) -> SourceSpec {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    SourceSpec {
        files: texts(files),
        exclude: texts(exclude),
        rate_hz: Some(10.0),
        ..SourceSpec::default()
    }
}

/// Reads files that lie in memory.
fn read(spec: &DataSpec, files: &[(&str, &str)]) -> (Dataset, Report) {
    let listing = Listing {
        files: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
    };
    let listings = vec![listing; spec.source.len()];
    let mut read = |_: usize, path: &str| {
        let file = files.iter().find(|(known, _)| *known == path);
        file.map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let mut report = Report::new();
    let dataset = ingest(spec, &listings, &mut read, &mut report);
    (dataset, report)
}

fn one_source(source: SourceSpec) -> DataSpec {
    DataSpec {
        source: vec![source],
        ..DataSpec::default()
    }
}

#[test]
fn files_match_once_and_in_natural_order() {
    let files = [
        "a/10.csv",
        "a/9.csv",
        "b/1.csv",
        "b/old/1.csv",
        "c.csv",
        "x_acc.txt",
        "y_acc.txt",
        "x_gyro.txt",
    ];
    let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
    let mut report = Report::new();
    let jobs = |source: &SourceSpec, report: &mut Report| {
        let jobs = matching(0, source, &files, report);
        let names = jobs
            .into_iter()
            .map(|job| format!("{} {:?}", job.name, job.files.len()));
        names.collect::<Vec<_>>()
    };
    let folders = source(&["{label}/{take}.csv", "*/*.csv"], &["b/**/*"]);
    assert_eq!(jobs(&folders, &mut report), ["a/9.csv 1", "a/10.csv 1"]);
    // The second pattern is left with nothing.
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::NoFile]);

    let joined = source(&["{channel}_{sensor}.txt"], &[]);
    assert_eq!(jobs(&joined, &mut report), ["*_acc.txt 2", "*_gyro.txt 1"]);
    let two = SourceSpec {
        files_max: Some(2),
        ..source(&["**/*.csv"], &[])
    };
    assert_eq!(jobs(&two, &mut report), ["a/9.csv 1", "a/10.csv 1"]);
}

#[test]
fn labels_and_groups_come_from_paths_or_files() {
    let spec = one_source(SourceSpec {
        group: Some("person {who}".into()),
        label_file: Some("labels.csv".into()),
        ..source(&["{who}/*.txt"], &[])
    });
    let files = [
        ("ann/1.txt", "1\n2\n"),
        ("bob/1.txt", "3\n4\n"),
        ("bob/2.txt", "5\n6\n"),
        ("labels.csv", "ann/1.txt,walk\nbob/1.txt,run\n"),
    ];
    let (dataset, report) = read(&spec, &files);
    let samples: Vec<_> = dataset
        .samples
        .iter()
        .map(|sample| {
            (
                sample.name.as_str(),
                sample.group.as_str(),
                sample.label.classes().next(),
            )
        })
        .collect();
    assert_eq!(
        samples,
        [
            ("ann/1.txt", "person ann", Some("walk")),
            ("bob/1.txt", "person bob", Some("run")),
            ("bob/2.txt", "person bob", None)
        ]
    );
    insta::assert_snapshot!(report, @r"
    warning[missing-label]: bob/2.txt, row 1: the sample has no label
      hint: label it, or leave it out with `exclude`
    0 errors, 1 warnings, 0 notes
    ");
}

#[test]
fn joined_files_must_all_be_there() {
    let spec = one_source(SourceSpec {
        channels: vec!["x".into(), "y".into()],
        ..source(&["{channel}_{set}.txt"], &[])
    });
    let (dataset, report) = read(
        &spec,
        &[
            ("y_a.txt", "1 2\n"),
            ("x_a.txt", "3 4\n"),
            ("x_b.txt", "5 6\n"),
        ],
    );
    assert_eq!(dataset.samples.len(), 1);
    assert_eq!(dataset.samples[0].readings, [3.0, 1.0, 4.0, 2.0]);
    assert_eq!(report.of(Code::MissingColumn).count(), 1);

    let (dataset, report) = read(&spec, &[("y_a.txt", "1 2\n3 4\n"), ("x_a.txt", "3 4\n")]);
    assert_eq!(
        (dataset.samples.len(), report.of(Code::Truncated).count()),
        (1, 1)
    );
}

#[test]
fn missing_readings_are_refused_or_held() {
    let files = [
        ("a.csv", "x,y\n1,\n,5\n3,nan\n"),
        ("b.csv", "x,y\n1,2\n3,4\n5,6\n"),
    ];
    let (dataset, report) = read(&one_source(source(&["*.csv"], &[])), &files);
    assert_eq!(
        (dataset.samples.len(), report.of(Code::NotFinite).count()),
        (1, 3)
    );
    assert!(report.has_errors());
    let held = one_source(SourceSpec {
        missing: Missing::Hold,
        ..source(&["*.csv"], &[])
    });
    let (dataset, report) = read(&held, &files);
    assert_eq!(dataset.samples[0].readings, [1.0, 5.0, 1.0, 5.0, 3.0, 5.0]);
    assert!(!report.has_errors(), "{report}");
}

#[test]
fn names_are_unique() {
    let root = |root: &str| SourceSpec {
        root: root.into(),
        ..source(&["*.csv"], &[])
    };
    let spec = DataSpec {
        source: vec![root("data/left/"), root("data/right"), root("data/right")],
        ..DataSpec::default()
    };
    let (dataset, report) = read(&spec, &[("1.csv", "1\n2\n")]);
    let names: Vec<&str> = dataset
        .samples
        .iter()
        .map(|sample| sample.name.as_str())
        .collect();
    assert_eq!(names, ["left/1.csv", "right/1.csv", "right/1.csv~2"]);
    // Named twice, and the same readings three times.
    assert_eq!(report.of(Code::Duplicate).count(), 3, "{report}");
}

#[test]
fn settings_that_contradict_are_said() {
    let spec = one_source(SourceSpec {
        rate_hz: Some(f32::NAN),
        decimate: 0,
        scale: 0.0,
        role: Some(crate::sample::Role::Train),
        cut: Some(crate::spec::Cut {
            train: 0.8,
            validation: 0.5,
            gap_ms: 0.0,
        }),
        ..source(&[], &[])
    });
    let (_, report) = read(&spec, &[]);
    insta::assert_snapshot!(report, @r#"
    error[setting]: source 0: a rate is not above 0
      hint: rates are in readings per second
    error[setting]: source 0: `decimate` is 0
      hint: 1 keeps every reading, 4 one in four
    error[setting]: source 0: `scale` is 0
      hint: a factor such as 0.001
    error[setting]: source 0: `cut` has shares that are no shares
      hint: such as `cut = { train = 0.6 }`
    error[setting]: source 0: `cut` and `role` are both set
      hint: set one of them
    error[setting]: source 0 names no files
      hint: set `files`, such as `["{label}/*.csv"]`
    6 errors, 0 warnings, 0 notes
    "#);
    let (_, report) = read(&DataSpec::default(), &[]);
    assert_eq!(report.of(Code::Setting).count(), 1);
}

#[test]
fn variables_are_replaced() {
    let lookup = |name: &str| (name == "DATA").then(|| "/data".to_owned());
    assert_eq!(expand("$DATA/a", &lookup), Ok("/data/a".into()));
    assert_eq!(expand("${DATA}/a", &lookup), Ok("/data/a".into()));
    assert_eq!(expand("${OTHER:-../b}/a", &lookup), Ok("../b/a".into()));
    assert_eq!(expand("plain", &lookup), Ok("plain".into()));
    assert_eq!(expand("${OTHER}", &lookup), Err("OTHER".into()));
}

#[test]
fn what_a_sender_says_of_an_upload_is_known_of_its_sample() {
    let spec = one_source(SourceSpec {
        uploads: true,
        rate_hz: Some(10.0),
        group: Some("{site}".to_owned()),
        ..SourceSpec::default()
    });
    let listing = |names: &[&str]| Listing {
        files: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let names = [
        "training/up/d1/a.csv",
        "training/_/b.csv",
        "training/up/c.csv",
    ];
    let mut read = |_: usize, path: &str| match path {
        "training/up/d1/.a.csv.metadata.json" => {
            Ok(br#"{"site":"north","take":"3","device":"d9","label":"down"}"#.to_vec())
        }
        "training/_/.b.csv.metadata.json" => Ok(br#"{"site":"south","label":"down"}"#.to_vec()),
        "training/up/.c.csv.metadata.json" => Ok(b"{\"site\":".to_vec()),
        _ => Ok(b"x\n1\n2\n".to_vec()),
    };
    let mut report = Report::new();
    let dataset = ingest(&spec, &[listing(&names)], &mut read, &mut report);
    assert!(!report.has_errors(), "{report}");
    let of = |name: &str| {
        let sample = dataset.samples.iter().find(|sample| sample.name == name);
        sample.expect("there")
    };
    let first = of(names[0]);
    assert_eq!(
        (first.group.as_str(), first.metadata["take"].as_str()),
        ("north", "3")
    );
    // What its place tells is not for its sender to say.
    assert_eq!(first.metadata["device"], "d1");
    assert_eq!(of(names[1]).label, Label::None);
    assert_eq!(of(names[1]).group, "south");
    // What cannot be read is told, and the recording is a group of its own.
    assert_eq!(of(names[2]).group, names[2]);
    let told = report
        .findings
        .iter()
        .any(|finding| finding.message.contains("no JSON object"));
    assert!(told, "{report}");
}

#[test]
fn a_name_leads_back_to_its_file() {
    let one = DataSpec {
        source: vec![source(&["*.csv"], &[])],
        ..DataSpec::default()
    };
    assert_eq!(files_of(&one, "m1/a.csv"), [(0, "m1/a.csv")]);
    assert_eq!(files_of(&one, "m1/a.csv~2@train"), [(0, "m1/a.csv")]);
    assert_eq!(files_of(&one, "m1/a@home.csv"), [(0, "m1/a@home.csv")]);
    assert_eq!(files_of(&one, "m1/a.csv#left"), []);
    assert_eq!(files_of(&one, "*_acc.txt"), []);
    let rooted = |root: &str| SourceSpec {
        root: root.to_owned(),
        ..source(&["*.csv"], &[])
    };
    let two = DataSpec {
        source: vec![rooted("bench"), rooted("far/field/")],
        ..DataSpec::default()
    };
    assert_eq!(files_of(&two, "field/m1/a.csv"), [(1, "m1/a.csv")]);
    assert_eq!(files_of(&two, "m1/a.csv"), []);
}

/// What a file says of itself, 100 Hz and g, against what its source says.
#[test]
fn settings_that_a_file_contradicts_are_told() {
    let text = include_str!("../../../testdata/recordings/sample.json");
    let check = |change: fn(&mut SourceSpec), expected: &[&str]| {
        let mut source = SourceSpec {
            rate_hz: None,
            ..source(&["*.json"], &[])
        };
        change(&mut source);
        let (dataset, report) = read(&one_source(source), &[("a.json", text)]);
        assert_eq!(dataset.samples.len(), 1, "{report}");
        let settings = report.of(Code::Setting);
        let told: Vec<String> = settings.map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            let expected = format!("warning[setting]: a.json, row 1: {expected}");
            assert!(told.starts_with(&expected), "{told}");
            assert!(told.contains("\n  hint: "), "{told}");
        }
    };
    check(|_| {}, &[]);
    check(|source| source.rate_hz = Some(101.0), &[]);
    check(|source| source.units = vec!["g".to_owned()], &[]);
    check(
        |source| source.rate_hz = Some(50.0),
        &["`rate_hz` is 50, and the file says 100 Hz"],
    );
    check(
        |source| source.units = vec!["g".to_owned(), "m/s2".to_owned()],
        &["`units` says `m/s2`, and the file says that `y` is in `g`"],
    );
    check(
        |source| source.scale = 9.81,
        &["`scale` is 9.81, and the file says that `x` is in `g`, which it is no more"],
    );
    // A factor makes another unit, which is named.
    check(
        |source| (source.scale, source.units) = (9.81, vec!["m/s2".to_owned()]),
        &[],
    );
}
