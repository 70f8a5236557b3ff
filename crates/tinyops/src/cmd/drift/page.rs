//! The report as a page of its own: no script, nothing loaded from elsewhere.

use std::fmt::Write as _;

use tinyops_fleet::drift_report::{ColumnDrift, Report};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2330;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .7rem;border-bottom:1px solid #dfe3ea;text-align:right}\
th:first-child,td:first-child{text-align:left}.yes{color:#b3261e;font-weight:600}.columns{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1.2rem;margin-top:1.5rem}\
h2{font-size:1rem;margin:0}svg{width:100%;height:auto}p{color:#5b6473;margin:.2rem 0 .6rem}";
/// Height of a full bar.
const HEIGHT: f64 = 120.0;
/// Bars drawn of a column at most.
const BARS_MAX: usize = 12;

/// The page of a report on these two files.
pub(super) fn of(report: &Report, [reference, current]: &[String; 2]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Drift</title><style>{STYLE}</style>\
         <h1>Drift</h1><p>{} against {}: {} of {} columns have drifted (population stability index over {}, and more than \
         chance explains).</p>",
        escaped(current),
        escaped(reference),
        report.drifted().count(),
        report.columns.len(),
        report.limit
    );
    out += "<table><tr><th>column<th>drifted<th>PSI<th>Jensen–Shannon<th>Hellinger<th>KS<th>Wasserstein (σ)<th>mean (σ)<th>spread ×<th>missing</tr>";
    for column in &report.columns {
        row(&mut out, column);
    }
    out += "</table><div class=\"columns\">";
    for column in &report.columns {
        bars(&mut out, column);
    }
    out + "</div></html>\n"
}

fn row(out: &mut String, column: &ColumnDrift) {
    let order = column.order.as_ref();
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
    let (class, word) = match column.drifted {
        true => ("yes", "yes"),
        false => ("no", "no"),
    };
    let [reference, current] = &column.sides;
    let _ = write!(
        out,
        "<tr><td>{}<td class=\"{class}\">{word}<td>{:.4}<td>{:.4}<td>{:.4}<td>{}<td>{}<td>{}<td>{}<td>{} → {}</tr>",
        escaped(&column.name),
        column.psi,
        column.jensen_shannon,
        column.hellinger,
        number(order.map(|order| order.kolmogorov_smirnov)),
        number(order.and_then(|order| order.wasserstein)),
        number(order.map(|order| order.mean_shift)),
        number(order.map(|order| order.ln_sd.exp())),
        reference.missing,
        current.missing,
    );
}

fn bars(out: &mut String, column: &ColumnDrift) {
    let bins = &column.bins[..column.bins.len().min(BARS_MAX)];
    let shares = bins.iter().flat_map(|bin| [bin.reference, bin.current]);
    let most = shares.fold(f64::MIN_POSITIVE, f64::max);
    let _ = write!(
        out,
        "<section><h2>{}</h2><p>grey the reference, blue the current values, by share</p>\
         <svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Shares of {}\">",
        escaped(&column.name),
        30 * bins.len().max(1),
        HEIGHT + 4.0,
        escaped(&column.name)
    );
    for (index, bin) in bins.iter().enumerate() {
        for (share, offset, colour) in [(bin.reference, 3, "#b6bdc9"), (bin.current, 15, "#2f6fde")]
        {
            let height = HEIGHT * share / most;
            let _ = write!(
                out,
                "<rect x=\"{}\" y=\"{:.1}\" width=\"11\" height=\"{height:.1}\" fill=\"{colour}\"><title>{}: {:.2} %</title></rect>",
                30 * index + offset,
                HEIGHT - height,
                escaped(&bin.name),
                100.0 * share
            );
        }
    }
    *out += "</svg></section>";
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
