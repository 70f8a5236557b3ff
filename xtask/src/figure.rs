//! Figures beside the goals that they must reach, as the benches measure and print them.

use crate::bench_device::grouped;
use crate::steps::Answer;

/// One figure: what it must be, what it is, and what a peer's is.
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: &'static str,
    /// What it must be.
    pub(crate) goal: String,
    /// What it is.
    pub(crate) own: String,
    /// The same of a peer, measured beside it.
    pub(crate) peer: String,
    /// Whether the goal is reached.
    pub(crate) holds: bool,
}

impl Row {
    /// Bytes, or another count, that may be at most `most`; without one they are only told.
    pub(crate) fn at_most(name: &'static str, most: Option<u64>, own: u64, peer: String) -> Row {
        Row {
            name,
            goal: most.map_or("–".to_owned(), |most| format!("≤ {}", grouped(most))),
            own: grouped(own),
            peer,
            holds: most.is_none_or(|most| own <= most),
        }
    }

    /// What cannot be measured here.
    pub(crate) fn skipped(name: &'static str, why: &str) -> Row {
        Row {
            name,
            goal: "–".to_owned(),
            own: format!("skipped: {why}"),
            peer: String::new(),
            holds: true,
        }
    }
}

/// A measurement by its name; it gives one row or more.
pub(crate) type Measurement = (&'static str, fn() -> Result<Vec<Row>, String>);

/// Measures those whose name contains one of `names`, all of them without any, and prints.
///
/// # Errors
/// A name that no measurement has, or the goals that are not reached; a measurement that breaks off is one of them, and
/// the others are measured all the same.
pub(crate) fn measure(measurements: &[Measurement], names: &[String]) -> Answer {
    let known = |name: &String| {
        measurements
            .iter()
            .any(|(known, _)| known.contains(&**name))
    };
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let known: Vec<&str> = measurements.iter().map(|(known, _)| *known).collect();
        return Err(format!(
            "nothing is called `{name}`, only {}",
            known.join(", ")
        ));
    }
    let is_wanted =
        |known: &str| names.is_empty() || names.iter().any(|name| known.contains(&**name));
    let mut missed = Vec::new();
    println!("{:<58} {:<30} {:<44} peer", "figure", "goal", "own");
    for (name, measure) in measurements.iter().filter(|(known, _)| is_wanted(known)) {
        let rows = measure().unwrap_or_else(|why| {
            vec![Row {
                own: format!("broke off: {why}"),
                holds: false,
                ..Row::skipped(name, "")
            }]
        });
        for row in rows {
            println!(
                "{:<58} {:<30} {:<44} {}",
                row.name, row.goal, row.own, row.peer
            );
            if !row.holds {
                missed.push(row.name);
            }
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("not reached: {}", missed.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_and_an_unknown_name_are_errors() {
        let measurements: &[Measurement] = &[
            ("good", || {
                Ok(vec![Row::at_most("good", Some(2), 2, String::new())])
            }),
            ("bad", || {
                Ok(vec![Row::at_most("bad", Some(2), 3, String::new())])
            }),
            ("broken", || Err("no disk".to_owned())),
            ("later", || {
                Ok(vec![Row::at_most("later", Some(2), 4, String::new())])
            }),
        ];
        let asked = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            measure(measurements, &names)
        };
        assert_eq!(asked(&["go"]), Ok(()));
        assert_eq!(
            asked(&[]),
            Err("not reached: bad; broken; later".to_owned())
        );
        assert!(asked(&["gold"]).is_err_and(|why| why.contains("good, bad")));
    }
}
