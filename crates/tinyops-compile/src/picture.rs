//! The arena over time, for people: as text and as SVG.

use std::fmt::Write as _;

use crate::plan_memory::{MemoryPlan, Placed};

impl MemoryPlan {
    /// The arena as text: one line for each tensor, one column for each step.
    ///
    /// `#` marks the steps in which the bytes are in use, `+` those in which another tensor uses
    /// some of them too: the op writes over what it has read. Over several memory regions, a column
    /// says in which, and offsets count from its start.
    #[must_use]
    pub fn text(&self) -> String {
        let name_len = self
            .placed
            .iter()
            .map(|placed| placed.name.chars().count())
            .max();
        let name_len = name_len.unwrap_or(0).clamp(6, 40);
        let is_spread = self.regions.len() > 1;
        let mut text = format!(
            "arena {} bytes for at most {} in use at one step\n",
            self.arena_bytes, self.live_bytes_max
        );
        for (index, region) in self.regions.iter().enumerate().filter(|_| is_spread) {
            let _ = writeln!(text, "region {index} {} bytes", region.bytes);
        }
        let _ = writeln!(
            text,
            "{:<name_len$} {}{:>8} {:>8}  step 0..{}",
            "tensor",
            if is_spread { "region " } else { "" },
            "offset",
            "bytes",
            self.steps.len().saturating_sub(1),
        );
        for placed in &self.placed {
            let name: String = placed.name.chars().take(name_len).collect();
            let (offset, lifetime) = (placed.offset, placed.lifetime);
            let (region, start) = self.region_at(offset);
            let offset = offset - start;
            let region = match is_spread {
                true => format!("{region:>6} "),
                false => String::new(),
            };
            let steps = (0..self.steps.len() as u32).map(|step| match lifetime.contains(step) {
                true if self.is_shared(placed, step) => '+',
                true => '#',
                false => '.',
            });
            let steps: String = steps.collect();
            let _ = writeln!(
                text,
                "{name:<name_len$} {region}{offset:>8} {:>8}  {steps}",
                lifetime.bytes
            );
        }
        text
    }

    /// The region of a byte of the arena, and where that begins.
    fn region_at(&self, byte: u32) -> (usize, u32) {
        let regions = self.regions.iter().enumerate();
        let begun = regions.take_while(|(_, region)| region.offset <= byte);
        begun
            .last()
            .map_or((0, 0), |(index, region)| (index, region.offset))
    }

    /// Whether another tensor has some of the same bytes at a step.
    fn is_shared(&self, placed: &Placed, step: u32) -> bool {
        let others = self.placed.iter().filter(|&other| other != placed);
        let mut needed = others.filter(|other| other.lifetime.contains(step));
        needed.any(|other| other.overlaps(placed))
    }

    /// The arena as SVG: steps to the right, bytes upwards, one box for each tensor. Where two boxes
    /// lie over each other, an op writes over what it has read. A dashed line stands where a further
    /// memory region begins.
    #[must_use]
    pub fn svg(&self) -> String {
        const STEP_WIDTH: u32 = 56;
        const HEIGHT: u32 = 360;
        const MARGIN: u32 = 48;
        const FILLS: [&str; 6] = [
            "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
        ];
        let steps = self.steps.len().max(1) as u32;
        let (width, height) = (steps * STEP_WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN + 40);
        let scale = f64::from(HEIGHT) / f64::from(self.arena_bytes.max(1));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n\
             <title>Arena of {} bytes over {steps} steps</title>\n",
            self.arena_bytes
        );
        for (index, placed) in self.placed.iter().enumerate() {
            let lifetime = placed.lifetime;
            let x = MARGIN + lifetime.first * STEP_WIDTH;
            let box_width = (lifetime.last - lifetime.first + 1) * STEP_WIDTH - 4;
            let box_height = (f64::from(lifetime.bytes) * scale).max(1.0);
            let y = f64::from(MARGIN + HEIGHT) - f64::from(placed.offset) * scale - box_height;
            let (region, start) = self.region_at(placed.offset);
            let first = placed.offset - start;
            let (name, bytes, end) = (escape(&placed.name), lifetime.bytes, first + lifetime.bytes);
            let place = match self.regions.len() {
                0 | 1 => format!("{first} to {end}"),
                _ => format!("{first} to {end} of region {region}"),
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y:.1}\" width=\"{box_width}\" height=\"{box_height:.1}\" fill=\"{}\" fill-opacity=\"0.75\" stroke=\"#fff\">\
                 <title>{name}: {bytes} bytes, {place}</title></rect>",
                FILLS[index % FILLS.len()],
            );
            if box_height >= 14.0 {
                let (text_x, text_y) = (x + 4, y + box_height / 2.0 + 4.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{text_x}\" y=\"{text_y:.1}\" fill=\"#fff\">{bytes}</text>"
                );
            }
        }
        let base = MARGIN + HEIGHT;
        for (index, region) in self.regions.iter().enumerate().skip(1) {
            let y = f64::from(base) - f64::from(region.offset) * scale;
            let _ = writeln!(
                svg,
                "<line x1=\"{MARGIN}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#444\" stroke-dasharray=\"4 3\"/>\n\
                 <text x=\"4\" y=\"{y:.1}\" fill=\"#444\">{index}: {} B</text>",
                width - MARGIN,
                region.bytes,
            );
        }
        for (step, name) in self.steps.iter().enumerate() {
            let (x, y) = (MARGIN + step as u32 * STEP_WIDTH + 4, base + 14);
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" transform=\"rotate(35 {x} {y})\" fill=\"#444\">{}</text>",
                escape(&name.to_lowercase())
            );
        }
        let _ = write!(
            svg,
            "<text x=\"4\" y=\"{}\" fill=\"#444\">{} B</text>\n<line x1=\"{MARGIN}\" y1=\"{base}\" x2=\"{}\" y2=\"{base}\" stroke=\"#444\"/>\n</svg>\n",
            MARGIN - 6,
            self.arena_bytes,
            width - MARGIN,
        );
        svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
