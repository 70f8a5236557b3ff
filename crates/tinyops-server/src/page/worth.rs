//! Worth: what wrong answers of a version cost by alarm threshold, and what it saves.

use maud::{Markup, html};
use tinyops_fleet::FleetError;
use tinyops_fleet::outcome::{CostSpan, FIELD_DAYS, FieldWorth};
use tinyops_pipeline::RunError;
use tinyops_pipeline::worth::{Appraisal, Bill, CostPoint, Expected, Worth, WorthError};
use tinyops_store::StoreError;
use tinyops_store::model::Model;

use super::part::{self, Names};
use crate::app::App;
use crate::appraised::appraised;
use crate::chart::{LineChart, Series, Tone, XAxis, number};

/// Cards of one version; why there are none where it cannot be priced.
pub(super) async fn cards(app: &App, model: &Model) -> Result<Markup, FleetError> {
    let made = match appraised(app, model).await {
        Ok(made) => made,
        Err(WorthError::NoClasses { .. } | WorthError::NoSettings { .. }) => return Ok(html! {}),
        Err(WorthError::Run(RunError::Store(error))) if !is_of_version(&error) => {
            return Err(error.into());
        }
        Err(why) => {
            let why = part::empty(html! { (why) "." });
            return Ok(part::card("", "Worth", None, why));
        }
    };
    let (now, costs) = (app.now(), &made.project.train.costs);
    let price = |is: &str, said: &str| costs.price(is, said);
    let field = app
        .fleet()
        .field_worth_of(&model.name, model.version, FIELD_DAYS, now, price)
        .await?;
    let (bill, worth) = (&made.bill, &made.appraisal);
    Ok(html! {
        @if bill.curve.is_some() { (part::chart_card("w7", curve(bill))) }
        (part::card(if bill.curve.is_some() { "w5" } else { "" }, "Worth", None, worth_table(bill, worth, field.as_ref())))
    })
}

/// Whether it is something of this version that the store lacks: a store that does not answer is not told as a property
/// of a version.
fn is_of_version(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Missing { .. } | StoreError::DamagedArtifact { .. }
    )
}

fn curve(bill: &Bill) -> Markup {
    let points = |of: &dyn Fn(&CostPoint) -> f64| {
        let curve = bill.curve.iter().flat_map(|curve| &curve.points);
        curve
            .map(|point| (f64::from(point.threshold), of(point)))
            .collect()
    };
    let end = |point: &CostPoint, high: bool| {
        point.expected.interval.map_or(f64::NAN, |of| {
            f64::from(if high { of.high } else { of.low })
        })
    };
    let one = |name: &str, point: Option<&CostPoint>, tone: Tone| Series {
        name: name.to_owned(),
        points: point
            .map(|point| (f64::from(point.threshold), point.expected.cost))
            .into_iter()
            .collect(),
        tone,
        dashed: false,
    };
    let line = |name: &str, points: Vec<(f64, f64)>, tone: Tone, dashed: bool| Series {
        name: name.to_owned(),
        points,
        tone,
        dashed,
    };
    let costs = &bill.costs;
    let note = format!(
        "a false alarm costs {}, a miss {}, {} % of windows are faulty; dashed: 95 %",
        number(costs.false_alarm.into()),
        number(costs.miss.into()),
        number(100.0 * f64::from(costs.fault_share))
    );
    LineChart {
        title: "Cost by alarm threshold",
        note: Some(&note),
        x: XAxis::Number("alarm score above which a window alarms"),
        y: "cost a window",
        y_range: None,
        series: vec![
            line("expected", points(&|point| point.expected.cost), Tone::Series(0), false),
            line("from", points(&|point| end(point, false)), Tone::Quiet, true),
            line("to", points(&|point| end(point, true)), Tone::Quiet, true),
            one("the model's own", bill.curve.as_ref().map(|of| &of.own), Tone::Warn),
            one("cheapest", bill.curve.as_ref().map(|of| &of.cheapest), Tone::Good),
        ],
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: None,
        width: 620.0,
        height: 280.0,
        empty: "No threshold is priced: `normal` in `[train.costs]` says which classes are no alarm.",
    }
    .draw()
}

fn expected(of: &Expected) -> Markup {
    html! {
        strong { (number(of.cost)) }
        @if let Some(within) = of.interval {
            " " span.muted { (number(within.low.into())) " to " (number(within.high.into())) }
        }
    }
}

