use proptest::prelude::*;

use super::*;
use crate::sample::{Channel, Origin};

fn entry(act: Act) -> Entry {
    Entry {
        at: "2026-11-29T21:50:00Z".to_owned(),
        who: "ana".to_owned(),
        act,
        why: "listened".to_owned(),
    }
}

fn set(recording: &str, label: &str) -> Entry {
    entry(Act::Set {
        recording: recording.to_owned(),
        label: label.to_owned(),
    })
}

fn over(recording: &str, readings: Range<usize>, label: &str) -> Entry {
    entry(Act::Range {
        recording: recording.to_owned(),
        readings,
        label: label.to_owned(),
    })
}

fn rule(field: &str, pattern: &str, label: &str) -> Entry {
    entry(Act::Rule {
        field: field.to_owned(),
        pattern: pattern.to_owned(),
        label: label.to_owned(),
    })
}

fn sample(name: &str, label: &str) -> Sample {
    Sample {
        name: name.to_owned(),
        rate_hz: 10.0,
        channels: vec![Channel {
            name: "x".to_owned(),
            unit: "g".to_owned(),
        }],
        readings: vec![0.0; 100],
        image: None,
        label: of_text(label),
        group: name.split('/').next().unwrap_or_default().to_owned(),
        role: None,
        origin: Origin::default(),
        metadata: [("site".to_owned(), "north".to_owned())].into(),
    }
}

/// The labels of `a/1.csv` (up), `a/2.csv` (down) and `b/1.csv` (none) after these entries, as a manifest says them.
#[track_caller]
fn check(entries: Vec<Entry>, expected: [&str; 3]) {
    let text = History::header()
        + &entries
            .iter()
            .map(|e| e.encode() + "\n")
            .collect::<String>();
    let history = History::decode(&text).expect("a history");
    assert_eq!(history.entries, entries);
    let mut samples = [
        sample("a/1.csv", "up"),
        sample("a/2.csv", "down"),
        sample("b/1.csv", ""),
    ];
    history.apply(&mut samples, &mut Vec::new());
    let found = samples.map(|sample| match sample.label {
        Label::None => "-".to_owned(),
        Label::Class(class) => class,
        Label::Segments(segments) => {
            let text = segments.iter().map(|segment| {
                format!(
                    "{}-{} {}",
                    segment.range.start, segment.range.end, segment.class
                )
            });
            text.collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    });
    assert_eq!(found, expected);
}

#[test]
fn tabs_at_the_end_of_a_line_may_be_gone_and_a_first_line_may_come_twice() {
    let said = Entry {
        why: String::new(),
        ..set("a/1.csv", "worn")
    };
    let undone = Entry {
        why: String::new(),
        ..entry(Act::Undo { id: said.id() })
    };
    let text = format!(
        "{0}{1}\n{0}{2}\n",
        History::header(),
        said.encode(),
        undone.encode()
    );
    let bare: String = text
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    for text in [text, bare] {
        let history = History::decode(&text).expect("a history");
        assert_eq!(history.entries, [said.clone(), undone.clone()]);
    }
}

#[test]
fn entries_say_labels_and_later_ones_beat_earlier_ones() {
    check(vec![], ["up", "down", "-"]);
    check(vec![set("a/1.csv", "left")], ["left", "down", "-"]);
    let twice = vec![set("a/1.csv", "left"), set("a/1.csv", "right")];
    check(twice.clone(), ["right", "down", "-"]);
    let mut back = twice;
    back.push(entry(Act::Undo { id: back[1].id() }));
    check(back.clone(), ["left", "down", "-"]);
    back.push(entry(Act::Undo { id: back[2].id() }));
    check(back, ["right", "down", "-"]);
    check(vec![set("a/1.csv", "")], ["-", "down", "-"]);
    check(vec![rule("group", "a", "still")], ["still", "still", "-"]);
    check(vec![rule("name", "*/1.csv", "one")], ["one", "down", "one"]);
    check(vec![rule("label", "d*", "fall")], ["up", "fall", "-"]);
    check(vec![rule("site", "n*", "x")], ["x", "x", "x"]);
    check(vec![rule("site", "s*", "x")], ["up", "down", "-"]);
}

#[test]
fn ranges_lie_over_what_was_there() {
    check(
        vec![over("a/1.csv", 20..30, "left")],
        ["0-20 up, 20-30 left, 30-100 up", "down", "-"],
    );
    check(
        vec![
            over("a/1.csv", 20..30, "left"),
            over("a/1.csv", 25..500, ""),
        ],
        ["0-20 up, 20-25 left", "down", "-"],
    );
    check(
        vec![over("b/1.csv", 0..10, "up"), over("b/1.csv", 10..20, "up")],
        ["up", "down", "0-20 up"],
    );
    check(vec![over("a/1.csv", 0..100, "left")], ["left", "down", "-"]);
    check(vec![over("a/1.csv", 100..200, "left")], ["up", "down", "-"]);
}

#[test]
fn what_names_nothing_is_told_and_what_was_kept_is_known() {
    let keep = entry(Act::Keep {
        recording: "a/1.csv".to_owned(),
        label: "up".to_owned(),
    });
    let history = History {
        entries: vec![set("c/9.csv", "up"), keep],
    };
    let mut findings = Vec::new();
    history.apply(&mut [sample("a/1.csv", "up")], &mut findings);
    assert!(findings.len() == 1 && findings[0].message.contains("c/9.csv"));
    assert!(
        history
            .kept()
            .contains(&("a/1.csv".to_owned(), "up".to_owned()))
    );
}

#[test]
fn what_is_no_history() {
    for (text, row) in [
        ("", 1),
        ("tinyops-labels 2\n", 1),
        ("tinyops-labels 1\na\tb\n", 2),
        ("tinyops-labels 1\n\nt\tw\tmove\tx\ty\tz\n", 3),
        ("tinyops-labels 1\nt\tw\trange 9-3\tx\ty\tz\n", 2),
        ("tinyops-labels 1\nt\tw\trule\tname\ty\tz\n", 2),
        ("tinyops-labels 1\nt\tw\trule\tname={\ty\tz\n", 2),
        ("tinyops-labels 1\nt\tw\tset\ta\\q\ty\tz\n", 2),
    ] {
        assert_eq!(
            History::decode(text).map_err(|error| error.row),
            Err(row),
            "{text:?}"
        );
    }
    // Another machine's line ends.
    assert!(History::decode("tinyops-labels 1\r\nt\tw\tset\tx\ty\tz\r\n").is_ok());
}

proptest! {
    #[test]
    fn any_words_come_back(words in proptest::array::uniform5(any::<String>()), start in 0usize..9) {
        let [at, who, recording, label, why] = words;
        let act = Act::Range { recording, readings: start..start + 5, label };
        let entry = Entry { at, who, act, why };
        let text = format!("{}{}\n", History::header(), entry.encode());
        prop_assert_eq!(History::decode(&text).unwrap().entries, vec![entry]);
    }
}
