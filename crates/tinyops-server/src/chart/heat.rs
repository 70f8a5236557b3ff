//! A confusion matrix as a heat map: true class down, predicted class across.

use maud::{Markup, html};

use super::names::shortened;
use super::{figure, nothing_yet, number};

/// Counts by true and predicted class.
#[derive(Debug, Clone)]
pub(crate) struct Confusion<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    pub labels: &'a [String],
    /// `[truth][predicted]`.
    pub counts: &'a [Vec<u64>],
    pub empty: &'a str,
}

impl Confusion<'_> {
    pub(crate) fn draw(&self) -> Markup {
        const LEFT: f64 = 136.0;
        const TOP: f64 = 86.0;
        /// Column for the share of each class that was found.
        const RECALL: f64 = 62.0;
        let classes = self.labels.len();
        let fits =
            self.counts.len() == classes && self.counts.iter().all(|row| row.len() == classes);
        if classes == 0 || !fits {
            return figure(self.title, self.note, &[], nothing_yet(self.empty));
        }
        let cell = (380.0 / classes as f64).clamp(16.0, 52.0);
        let side = cell * classes as f64;
        let (width, height) = (LEFT + side + RECALL, TOP + side + 8.0);
        let [down, across] =
            [16, 14].map(|count| shortened(self.labels.iter().map(String::as_str), count));
        let body = html! {
            svg.heat viewBox=(format!("0 0 {width} {height}")) style=(format!("max-width:{}px", width * 1.15))
                role="img" aria-label=(self.title) {
                text.name x=(LEFT - 8.0) y=(TOP - 8.0) text-anchor="end" { "true ↓  predicted →" }
                text.name x=(LEFT + side + RECALL - 4.0) y=(TOP - 8.0) text-anchor="end" { "found" }
                @for index in 0..classes {
                    @let middle = (index as f64 + 0.5) * cell;
                    text.label x=(LEFT - 8.0) y=(TOP + middle + 4.0) text-anchor="end" { (down[index]) }
                    text.label transform=(format!("translate({} {}) rotate(-45)", LEFT + middle, TOP - 8.0)) { (across[index]) }
                }
                @for (truth, row) in self.counts.iter().enumerate() {
                    @let total: u64 = row.iter().sum();
                    @for (predicted, count) in row.iter().enumerate() {
                        (self.cell(truth, predicted, *count, total, cell, (LEFT, TOP)))
                    }
                    @if total > 0 {
                        text.value x=(LEFT + side + RECALL - 4.0) y=(TOP + (truth as f64 + 0.5) * cell + 4.0) text-anchor="end" {
                            (number(100.0 * row[truth] as f64 / total as f64)) "%"
                        }
                    }
                }
            }
        };
        figure(self.title, self.note, &[], body)
    }

    fn cell(
        &self,
        truth: usize,
        predicted: usize,
        count: u64,
        total: u64,
        cell: f64,
        (left, top): (f64, f64),
    ) -> Markup {
        let share = if total > 0 {
            count as f64 / total as f64
        } else {
            0.0
        };
        let color = if truth == predicted {
            "var(--good)"
        } else {
            "var(--bad)"
        };
        // Small shares stay visible: a few errors are what one looks for.
        let strength = if count == 0 {
            0.0
        } else {
            0.12 + 0.88 * share.sqrt()
        };
        let (x, y) = (left + predicted as f64 * cell, top + truth as f64 * cell);
        html! {
            rect.cell x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0) rx="2" {}
            rect x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0) rx="2" fill=(color) fill-opacity=(format!("{strength:.2}")) {
                title {
                    (self.labels[truth]) " taken for " (self.labels[predicted]) ": " (count) " of " (total)
                }
            }
            @if count > 0 && cell >= 22.0 {
                text.count.strong[strength > 0.55] x=(x + cell / 2.0) y=(y + cell / 2.0 + 4.0) text-anchor="middle" { (count) }
            }
        }
    }
}