fn worth_table(bill: &Bill, worth: &Appraisal, field: Option<&FieldWorth>) -> Markup {
    let row = |against: Markup, of: &Worth| {
        html! {
            tr {
                td { (against) div.muted { "costs " (number(of.other.cost)) ", on " (number(of.windows as f64)) " windows" } }
                td { (expected(&of.gain)) }
                td.num { @match worth.windows_per_month {
                    Some(windows) => (number(of.gain.cost * windows)),
                    None => "–",
                } }
            }
        }
    };
    html! {
        p { "A window costs " (expected(&bill.answers)) " as this version answers." }
        @if let Some(by_shares) = &bill.by_shares {
            p.muted { "By the answers of least expected cost it would cost " (expected(by_shares)) "." }
        }
        div.tablewrap { table {
            thead { tr { th { "against" } th { "saves a window" } th.num { "a device, month" } } }
            (row(html! { "always " code { (worth.none.answer) } }, &worth.none.worth))
            @if let Some(previous) = &worth.previous { (row(html! { (previous.model) }, &previous.worth)) }
        } }
        @match field {
            Some(field) => p {
                "In the field it saves " strong { (number(field.gain.value)) }
                @if let Some((low, high)) = field.gain.interval { " " span.muted { (number(low)) " to " (number(high)) } }
                " a window against always " code { (field.answer) } ", on " (number(field.windows as f64))
                " windows of " (field.devices) " devices labelled in " (FIELD_DAYS) " days."
            },
            None => p.muted { "No window of the field that it answered was labelled in " (FIELD_DAYS) " days." },
        }
        @if let Some(why) = &worth.incomparable { p.muted { "Against the version before: " (why) "." } }
        @if !bill.costs.are_set() {
            p.muted { "Set " code { "[train.costs]" } " in tinyops.toml: these are the default prices." }
        }
    }
}

/// Lines of cost by cohort at most, those with the most labels first.
const LINES_MAX: usize = 4;

/// What labelled windows of each cohort cost, over time.
pub(super) fn over_time(spans: &[CostSpan], names: &Names, each: &str) -> Markup {
    let mut cohorts: Vec<(String, i64)> = Vec::new();
    let name = |span: &CostSpan| format!("{} with {}", span.cohort, names.text(span.model));
    for span in spans {
        let name = name(span);
        match cohorts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, windows)) => *windows += span.windows,
            None => cohorts.push((name, span.windows)),
        }
    }
    cohorts.sort_by_key(|(_, windows)| -windows);
    let mut series = Vec::new();
    for (index, (cohort, _)) in cohorts.iter().take(LINES_MAX).enumerate() {
        let points = |of: &dyn Fn(&CostSpan) -> f64| {
            let own = spans.iter().filter(|span| name(span) == *cohort);
            own.map(|span| (span.begin.0 as f64, of(span))).collect()
        };
        let end = |span: &CostSpan, high: bool| {
            let of = span.mean.interval;
            of.map_or(f64::NAN, |(low, up)| if high { up } else { low.max(0.0) })
        };
        let mut push = |name: String, points: Vec<(f64, f64)>, tone: Tone, dashed: bool| {
            series.push(Series {
                name,
                points,
                tone,
                dashed,
            });
        };
        push(
            cohort.clone(),
            points(&|span| span.mean.value),
            Tone::Series(index),
            false,
        );
        // The intervals of several lines would hide them.
        if cohorts.len() == 1 {
            push(
                "from".to_owned(),
                points(&|span| end(span, false)),
                Tone::Quiet,
                true,
            );
            push(
                "to".to_owned(),
                points(&|span| end(span, true)),
                Tone::Quiet,
                true,
            );
        }
    }
    let labels: i64 = spans.iter().map(|span| span.windows).sum();
    let note = format!(
        "by {each}, of {} labelled windows in all",
        number(labels as f64)
    );
    LineChart {
        title: "Cost by cohort",
        note: Some(&note),
        x: XAxis::Time,
        y: "cost a window",
        y_range: None,
        series,
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: None,
        width: 830.0,
        height: 240.0,
        empty: "No label has come back in 30 days. `tinyops labels add DEVICE CLASS` tells what was really the case.",
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_store_is_no_property_of_a_version() {
        let missing = StoreError::Missing {
            entity: "artifact",
            key: "4f".to_owned(),
        };
        assert!(is_of_version(&missing));
        assert!(!is_of_version(&StoreError::Closed));
    }
}
