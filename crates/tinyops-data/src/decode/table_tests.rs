use super::*;
use crate::finding::Report;
use crate::spec::Missing;

fn read(text: &str, spec: &SourceSpec) -> (Vec<Recording>, Report) {
    let mut report = Report::new();
    let recordings = decode(
        text.as_bytes(),
        spec,
        &mut Findings::new("a.csv", Missing::Refuse, &mut report),
    );
    (recordings, report)
}

#[track_caller]
fn one(text: &str, spec: &SourceSpec) -> Recording {
    let (mut recordings, report) = read(text, spec);
    assert_eq!(report.findings, [], "{text}");
    assert_eq!(recordings.len(), 1, "{text}");
    recordings.remove(0)
}

fn names(recording: &Recording) -> String {
    let names: Vec<&str> = recording
        .channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    names.join(" ")
}

#[test]
fn with_and_without_header() {
    let plain = SourceSpec::default();
    let recording = one("x,y\n1,2\n3,4\n", &plain);
    assert_eq!(
        (names(&recording).as_str(), &recording.readings[..]),
        ("x y", &[1.0, 2.0, 3.0, 4.0][..])
    );
    assert_eq!(recording.row, 2);
    let recording = one("\u{feff}1; 2,5\r\n3; 4,5\r\n", &plain);
    assert_eq!(
        (names(&recording).as_str(), &recording.readings[..]),
        ("0 1", &[1.0, 2.5, 3.0, 4.5][..])
    );
    let named = SourceSpec {
        channels: vec!["a".into(), "b".into()],
        ..SourceSpec::default()
    };
    assert_eq!(names(&one("1 2\n3 4\n", &named)), "a b");
    let second = SourceSpec {
        channels: vec!["1".into()],
        ..SourceSpec::default()
    };
    assert_eq!(one("1\t2\n3\t4\n", &second).readings, [2.0, 4.0]);
}

#[test]
fn rows_are_limited() {
    let spec = SourceSpec {
        rows_skip: 1,
        rows_max: Some(2),
        ..SourceSpec::default()
    };
    assert_eq!(one("x\n1\n2\n3\n4\n", &spec).readings, [2.0, 3.0]);
}

#[test]
fn labels_that_change_are_segments() {
    let spec = SourceSpec {
        label_column: Some("label".into()),
        ..SourceSpec::default()
    };
    let segment = |range, class: &str| Segment {
        range,
        class: class.into(),
    };
    assert_eq!(
        one("x,label\n1,a\n2,a\n3,b\n4,\n5,b\n", &spec).label,
        Label::Segments(vec![
            segment(0..2, "a"),
            segment(2..3, "b"),
            segment(4..5, "b")
        ])
    );
    assert_eq!(
        one("x,label\n1,a\n2,a\n", &spec).label,
        Label::Class("a".into())
    );
}

#[test]
fn samples_values_and_groups_by_column() {
    let spec = SourceSpec {
        sample_column: Some("unit".into()),
        target_column: Some("left".into()),
        group_column: Some("plant".into()),
        ..SourceSpec::default()
    };
    let (recordings, report) = read("unit,left,plant,x\n1,2,p,10\n1,1,p,11\n2,5,q,20\n", &spec);
    assert_eq!(report.findings, []);
    let found: Vec<_> = recordings
        .iter()
        .map(|r| {
            (
                r.part.as_str(),
                r.row,
                r.group.as_deref(),
                r.label.clone(),
                r.readings.clone(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "1",
                2,
                Some("p"),
                Label::Values(vec![2.0, 1.0]),
                vec![10.0, 11.0]
            ),
            ("2", 4, Some("q"), Label::Values(vec![5.0]), vec![20.0]),
        ]
    );
}

#[track_caller]
fn check_rate(text: &str, unit: Option<TimeUnit>, expected: f32) {
    let spec = SourceSpec {
        time_unit: unit,
        ..SourceSpec::default()
    };
    let recording = one(text, &spec);
    let rate = recording.rate_hz.expect("a rate");
    assert!(
        (rate / expected - 1.0).abs() < 1e-4,
        "{rate} is not {expected}: {text}"
    );
    assert_eq!(names(&recording), "x");
}

#[test]
fn the_rate_is_taken_from_times() {
    check_rate("timestamp,x\n0,1\n10,2\n20,3\n", None, 100.0);
    check_rate("time,x\n0,1\n0.01,2\n0.02,3\n", None, 100.0);
    check_rate("time_us,x\n0,1\n100,2\n200,3\n", None, 10_000.0);
    check_rate(
        "x,timestamp\n1,1657533977813\n2,1657533977823\n3,1657533977833\n",
        None,
        100.0,
    );
    check_rate("t,x\n0,1\n2,2\n4,3\n", Some(TimeUnit::S), 0.5);
}

#[test]
fn every_flaw_is_found() {
    let text = "time,x,y\n0,1,2\n1,abc,2\n2,,nan\n3,1\n1,1,1\n500,1,inf\n";
    let (recordings, report) = read(text, &SourceSpec::default());
    assert_eq!(recordings.len(), 1);
    insta::assert_snapshot!(report, @r#"
    error[not-a-number]: a.csv, row 3: `abc` in column `x` is not a number
      hint: mend the file, or leave the column out of `channels`
    error[not-finite]: a.csv, row 4: column `x` is empty
      hint: mend the file, or set `missing = "hold"`
    error[not-finite]: a.csv, row 4: column `y` is `nan`
      hint: mend the file, or set `missing = "hold"`
    error[row-width]: a.csv, row 5: 2 columns, the first row has 3; the row is left out
      hint: a line may be cut off; mend or remove it
    error[not-finite]: a.csv, row 7: column `y` is `inf`
      hint: mend the file, or set `missing = "hold"`
    warning[time]: a.csv, row 6: column `time` goes back 1 times, first here
      hint: sort the rows, or cut the file where the clock was set
    warning[time]: a.csv, row 7: column `time` leaves a gap of 0.499 s, 499 times its usual step
    5 errors, 2 warnings, 0 notes
    "#);
    let wrong = SourceSpec {
        label_column: Some("class".into()),
        channels: vec!["x".into(), "z".into()],
        ..SourceSpec::default()
    };
    let (recordings, report) = read(text, &wrong);
    assert_eq!(recordings, []);
    insta::assert_snapshot!(report, @r"
    error[missing-column]: a.csv: no column is called `class` (label_column)
      hint: columns are: time, x, y
    error[missing-column]: a.csv: no column is called `z` (channels)
      hint: columns are: time, x, y
    2 errors, 0 warnings, 0 notes
    ");
}

#[test]
fn what_is_no_table() {
    let codes = |text: &str| -> Vec<Code> {
        let (_, report) = read(text, &SourceSpec::default());
        report.findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes("\n \n"), [Code::Empty]);
    assert_eq!(codes("x,y\n"), [Code::Empty]);
    assert_eq!(codes("a\0b"), [Code::Malformed]);
    assert_eq!(codes(&"1,".repeat(10_000)), [Code::Unsupported]);
}
