//! Charts drawn on the server as SVG: no script, no library, themed by the page's style sheet.
//!
//! Every chart has a title, named axes with units, a legend where there is more than one
//! series, a tooltip on each mark, and a sentence where there is nothing to draw yet.

mod axis;
mod bars;
mod dots;
mod heat;
mod line;
mod names;
mod wave;

pub(crate) use axis::{Scale, number};
pub(crate) use bars::{Bar, Bars, Histogram, Part, Parts};
pub(crate) use dots::{Dot, Dots};
pub(crate) use heat::Confusion;
pub(crate) use line::{LineChart, Marker, Series, Span, XAxis};
pub(crate) use wave::Wave;

use maud::{Markup, html};

/// What a mark means; the style sheet gives it a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// One of six colours that tell series apart.
    Series(usize),
    Good,
    Warn,
    Bad,
    /// Context, such as a baseline.
    Quiet,
}

impl Tone {
    /// The colour as a CSS variable.
    pub(crate) fn color(self) -> &'static str {
        const SERIES: [&str; 6] = [
            "var(--s0)",
            "var(--s1)",
            "var(--s2)",
            "var(--s3)",
            "var(--s4)",
            "var(--s5)",
        ];
        match self {
            Tone::Series(index) => SERIES[index % SERIES.len()],
            Tone::Good => "var(--good)",
            Tone::Warn => "var(--warn)",
            Tone::Bad => "var(--bad)",
            Tone::Quiet => "var(--quiet)",
        }
    }
}

/// A frame around a chart: title, a line of explanation, legend, body.
fn figure(title: &str, note: Option<&str>, legend: &[(&str, Tone, bool)], body: Markup) -> Markup {
    html! {
        figure.chart {
            figcaption {
                strong { (title) }
                @if let Some(note) = note { span.note { (note) } }
            }
            @if legend.len() > 1 {
                ul.legend {
                    @for (name, tone, dashed) in legend {
                        li {
                            i.swatch.dashed[*dashed] style=(format!("--c:{}", tone.color())) {}
                            (name)
                        }
                    }
                }
            }
            (body)
        }
    }
}

/// What stands where a chart will be, and what to do to see one; what stands between backticks is code.
fn nothing_yet(hint: &str) -> Markup {
    html! {
        p.empty {
            @for (index, part) in hint.split('`').enumerate() {
                @if index % 2 == 1 { code { (part) } } @else { (part) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
