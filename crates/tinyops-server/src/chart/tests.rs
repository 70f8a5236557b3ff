use super::*;

#[track_caller]
fn check_ticks(low: f64, high: f64, expected: &[&str]) {
    let ticks = Scale::new(low, high, 0.0, 1.0).ticks(5);
    let texts: Vec<String> = ticks.into_iter().map(number).collect();
    assert_eq!(texts, expected);
}

#[test]
fn ticks_are_round() {
    check_ticks(0.0, 1.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    check_ticks(0.87, 1.0, &["0.9", "0.95", "1"]);
    check_ticks(0.0, 53_000.0, &["0", "20\u{202f}000", "40\u{202f}000"]);
    check_ticks(3.0, 3.0, &["2", "3", "4"]);
}

#[test]
fn time_ticks_say_the_unit_that_changes() {
    let day_ms = 86_400_000.0;
    let texts = |scale: Scale| -> Vec<String> {
        scale
            .time_ticks(6)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    };
    assert_eq!(
        texts(Scale::new(0.0, 40_000.0, 0.0, 1.0)),
        ["00:00:00", "00:00:10", "00:00:20", "00:00:30", "00:00:40"]
    );
    assert_eq!(
        texts(Scale::new(day_ms * 0.5, day_ms * 1.5, 0.0, 1.0)),
        ["12:00", "18:00", "2 Jan", "06:00", "12:00"]
    );
    assert_eq!(texts(Scale::new(0.0, day_ms * 4.0, 0.0, 1.0)).len(), 5);
    assert!(texts(Scale::new(0.0, day_ms * 4000.0, 0.0, 1.0)).len() <= 7);
}

#[test]
fn numbers_are_short() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.000_000_1, "-1.0e-7"),
        (0.995, "0.995"),
        (12.345, "12.35"),
        (1_234_567.0, "1\u{202f}234\u{202f}567"),
        (f64::NAN, "–"),
    ] {
        assert_eq!(number(value), expected);
    }
}

fn chart(points: Vec<(f64, f64)>) -> LineChart<'static> {
    LineChart {
        title: "Accuracy",
        note: None,
        x: XAxis::Number("day"),
        y: "share",
        y_range: Some((0.0, 1.0)),
        series: vec![Series {
            name: "fleet".into(),
            points,
            tone: Tone::Series(0),
            dashed: false,
        }],
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: Some((0.9, "goal")),
        width: 560.0,
        height: 200.0,
        empty: "run `tinyops demo`",
    }
}

#[test]
fn a_gap_in_the_data_is_a_gap_in_the_line() {
    let svg = chart(vec![(0.0, 0.5), (1.0, f64::NAN), (2.0, 1.0), (3.0, 0.5)])
        .draw()
        .into_string();
    let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(path.matches('M').count(), 2, "{path}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn a_chart_without_data_says_what_to_do() {
    for points in [vec![], vec![(f64::NAN, 1.0)]] {
        let drawn = chart(points).draw().into_string();
        assert!(drawn.contains("run <code>tinyops demo</code>") && !drawn.contains("<svg"));
    }
}

#[test]
fn names_from_outside_are_escaped() {
    let labels = vec!["<script>alert(1)</script>".to_owned()];
    let drawn = Confusion {
        title: "t",
        note: None,
        labels: &labels,
        counts: &[vec![3]],
        empty: "",
    };
    assert!(!drawn.draw().into_string().contains("<script"));
}

#[test]
fn a_matrix_of_the_wrong_shape_is_not_drawn() {
    let labels = vec!["a".to_owned(), "b".to_owned()];
    let drawn = Confusion {
        title: "t",
        note: None,
        labels: &labels,
        counts: &[vec![3]],
        empty: "no evaluation yet",
    };
    assert!(drawn.draw().into_string().contains("no evaluation yet"));
}
