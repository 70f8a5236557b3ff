//! What a person reads of a comparison.

use std::fmt::Write as _;

use tinyops_compile::{Row, Verdict};

use super::{SideView, View};
use crate::{cmd::import::brief, table::Table};

/// So many inputs are named.
const NAMES: usize = 6;

pub(super) fn text(view: &View) -> String {
    let mut out = String::new();
    for (letter, side) in [("A", &view.a), ("B", &view.b)] {
        let _ = writeln!(out, "{letter}  {}: {}", side.name, side.what);
    }
    let names = &view.inputs.names;
    let mut shown: Vec<String> = names
        .iter()
        .take(NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > NAMES {
        shown.push(format!("{} more", names.len() - NAMES));
    }
    let _ = writeln!(
        out,
        "{} input{}, {}: {}",
        names.len(),
        if names.len() == 1 { "" } else { "s" },
        view.inputs.from,
        shown.join(", ")
    );
    if view.tolerance > 0 {
        let _ = writeln!(
            out,
            "differences of up to {} steps are borne",
            view.tolerance
        );
    }
    out.push('\n');
    let mut table = Table::new([
        "",
        "layer",
        "values",
        "",
        "differ",
        "at most",
        "in inputs",
        "",
    ]);
    for (index, row) in view.layers.rows.iter().enumerate() {
        let count = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
        let differs = row.verdict == Verdict::Differs;
        let if_differs = |text: String| if differs { text } else { String::new() };
        table.row([
            format!("{index} {}", row.kind),
            brief(&row.layer).to_owned(),
            row.elements.to_string(),
            word(row.verdict).to_owned(),
            if_differs(count(row.elements_differing)),
            if_differs(row.max_difference.map_or("?".to_owned(), steps)),
            if_differs(row.cases_differing.to_string()),
            note(row),
        ]);
    }
    out += &table.text();
    out.push('\n');
    for (letter, side) in [("A", &view.a), ("B", &view.b)] {
        out += &shipped(letter, side);
    }
    match view.layers.first.map(|first| &view.layers.rows[first]) {
        Some(row) => out += &first(row),
        None => {
            let same = |row: &&Row| row.verdict == Verdict::Same;
            let count = view.layers.rows.iter().filter(same).count();
            let _ = writeln!(out, "no difference; layers that both have: {count}");
        }
    }
    out
}

fn note(row: &Row) -> String {
    let pair = row.paired_with.as_deref();
    let pair = pair.map(|name| format!("`{}` in B", brief(name)));
    let parts: Vec<String> = pair.into_iter().chain(row.note.clone()).collect();
    parts.join(", ")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "same",
        Verdict::Differs => "DIFFERS",
        Verdict::OnlyA => "only in A",
        Verdict::OnlyB => "only in B",
        Verdict::Unknown => "not known",
        _ => "UNLIKE",
    }
}

fn steps(difference: f64) -> String {
    if difference.fract() == 0.0 {
        format!("{difference}")
    } else {
        format!("{difference:.2}")
    }
}

/// What of the network is left in the plan that a device gets.
fn shipped(letter: &str, side: &SideView) -> String {
    let Some(shipped) = &side.shipped else {
        return String::new();
    };
    let mut out = format!(
        "{letter} as a device gets it: {} layers, each the same",
        shipped.same
    );
    if let Some(layer) = &shipped.differs {
        out = format!("{letter} as a device gets it DIFFERS, first in `{layer}`");
    }
    if !shipped.gone.is_empty() {
        let gone: Vec<&str> = shipped.gone.iter().map(|name| brief(name)).collect();
        let _ = write!(out, "; fused or removed: {}", gone.join(", "));
    }
    out.push('\n');
    out
}

fn first(row: &Row) -> String {
    let mut out = format!("first difference: `{}` ({})", brief(&row.layer), row.kind);
    if let Some(element) = &row.element {
        let _ = write!(out, ", input `{}`", element.case);
        if let Some(index) = element.index {
            let _ = write!(out, ", element {index}");
        }
        if let Some([y, x, channel]) = element.place {
            let _ = write!(out, " (row {y}, column {x}, channel {channel})");
        }
        if let (Some(a), Some(b)) = (element.a, element.b) {
            let _ = write!(out, ": {a} in A, {b} in B");
        }
    }
    out.push('\n');
    out
}

/// Where to look next.
pub(super) fn advice(row: &Row) -> String {
    match (row.verdict, row.max_difference) {
        (Verdict::Unlike, _) => {
            "the two have other shapes from here on: are they the same network?".to_owned()
        }
        (_, Some(most)) if most <= 1.0 && row.kind == "FULLY_CONNECTED" => {
            "one step: rounding. LiteRT's reference rounds a dense layer once, TinyOps and TFLM twice (docs/arithmetic.md)".to_owned()
        }
        (_, Some(most)) if most <= 1.0 => {
            "one step: rounding. docs/arithmetic.md tells how each operator rounds; LiteRT's XNNPACK rescales in floating point".to_owned()
        }
        _ => format!(
            "every layer before is the same, so look at this {}; what differs after it may follow from it",
            row.kind
        ),
    }
}
