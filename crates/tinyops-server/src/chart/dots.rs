//! Dots: figures with the intervals that they lie in.

use maud::{Markup, html};

use super::names::shortened;
use super::{Scale, Tone, figure, nothing_yet, number};

/// Figures one below the other, each a dot on its interval.
#[derive(Debug, Clone)]
pub(crate) struct Dots<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    /// What the position is, with its unit.
    pub unit: &'a str,
    pub dots: Vec<Dot>,
    /// A level that matters, and its name.
    pub threshold: Option<(f64, &'a str)>,
    pub empty: &'a str,
}

#[derive(Debug, Clone)]
pub(crate) struct Dot {
    pub name: String,
    pub value: f64,
    /// Where the true value lies; none where too little is known.
    pub interval: Option<(f64, f64)>,
    /// What is said after the name, such as how many windows.
    pub counts: String,
    pub tone: Tone,
}

impl Dots<'_> {
    pub(crate) fn draw(&self) -> Markup {
        const ROW: f64 = 22.0;
        const WIDTH: f64 = 620.0;
        const LEFT: f64 = 190.0;
        const RIGHT: f64 = 92.0;
        const TOP: f64 = 16.0;
        let drawable = self.dots.iter().filter(|dot| dot.value.is_finite());
        let values = drawable.flat_map(|dot| {
            let (low, high) = dot.interval.unwrap_or((dot.value, dot.value));
            [dot.value, low, high]
        });
        let values = values.chain(self.threshold.map(|(level, _)| level));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if !low.is_finite() {
            return figure(self.title, self.note, &[], nothing_yet(self.empty));
        }
        let margin = (high - low) * 0.05;
        let x = Scale::new(low - margin, high + margin, LEFT, WIDTH - RIGHT);
        let bottom = TOP + ROW * self.dots.len() as f64 + 4.0;
        let names = shortened(self.dots.iter().map(|dot| dot.name.as_str()), 28);
        let body = html! {
            svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 34.0)) role="img" aria-label=(self.title) {
                @for tick in x.ticks(6) {
                    line.grid x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1=(TOP) y2=(bottom) {}
                    text.tick x=(px(x.at(tick))) y=(bottom + 14.0) text-anchor="middle" { (number(tick)) }
                }
                text.name x=(WIDTH - RIGHT) y=(bottom + 30.0) text-anchor="end" { (self.unit) }
                @if let Some((level, name)) = self.threshold {
                    line.threshold x1=(px(x.at(level))) x2=(px(x.at(level))) y1=(TOP) y2=(bottom) {}
                    text.threshold x=(px(x.at(level))) y=(TOP - 4.0) text-anchor="middle" { (name) " " (number(level)) }
                }
                @for (index, dot) in self.dots.iter().enumerate() {
                    @let y = TOP + ROW * index as f64 + ROW / 2.0;
                    text.label x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (names[index]) }
                    @if dot.value.is_finite() {
                        @if let Some((low, high)) = dot.interval {
                            line.interval x1=(px(x.at(low))) x2=(px(x.at(high))) y1=(y) y2=(y) stroke=(dot.tone.color()) stroke-width="2" {}
                        }
                        circle.dot cx=(px(x.at(dot.value))) cy=(y) r="4.2" fill=(dot.tone.color()) {
                            title { (dot.name) ": " (self.text(dot)) ", " (dot.counts) }
                        }
                    }
                    text.value x=(WIDTH - RIGHT + 8.0) y=(y + 4.0) { (number(dot.value)) tspan.muted { " · " (dot.counts) } }
                }
            }
        };
        figure(self.title, self.note, &[], body)
    }

    fn text(&self, dot: &Dot) -> String {
        match dot.interval {
            Some((low, high)) => format!(
                "{} ({} to {})",
                number(dot.value),
                number(low),
                number(high)
            ),
            None => number(dot.value),
        }
    }
}

fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
