//! Bars: named values, a distribution against its baseline, parts of a whole.

use maud::{Markup, html};

use super::names::shortened;
use super::{Scale, Tone, figure, nothing_yet, number};

/// Horizontal bars, one a name, in the order given.
#[derive(Debug, Clone)]
pub(crate) struct Bars<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    /// What the length is, with its unit.
    pub unit: &'a str,
    pub bars: Vec<Bar>,
    /// The length of a full bar; the longest one where it is none.
    pub full: Option<f64>,
    pub threshold: Option<(f64, &'a str)>,
    pub empty: &'a str,
}

#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub name: String,
    pub value: f64,
    pub tone: Tone,
}

impl Bars<'_> {
    pub(crate) fn draw(&self) -> Markup {
        const ROW: f64 = 24.0;
        const WIDTH: f64 = 480.0;
        const LEFT: f64 = 150.0;
        const RIGHT: f64 = 64.0;
        if self.bars.is_empty() {
            return figure(self.title, self.note, &[], nothing_yet(self.empty));
        }
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.value)
            .chain(self.threshold.map(|(level, _)| level))
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let x = Scale::new(0.0, self.full.unwrap_or(longest), LEFT, WIDTH - RIGHT);
        let bottom = ROW * self.bars.len() as f64 + 6.0;
        let names = shortened(self.bars.iter().map(|bar| bar.name.as_str()), 22);
        let body = html! {
            svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 34.0)) role="img" aria-label=(self.title) {
                @for tick in x.ticks(4) {
                    line.grid x1=(x.at(tick)) x2=(x.at(tick)) y1="0" y2=(bottom) {}
                    text.tick x=(x.at(tick)) y=(bottom + 14.0) text-anchor="middle" { (number(tick)) }
                }
                text.name x=(WIDTH - RIGHT) y=(bottom + 30.0) text-anchor="end" { (self.unit) }
                @for (index, bar) in self.bars.iter().enumerate() {
                    @let y = ROW * index as f64 + 4.0;
                    @let value = if bar.value.is_finite() { bar.value.max(0.0) } else { 0.0 };
                    text.label x=(LEFT - 8.0) y=(y + 13.0) text-anchor="end" { (names[index]) }
                    rect x=(LEFT) y=(y) width=((x.at(value) - LEFT).clamp(0.0, WIDTH - RIGHT - LEFT).max(1.0)) height="16" rx="2" fill=(bar.tone.color()) {
                        title { (bar.name) ": " (number(bar.value)) " " (self.unit) }
                    }
                    text.value x=((x.at(value) + 6.0).min(WIDTH - RIGHT + 6.0)) y=(y + 13.0) { (number(bar.value)) }
                }
                @if let Some((level, name)) = self.threshold {
                    line.threshold x1=(x.at(level)) x2=(x.at(level)) y1="0" y2=(bottom) {
                        title { (name) " " (number(level)) }
                    }
                }
            }
        };
        figure(self.title, self.note, &[], body)
    }
}

/// Shares per bin: what training saw, and what the fleet sees.
#[derive(Debug, Clone)]
pub(crate) struct Histogram<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    /// What the bins count, with its unit.
    pub x: &'a str,
    /// Inner edges between the bins, one fewer than bins.
    pub edges: Vec<f64>,
    /// Share per bin.
    pub baseline: Vec<f64>,
    pub live: Vec<f64>,
    pub empty: &'a str,
}

impl Histogram<'_> {
    pub(crate) fn draw(&self) -> Markup {
        const WIDTH: f64 = 280.0;
        const HEIGHT: f64 = 170.0;
        const LEFT: f64 = 44.0;
        const TOP: f64 = 22.0;
        const BOTTOM: f64 = 42.0;
        let bins = self.baseline.len();
        if bins == 0 || self.live.len() != bins {
            return figure(self.title, self.note, &[], nothing_yet(self.empty));
        }
        let bottom = HEIGHT - BOTTOM;
        let tallest = self
            .baseline
            .iter()
            .chain(&self.live)
            .copied()
            .fold(0.0, f64::max);
        let y = Scale::new(0.0, (tallest * 1.1).max(0.05), bottom, TOP);
        let x = Scale::new(0.0, bins as f64, LEFT, WIDTH - 8.0);
        let bin_width = (WIDTH - 8.0 - LEFT) / bins as f64;
        let body = html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                @for tick in y.ticks(4) {
                    line.grid x1=(LEFT) x2=(WIDTH - 8.0) y1=(y.at(tick)) y2=(y.at(tick)) {}
                    text.tick x=(LEFT - 6.0) y=(y.at(tick) + 4.0) text-anchor="end" { (number(tick * 100.0)) "%" }
                }
                text.name x="2" y="11" { "share of windows" }
                @for bin in 0..bins {
                    @let left = x.at(bin as f64);
                    @for (offset, value, name, tone) in [
                        (0.08, self.baseline[bin], "training", Tone::Quiet),
                        (0.5, self.live[bin], "live", Tone::Series(0)),
                    ] {
                        rect x=(round(left + offset * bin_width)) y=(round(y.at(value)))
                            width=(round(0.42 * bin_width)) height=(round(bottom - y.at(value))) fill=(tone.color()) {
                            title { (name) ", " (self.bin_text(bin)) ": " (number(value * 100.0)) "%" }
                        }
                    }
                }
                line.axis x1=(LEFT) x2=(WIDTH - 8.0) y1=(bottom) y2=(bottom) {}
                @for (index, edge) in self.edges.iter().enumerate() {
                    text.tick x=(x.at(index as f64 + 1.0)) y=(bottom + 15.0) text-anchor="middle" { (number(*edge)) }
                }
                text.name x=(WIDTH - 8.0) y=(HEIGHT - 6.0) text-anchor="end" { (self.x) }
            }
        };
        let legend = [
            ("training", Tone::Quiet, false),
            ("live", Tone::Series(0), false),
        ];
        figure(self.title, self.note, &legend, body)
    }

    fn bin_text(&self, bin: usize) -> String {
        match (
            bin.checked_sub(1).and_then(|i| self.edges.get(i)),
            self.edges.get(bin),
        ) {
            (None, Some(high)) => format!("below {}", number(*high)),
            (Some(low), None) => format!("above {}", number(*low)),
            (Some(low), Some(high)) => format!("{} to {}", number(*low), number(*high)),
            (None, None) => "all".to_owned(),
        }
    }
}

/// Parts of a whole in one bar, such as the devices of a rollout by state.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub name: &'static str,
    pub count: u64,
    pub tone: Tone,
}

impl Parts {
    pub(crate) fn draw(&self) -> Markup {
        let total: u64 = self.parts.iter().map(|part| part.count).sum();
        html! {
            div.parts {
                (self.bar())
                ul.legend {
                    @for part in self.parts.iter().filter(|part| part.count > 0) {
                        li { i.swatch style=(format!("--c:{}", part.tone.color())) {} (part.count) " " (part.name) }
                    }
                    @if total == 0 { li { "no devices yet" } }
                }
            }
        }
    }
}

impl Parts {
    /// The bar alone, where a table next to it serves as the legend.
    pub(crate) fn bar(&self) -> Markup {
        let total: u64 = self.parts.iter().map(|part| part.count).sum();
        html! {
            div.parts {
                div.bar role="img" aria-label="parts" {
                    @for part in self.parts.iter().filter(|part| part.count > 0) {
                        @let share = 100.0 * part.count as f64 / total as f64;
                        span style=(format!("width:{share:.2}%;background:{}", part.tone.color()))
                            title=(format!("{} {} of {total}", part.name, part.count)) {}
                    }
                }
            }
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
