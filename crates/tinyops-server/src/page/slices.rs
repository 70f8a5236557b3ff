//! Slices: how a model fares on parts of its test windows, and how far the parts lie apart.

use maud::{Markup, html};
use tinyops_store::Json;

use super::part::{self, float};
use crate::chart::{Dot, Dots, Tone, number};

/// Slices drawn of one key, the weakest first.
const ROWS_MAX: usize = 25;

/// A picture and a table for each key of an evaluation; nothing where nothing was sliced.
pub(super) fn cards(int8: &Json) -> Markup {
    let slices = list(int8, "slices");
    let mut keys: Vec<&str> = Vec::new();
    for slice in &slices {
        let key = text(slice, "key");
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let fairness = list(int8, "fairness");
    html! {
        @for key in keys {
            @let of_key: Vec<&Json> = slices.iter().copied().filter(|slice| text(slice, "key") == key).collect();
            @let gaps = fairness.iter().find(|of| text(of, "key") == key);
            (part::chart_card("w7", dots(key, of_key)))
            @if let Some(gaps) = gaps {
                (part::card("w5", &format!("Gaps between slices by {key}"), None, table(gaps)))
            }
        }
    }
}

fn list<'a>(of: &'a Json, name: &str) -> Vec<&'a Json> {
    let list = of.get(name).and_then(Json::as_array);
    list.into_iter().flatten().collect()
}

fn text<'a>(of: &'a Json, name: &str) -> &'a str {
    of.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn interval(of: &Json) -> Option<(f64, f64)> {
    let interval = of.get("interval")?;
    Some((float(interval, "low")?, float(interval, "high")?))
}

fn dots(key: &str, mut slices: Vec<&Json>) -> Markup {
    let figure = slices.first().map_or("", |slice| text(slice, "figure"));
    let is_error = figure == "rmse";
    let badness = |slice: &Json| {
        let value = float(slice, "metric");
        let turned = value.map(|value| if is_error { -value } else { value });
        turned.unwrap_or(f64::INFINITY)
    };
    slices.sort_by(|a, b| badness(a).total_cmp(&badness(b)));
    let whole = slices.iter().find_map(|slice| float(slice, "whole"));
    let count = slices.len();
    let dot = |slice: &&Json| {
        let (value, interval) = (float(slice, "metric"), interval(slice));
        let is_behind = interval
            .zip(whole)
            .is_some_and(|((low, high), whole)| match is_error {
                true => low > whole,
                false => high < whole,
            });
        let windows = float(slice, "windows").unwrap_or(0.0);
        Dot {
            name: text(slice, "value").to_owned(),
            value: value.unwrap_or(f64::NAN),
            interval,
            counts: format!("{} w", number(windows)),
            tone: match (is_behind, interval) {
                (true, _) => Tone::Bad,
                (false, Some(_)) => Tone::Series(0),
                (false, None) => Tone::Quiet,
            },
        }
    };
    let shown = figure.replace('_', " ");
    let note = match count > ROWS_MAX {
        true => format!(
            "{shown} with its 95 % interval, the weakest {ROWS_MAX} of {count}; w is windows"
        ),
        false => format!("{shown} with its 95 % interval, the weakest first; w is windows"),
    };
    Dots {
        title: &format!("Slices by {key}"),
        note: Some(&note),
        unit: &shown,
        dots: slices.iter().take(ROWS_MAX).map(dot).collect(),
        threshold: whole.map(|whole| (whole, "all")),
        empty: "No slice has a figure: its windows give none.",
    }
    .draw()
}

fn table(fairness: &Json) -> Markup {
    let named = |gap: &Json, what: &str| {
        let of = text(gap, "of").replace('_', " ");
        (format!("{what}{of}"), gap.clone())
    };
    let one = |name: &str| fairness.get(name).filter(|gap| gap.is_object());
    let mut rows: Vec<(String, Json)> = Vec::new();
    rows.extend(one("metric").map(|gap| named(gap, "")));
    rows.extend(one("false_alarms").map(|gap| named(gap, "")));
    rows.extend(
        list(fairness, "recalls")
            .into_iter()
            .map(|gap| named(gap, "recall of ")),
    );
    html! {
        div.tablewrap { table {
            thead { tr { th { "figure" } th.num { "gap" } th { "95 %" } th { "worst" } th { "best" } } }
            @for (name, gap) in &rows {
                @let figures: Vec<f64> = list(gap, "figures").into_iter().filter_map(Json::as_f64).collect();
                @let within = interval(gap);
                tr {
                    td { (name) }
                    td.num { strong.bad[within.is_some_and(|(low, _)| low > 0.0)] { (number(float(gap, "gap").unwrap_or(f64::NAN))) } }
                    td.muted { @if let Some((low, high)) = within { (number(low)) "–" (number(high)) } @else { "–" } }
                    td { (text(gap, "worst")) @if let Some(figure) = figures.get(1) { " " span.muted { (number(*figure)) } } }
                    td { (text(gap, "best")) @if let Some(figure) = figures.first() { " " span.muted { (number(*figure)) } } }
                }
            }
        } }
        p.muted style="margin:6px 0 0" { "A gap whose interval holds 0 may be chance." }
    }
}
