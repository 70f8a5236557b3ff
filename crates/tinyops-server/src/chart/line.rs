//! Lines over time or over a number, with thresholds, spans and markers.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{Scale, Tone, figure, nothing_yet, number};
use crate::civil::Moment;

const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;

/// One line; a gap in the data (a value that is not finite) is a gap in the line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    pub tone: Tone,
    pub dashed: bool,
}

/// A moment worth a vertical line.
#[derive(Debug, Clone)]
pub(crate) struct Marker {
    pub x: f64,
    pub text: String,
    pub tone: Tone,
}

/// A stretch of x worth a shade.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub from: f64,
    pub to: f64,
    pub text: String,
    pub tone: Tone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XAxis<'a> {
    /// Unix milliseconds.
    Time,
    /// A plain number and what it counts.
    Number(&'a str),
}

/// A line chart before it is drawn.
#[derive(Debug, Clone)]
pub(crate) struct LineChart<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    pub x: XAxis<'a>,
    /// What y is, with its unit.
    pub y: &'a str,
    /// Values that y shows at least.
    pub y_range: Option<(f64, f64)>,
    pub series: Vec<Series>,
    pub markers: Vec<Marker>,
    pub spans: Vec<Span>,
    /// A level that matters, and its name.
    pub threshold: Option<(f64, &'a str)>,
    /// Of the drawing, in CSS pixels at its usual size: text keeps its size if this fits the card.
    pub width: f64,
    pub height: f64,
    /// What to do to see something here.
    pub empty: &'a str,
}

impl LineChart<'_> {
    pub(crate) fn draw(&self) -> Markup {
        let legend: Vec<_> = self
            .series
            .iter()
            .map(|series| (series.name.as_str(), series.tone, series.dashed))
            .collect();
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let drawable = points().filter(|(x, y)| x.is_finite() && y.is_finite());
        let body = match drawable.count() {
            0 => nothing_yet(self.empty),
            _ => self.plot(),
        };
        figure(self.title, self.note, &legend, body)
    }

    fn plot(&self) -> Markup {
        let right = self.width - RIGHT;
        let bottom = self.height - BOTTOM;
        let (x, y) = self.scales(bottom);
        let x_ticks = match self.x {
            XAxis::Time => x.time_ticks((self.width / 100.0) as usize),
            XAxis::Number(_) => x
                .ticks((self.width / 90.0) as usize)
                .into_iter()
                .map(|t| (t, number(t)))
                .collect(),
        };
        let x_name = match self.x {
            XAxis::Time => "time (UTC)",
            XAxis::Number(name) => name,
        };
        html! {
            svg viewBox=(format!("0 0 {} {}", self.width, self.height)) role="img" aria-label=(self.title) {
                @for span in &self.spans { (draw_span(span, &x, right, bottom)) }
                @for tick in y.ticks(5) {
                    line.grid x1=(LEFT) x2=(right) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                    text.tick x=(LEFT - 8.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (number(tick)) }
                }
                @for (tick, text) in &x_ticks {
                    line.axis x1=(px(x.at(*tick))) x2=(px(x.at(*tick))) y1=(bottom) y2=(bottom + 4.0) {}
                    text.tick x=(px(x.at(*tick))) y=(bottom + 18.0) text-anchor="middle" { (text) }
                }
                line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                text.name x=(right) y=(self.height - 4.0) text-anchor="end" { (x_name) }
                text.name x="4" y="12" { (self.y) }
                @if let Some((level, name)) = self.threshold {
                    line.threshold x1=(LEFT) x2=(right) y1=(px(y.at(level))) y2=(px(y.at(level))) {}
                    text.threshold x=(right) y=(px(y.at(level) - 5.0)) text-anchor="end" {
                        (name) " " (number(level))
                    }
                }
                @for (index, marker) in self.markers.iter().enumerate() {
                    (draw_marker(marker, index, &x, right, bottom))
                }
                @for series in &self.series { (self.draw_series(series, &x, &y)) }
            }
        }
    }

    fn scales(&self, bottom: f64) -> (Scale, Scale) {
        let mut x_range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut y_range = self.y_range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        let grow = |range: &mut (f64, f64), value: f64| {
            if value.is_finite() {
                *range = (range.0.min(value), range.1.max(value));
            }
        };
        for (x, y) in self.series.iter().flat_map(|series| &series.points) {
            grow(&mut x_range, *x);
            grow(&mut y_range, *y);
        }
        if let Some((level, _)) = self.threshold {
            grow(&mut y_range, level);
        }
        if self.y_range.is_none() {
            let margin = (y_range.1 - y_range.0) * 0.08;
            // A quantity that is never negative starts at zero, so that heights compare.
            let low = if y_range.0 >= 0.0 {
                0.0
            } else {
                y_range.0 - margin
            };
            y_range = (low, y_range.1 + margin);
        }
        (
            Scale::new(x_range.0, x_range.1, LEFT, self.width - RIGHT),
            Scale::new(y_range.0, y_range.1, bottom, TOP),
        )
    }

    fn draw_series(&self, series: &Series, x: &Scale, y: &Scale) -> Markup {
        /// More dots than this are a smear; the line says it then.
        const DOTS_MAX: usize = 60;
        let color = series.tone.color();
        let visible: Vec<(f64, f64)> = series
            .points
            .iter()
            .copied()
            .filter(|(at, value)| at.is_finite() && value.is_finite())
            .collect();
        html! {
            path.line.dashed[series.dashed] d=(path(&series.points, x, y)) stroke=(color) {}
            @if visible.len() <= DOTS_MAX {
                @for (at, value) in visible {
                    circle.dot cx=(px(x.at(at))) cy=(px(y.at(value))) r="2.6" fill=(color) {
                        title { (series.name) ": " (number(value)) " at " (self.x_text(at)) }
                    }
                }
            }
        }
    }

    fn x_text(&self, at: f64) -> String {
        match self.x {
            XAxis::Time => Moment::of_ms(at as i64).full(),
            XAxis::Number(_) => number(at),
        }
    }
}

