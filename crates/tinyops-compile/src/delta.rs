//! Writes deltas: what makes one capsule, or payload, out of another on a device that holds it.
//!
//! The format and its decoder are `tinyops_wire::delta`. Where weights, biases and tables lie this
//! module reads from both images' plans, and for each it takes what comes out shortest.

mod parts;
mod writer;

use std::collections::BTreeMap;
use std::ops::Range;

use parts::{Kind, Part, parts};
use tinyops_wire::Digest;
use tinyops_wire::delta::{HEADER_BYTES, Header, Mode, Span};
use writer::Writer;

/// From how many on bytes that are the same in both images get a span of their own: what is worth
/// it depends on what lies about them.
const SAME_LEAST: [usize; 4] = [3, 5, 10, 20];

/// Most bytes by which a delta may exceed the image that it makes.
pub const DELTA_EXCESS_MAX: usize = 64;

/// Writes the delta that makes `new` out of `old`; both are capsules or payloads, or any bytes.
/// With an empty `old` it is `new`, packed. The same arguments give the same bytes, never more than
/// `new` has and [`DELTA_EXCESS_MAX`].
///
/// # Errors
/// [`DeltaTooLarge`] from an image of 1 GiB on.
pub fn delta(old: &[u8], new: &[u8]) -> Result<Vec<u8>, DeltaTooLarge> {
    const LIMIT: usize = 1 << 30;
    if old.len() >= LIMIT || new.len() >= LIMIT {
        return Err(DeltaTooLarge);
    }
    let header = Header {
        base: Header::base_of(old),
        result: Digest::of(new).prefix(),
        bytes: new.len() as u32,
    };
    let images = Images { old, new };
    let mut writer = Writer::new();
    for (span, range) in images.merged(images.spans()) {
        writer.span(&span, &new[range], old);
    }
    let mut coded = writer.finish();
    let mut writer = Writer::new();
    if let Some(last) = new.len().checked_sub(1) {
        let span = span_of(Mode::Raw, 0..last + 1, 0);
        writer.span(&span, new, old);
    }
    let raw = writer.finish();
    if raw.len() < coded.len() {
        coded = raw;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + coded.len());
    bytes.extend(header.to_bytes());
    bytes.extend(coded);
    Ok(bytes)
}

/// An image has 1 GiB or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an image of 1 GiB or more has no delta")]
pub struct DeltaTooLarge;

type Spans = Vec<(Span, Range<usize>)>;

#[derive(Clone, Copy)]
struct Images<'a> {
    old: &'a [u8],
    new: &'a [u8],
}

