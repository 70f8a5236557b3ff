//! Readings of a recording over time, as a picture of its own: a file that a page shows, and not a part of it.

use std::fmt::Write as _;
use std::ops::Range;

use maud::{Markup, html};

use super::number;

const WIDTH: f64 = 640.0;
const LANE: f64 = 58.0;
const GAP: f64 = 6.0;
/// Lanes at most: what is below would be too flat to see.
const LANES_MAX: usize = 4;
/// Cells of an image at most, each way.
const CELLS_MAX: usize = 64;

/// As the pages' style sheet has them, which a picture does not see.
const STYLE: &str = "text{font:11px system-ui,sans-serif;fill:#5b6672;paint-order:stroke;stroke:#eef0f3;stroke-width:3px}.lane{fill:#eef0f3}.mark{fill:#d9700d;opacity:.22}\
.edge{stroke:#d9700d;stroke-width:1}path{fill:none;stroke-width:1.2;stroke-linejoin:round}\
.c0{stroke:#2563eb}.c1{stroke:#0f8a7d}.c2{stroke:#8b46c8}.c3{stroke:#c2317a}\
@media(prefers-color-scheme:dark){text{fill:#94a1af;stroke:#202731}.lane{fill:#202731}.mark{fill:#f2994a}.edge{stroke:#f2994a}\
.c0{stroke:#6ea1ff}.c1{stroke:#3fc1b0}.c2{stroke:#b98bea}.c3{stroke:#ef7fb4}}";

/// A recording before it is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Wave<'a> {
    /// Name and unit of each channel.
    pub channels: Vec<(&'a str, &'a str)>,
    /// Interleaved, as samples have them.
    pub readings: &'a [f32],
    /// Readings per second and channel; 0 where time means nothing.
    pub rate_hz: f64,
    /// Readings that are meant, where these are not all.
    pub marked: Option<Range<usize>>,
    /// Height and width, if it is an image.
    pub image: Option<(usize, usize)>,
}

impl Wave<'_> {
    /// The picture, a whole file of SVG.
    pub(crate) fn draw(&self) -> String {
        let (height, body) = match self.image {
            Some(size) => self.image(size),
            None => self.lanes(),
        };
        let picture = html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) {
                style { (maud::PreEscaped(STYLE)) }
                (body)
            }
        };
        picture.into_string()
    }

    fn lanes(&self) -> (f64, Markup) {
        let width = self.channels.len().max(1);
        let len = self.readings.len() / width;
        let shown = width.min(LANES_MAX);
        let bottom = shown as f64 * (LANE + GAP) - GAP;
        let x = |reading: usize| WIDTH * reading as f64 / len.max(1) as f64;
        let end = match self.rate_hz > 0.0 {
            true => format!("{} s", number(len as f64 / self.rate_hz)),
            false => format!("{len} readings"),
        };
        let body = html! {
            @for (lane, (name, unit)) in self.channels.iter().take(shown).enumerate() {
                @let top = lane as f64 * (LANE + GAP);
                @let (path, low, high) = self.lane(lane, top);
                rect.lane x="0" y=(top) width=(WIDTH) height=(LANE) rx="4" {}
                path class=(format!("c{lane}")) d=(path) {}
                text x="6" y=(top + 12.0) { (name) @if !unit.is_empty() { ", " (unit) } }
                text x=(WIDTH - 6.0) y=(top + 12.0) text-anchor="end" { (number(high.into())) }
                text x=(WIDTH - 6.0) y=(top + LANE - 4.0) text-anchor="end" { (number(low.into())) }
            }
            @if let Some(marked) = &self.marked {
                @let (from, to) = (x(marked.start.min(len)), x(marked.end.min(len)));
                rect.mark x=(px(from)) y="0" width=(px(to - from)) height=(bottom) {}
                @for edge in [from, to] { line.edge x1=(px(edge)) x2=(px(edge)) y1="0" y2=(bottom) {} }
            }
            text x="0" y=(bottom + 14.0) { "0" }
            @if width > shown {
                text x=(WIDTH / 2.0) y=(bottom + 14.0) text-anchor="middle" { "and " (width - shown) " channels more" }
            }
            text x=(WIDTH) y=(bottom + 14.0) text-anchor="end" { (end) }
        };
        (bottom + 20.0, body)
    }

    /// The line of one channel: of each column of the picture its least and greatest reading.
    fn lane(&self, channel: usize, top: f64) -> (String, f32, f32) {
        let width = self.channels.len().max(1);
        let of_channel = || self.readings.iter().skip(channel).step_by(width).copied();
        let (low, high) = of_channel().fold(
            (f32::INFINITY, f32::NEG_INFINITY),
            |(low, high), reading| (low.min(reading), high.max(reading)),
        );
        if !low.is_finite() {
            return (String::new(), 0.0, 0.0);
        }
        // Two readings may lie further apart than the largest of them.
        let above = |reading: f32| f64::from(reading) - f64::from(low);
        let span = above(high);
        let y = |reading: f32| match span > 0.0 {
            true => top + LANE - 5.0 - (LANE - 10.0) * above(reading) / span,
            false => top + LANE / 2.0,
        };
        let len = self.readings.len() / width;
        let column = |index: usize| (index as f64 * WIDTH / len as f64) as usize;
        let mut path = String::new();
        let mut open: Option<(usize, f32, f32)> = None;
        let end = |path: &mut String, (at, low, high): (usize, f32, f32)| {
            let word = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{word}{at} {}", px(y(high)));
            if low < high {
                let _ = write!(path, "L{at} {}", px(y(low)));
            }
        };
        for (index, reading) in of_channel().enumerate() {
            let at = column(index);
            open = match open {
                Some((last, low, high)) if last == at => {
                    Some((at, low.min(reading), high.max(reading)))
                }
                done => {
                    if let Some(done) = done {
                        end(&mut path, done);
                    }
                    Some((at, reading, reading))
                }
            };
        }
        if let Some(done) = open {
            end(&mut path, done);
        }
        (path, low, high)
    }

    /// An image in grey, by the mean of its channels.
    fn image(&self, (height, width): (usize, usize)) -> (f64, Markup) {
        let channels = self.channels.len().max(1);
        let step = height.max(width).div_ceil(CELLS_MAX).max(1);
        let (rows, columns) = (height.div_ceil(step), width.div_ceil(step));
        let cell = (180.0 / rows.max(columns).max(1) as f64).max(1.0);
        let value = |row: usize, column: usize| {
            let first = (row * step * width + column * step) * channels;
            let of = self.readings.get(first..first + channels).unwrap_or(&[]);
            of.iter().copied().map(f64::from).sum::<f64>() / channels as f64
        };
        let all = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let (low, high) = all().fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(low, high), (row, column)| {
                let value = value(row, column);
                (low.min(value), high.max(value))
            },
        );
        let grey = |value: f64| match high > low {
            true => (255.0 * (value - low) / (high - low)) as u8,
            false => 128,
        };
        let left = (WIDTH - cell * columns as f64) / 2.0;
        let body = html! {
            @for (row, column) in all() {
                @let shade = grey(value(row, column));
                rect x=(px(left + cell * column as f64)) y=(px(cell * row as f64)) width=(px(cell + 0.1)) height=(px(cell + 0.1))
                    fill=(format!("#{shade:02x}{shade:02x}{shade:02x}")) {}
            }
        };
        (cell * rows as f64, body)
    }
}

fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(readings: &[f32]) -> Wave<'_> {
        Wave {
            channels: vec![("x", "g"), ("<y>", "")],
            readings,
            rate_hz: 2.0,
            marked: None,
            image: None,
        }
    }

    #[test]
    fn each_channel_has_a_lane_with_its_own_scale() {
        let drawn = wave(&[0.0, 5.0, 1.0, 5.0, 0.0, 5.0, -1.0, 5.0]).draw();
        // Four readings lie 160 apart; the greatest is at the top, the least at the bottom, one that never changes between.
        assert!(drawn.contains("M0 29L160 5L320 29L480 53"), "{drawn}");
        assert!(drawn.contains("M0 93L160 93L320 93L480 93"), "{drawn}");
        assert!(drawn.contains("x, g") && drawn.contains("&lt;y&gt;") && drawn.contains(">2 s<"));
        assert!(!drawn.contains("class=\"mark\""));
        let marked = Wave {
            marked: Some(1..3),
            ..wave(&[0.0; 8])
        };
        assert!(
            marked
                .draw()
                .contains("class=\"mark\" x=\"160\" y=\"0\" width=\"320\"")
        );
    }

    #[test]
    fn a_long_recording_is_as_small_as_a_short_one_and_shows_its_peaks() {
        let mut readings = vec![0.0; 400_000];
        readings[201_000] = 3.0;
        let drawn = wave(&readings).draw();
        assert!(drawn.len() < 20_000, "{}", drawn.len());
        assert!(
            drawn.contains("L321 5L321 53"),
            "one reading of 200,000 is seen"
        );
    }

    #[test]
    fn nothing_and_an_image_are_drawn() {
        assert!(wave(&[]).draw().contains("<svg"));
        let image = Wave {
            channels: vec![("grey", "")],
            image: Some((2, 2)),
            ..wave(&[0.0, 1.0, 0.5, 1.0])
        };
        let drawn = image.draw();
        assert!(drawn.contains("#000000") && drawn.contains("#7f7f7f"));
        assert_eq!(drawn.matches("#ffffff").count(), 2);
        let large = vec![0.0; 300 * 400];
        let image = Wave {
            image: Some((300, 400)),
            channels: vec![("grey", "")],
            ..wave(&large)
        };
        assert!(image.draw().matches("<rect").count() <= CELLS_MAX * CELLS_MAX);
        // One row is seen, too, and its last column.
        let mut row = vec![0.0; 300];
        row[295] = 1.0;
        for size in [(1, 300), (300, 1)] {
            let image = Wave {
                image: Some(size),
                channels: vec![("grey", "")],
                ..wave(&row)
            };
            let drawn = image.draw();
            assert_eq!(drawn.matches("<rect").count(), 60, "{drawn}");
            assert_eq!(drawn.matches("#ffffff").count(), 1);
        }
    }

    #[test]
    fn readings_as_far_apart_as_numbers_go_are_drawn() {
        let far = [f32::MAX, 0.0, f32::MIN, 0.0, 0.0, 0.0];
        let drawn = wave(&far).draw();
        assert!(drawn.contains("M0 5L213 53L426 29"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        let image = Wave {
            channels: vec![("grey", "")],
            image: Some((1, 2)),
            ..wave(&[f32::MAX, f32::MIN])
        };
        let drawn = image.draw();
        assert!(
            drawn.contains("#ffffff") && drawn.contains("#000000"),
            "{drawn}"
        );
    }
}