fn draw_span(span: &Span, x: &Scale, right: f64, bottom: f64) -> Markup {
    let clamp = |at: f64| x.at(at).clamp(LEFT, right);
    let (from, to) = (clamp(span.from), clamp(span.to));
    html! {
        @if to > from {
            rect.span x=(px(from)) y=(TOP) width=(px(to - from)) height=(px(bottom - TOP)) fill=(span.tone.color()) {
                title { (span.text) }
            }
            @if to - from > 7.0 * span.text.chars().count() as f64 {
                text.spantext x=(px(from + 6.0)) y=(TOP + 14.0) fill=(span.tone.color()) { (span.text) }
            }
        }
    }
}

fn draw_marker(marker: &Marker, index: usize, x: &Scale, right: f64, bottom: f64) -> Markup {
    let at = x.at(marker.x);
    // Texts of neighbours alternate between lines, and turn around at the right edge.
    let y = bottom - 6.0 - 14.0 * (index % 3) as f64;
    let turned = at > right - 7.0 * marker.text.chars().count() as f64;
    html! {
        @if x.holds(marker.x) {
            line.marker x1=(px(at)) x2=(px(at)) y1=(TOP) y2=(bottom) stroke=(marker.tone.color()) {
                title { (marker.text) " at " (Moment::of_ms(marker.x as i64).full()) }
            }
            text.marker x=(px(if turned { at - 4.0 } else { at + 4.0 })) y=(px(y))
                text-anchor=(if turned { "end" } else { "start" }) fill=(marker.tone.color()) { (marker.text) }
        }
    }
}

fn path(points: &[(f64, f64)], x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for (at, value) in points {
        if at.is_finite() && value.is_finite() {
            let command = if pen_down { 'L' } else { 'M' };
            write!(path, "{command}{} {}", px(x.at(*at)), px(y.at(*value)))
                .expect("a string takes any text");
        }
        pen_down = at.is_finite() && value.is_finite();
    }
    path
}

/// A pixel coordinate with as many digits as the eye can use.
fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