impl Images<'_> {
    /// How each part of the new image is best made, in order.
    fn spans(&self) -> Spans {
        let old_parts: BTreeMap<_, _> = parts(self.old)
            .into_iter()
            .map(|part| (part.key, part))
            .collect();
        let mut spans = Vec::new();
        let mut writer = Writer::new();
        let new_parts = parts(self.new);
        let mut rest = &new_parts[..];
        while let [first, others @ ..] = rest {
            // What biases cost depends on how the weights before them were written.
            let followers = match first.kind {
                Kind::Weights(_) => others
                    .iter()
                    .take_while(|part| !matches!(part.kind, Kind::Weights(_)))
                    .take(3)
                    .count(),
                _ => 0,
            };
            let (group, left) = rest.split_at(1 + followers);
            rest = left;
            let (chosen, state) = self.group(&writer, group, &old_parts);
            spans.extend(chosen);
            writer.join(state);
            writer.bytes.clear();
        }
        spans
    }

    /// The best of all ways of the first part, with those parts after it that depend on it.
    fn group(
        &self,
        writer: &Writer,
        group: &[Part],
        old_parts: &BTreeMap<(u16, u32, u8), Part>,
    ) -> (Spans, Writer) {
        let [first, followers @ ..] = group else {
            return (Vec::new(), writer.fork());
        };
        let first_ways = self.ways(first, old_parts.get(&first.key));
        let mut best: Option<(Spans, Writer)> = None;
        for spans in first_ways {
            let mut state = self.written(writer, &spans);
            let mut spans = spans;
            for part in followers {
                let ways = self.ways(part, old_parts.get(&part.key));
                let states = ways.into_iter().map(|spans| {
                    let state = self.written(&state, &spans);
                    (spans, state)
                });
                let least = states.min_by(|(_, a), (_, b)| a.cost().total_cmp(&b.cost()));
                let (more, fork) = least.expect("a part has a way");
                spans.extend(more);
                state.join(fork);
            }
            if best
                .as_ref()
                .is_none_or(|(_, least)| state.cost() < least.cost())
            {
                best = Some((spans, state));
            }
        }
        best.expect("a part has a way")
    }

    /// The state after some spans.
    fn written(&self, writer: &Writer, spans: &Spans) -> Writer {
        let mut fork = writer.fork();
        for (span, range) in spans {
            fork.span(span, &self.new[range.clone()], self.old);
        }
        fork
    }

    /// All ways to make a part.
    fn ways(&self, part: &Part, old: Option<&Part>) -> Vec<Spans> {
        let range = part.range.clone();
        let same_size = old.filter(|old| old.range.len() == range.len());
        let old_range = same_size.map(|old| old.range.clone());
        let mut ways = Vec::new();
        let mut way = |span: Span| ways.push(vec![(span, range.clone())]);
        if let Some(old_range) = &old_range
            && self.old[old_range.clone()] == self.new[range.clone()]
        {
            way(span_of(Mode::Skip, range.clone(), old_range.start));
            // Nothing is shorter; but what follows may need sums of weights that did not change.
            return ways;
        }
        way(span_of(Mode::Raw, range.clone(), 0));
        let mut numbers = |width: u8, layout, zero_point| {
            if !range.len().is_multiple_of(usize::from(width)) {
                return;
            }
            let form = Span {
                width,
                layout,
                zero_point,
                ..span_of(Mode::Fresh, range.clone(), 0)
            };
            way(form);
            if let Some(old_range) = &old_range {
                way(Span {
                    mode: Mode::Delta,
                    old: old_range.start as u32,
                    ..form
                });
            }
        };
        match part.kind {
            Kind::Weights(layout) => {
                numbers(1, None, 0);
                numbers(1, Some(layout), 0);
            }
            Kind::Numbers { width, zero_point } => {
                numbers(width, None, 0);
                if zero_point != 0 {
                    numbers(width, None, zero_point);
                }
            }
            Kind::Bytes => {
                numbers(1, None, 0);
                numbers(4, None, 0);
                if let Some(old) = old {
                    let edited = SAME_LEAST.map(|same_least| {
                        self.edited(range.clone(), old.range.clone(), same_least)
                    });
                    ways.extend(edited);
                }
            }
        }
        ways
    }

    /// Bytes as stretches that are the same in the old image, and what lies between.
    fn edited(&self, new: Range<usize>, old: Range<usize>, same_least: usize) -> Spans {
        let mut spans = Vec::new();
        let common =
            |a: &mut dyn Iterator<Item = (&u8, &u8)>| a.take_while(|(a, b)| a == b).count();
        let [new_bytes, old_bytes] = [&self.new[new.clone()], &self.old[old.clone()]];
        let (mut at, shorter) = (0, new.len().min(old.len()));
        // From the start as far as both go; from the end what is left of the new one.
        let tail = match new.len() == old.len() {
            true => 0,
            false => {
                let head = common(&mut new_bytes.iter().zip(old_bytes));
                let tail = common(&mut new_bytes.iter().rev().zip(old_bytes.iter().rev()));
                tail.min(shorter - head)
            }
        };
        let body = shorter - tail;
        while at < body {
            let pairs = &mut new_bytes[at..body].iter().zip(&old_bytes[at..body]);
            let same = common(pairs);
            let is_end = at + same == body;
            if same >= same_least || is_end && same > 0 {
                let range = new.start + at..new.start + at + same;
                spans.push((span_of(Mode::Skip, range.clone(), old.start + at), range));
                at += same;
                continue;
            }
            let differs = differing(&new_bytes[at..body], &old_bytes[at..body], same_least);
            let range = new.start + at..new.start + at + differs;
            spans.push(self.literal(range, Some(old.start + at)));
            at += differs;
        }
        let inserted = new.start + body..new.end - tail;
        if !inserted.is_empty() {
            spans.push(self.literal(inserted, None));
        }
        if tail > 0 {
            let range = new.end - tail..new.end;
            spans.push((span_of(Mode::Skip, range.clone(), old.end - tail), range));
        }
        spans
    }

    /// A stretch of bytes that differ, written alone in the shortest way.
    fn literal(&self, range: Range<usize>, old: Option<usize>) -> (Span, Range<usize>) {
        let mut ways = vec![
            span_of(Mode::Raw, range.clone(), 0),
            span_of(Mode::Fresh, range.clone(), 0),
        ];
        ways.extend(old.map(|old| span_of(Mode::Delta, range.clone(), old)));
        let cost = |span: &Span| {
            let mut writer = Writer::new();
            writer.span(span, &self.new[range.clone()], self.old);
            writer.cost()
        };
        let least = ways
            .into_iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .expect("three ways");
        (least, range)
    }

    /// Spans that go on where the one before ended become one.
    fn merged(&self, spans: Spans) -> Spans {
        let mut merged: Spans = Vec::new();
        for (span, range) in spans {
            if let Some((last, last_range)) = merged.last_mut()
                && last.mode == span.mode
                && (span.mode == Mode::Raw
                    || span.mode == Mode::Skip && last.old + last.bytes == span.old)
            {
                last.bytes += span.bytes;
                last_range.end = range.end;
                continue;
            }
            merged.push((span, range));
        }
        merged
    }
}

/// How many bytes there are before the next stretch that gets a span of its own.
fn differing(new: &[u8], old: &[u8], same_least: usize) -> usize {
    let mut same = 0;
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        same = if new == old { same + 1 } else { 0 };
        if same == same_least {
            return index + 1 - same_least;
        }
    }
    new.len() - if same < new.len() { same } else { 0 }
}

/// A span of bytes.
fn span_of(mode: Mode, range: Range<usize>, old: usize) -> Span {
    Span {
        mode,
        bytes: range.len() as u32,
        old: old as u32,
        width: 1,
        layout: None,
        zero_point: 0,
    }
}
