//! The detectors' memory as bytes: versioned, little-endian, exact.
//!
//! ```text
//! offset  bytes
//!  0       1    version 2; memories of version 1, which knew no fourth powers, begin anew
//!  1       1    1 learning device, 2 watching device, 3 pool, 4 a device whose features were moved: 2, then 1
//!  2       1    channels
//!  3       1    bit 0 with histograms, bit 1 of features that were moved back to training, bit 2 answered by a
//!               head of the device's own
//!  4       1    classes
//!  5       ...  counts as u32, numbers as f32 (devices) or f64 (pools), each list of the layout's length
//! ```

use tinyops_wire::frame::Flags;

use crate::detector::{Layout, Memory, Point, Pool, Watching, Workspace};

const VERSION: u8 = 2;
const LEARNING: u8 = 1;
const WATCHING: u8 = 2;
const POOL: u8 = 3;
const SETTLING: u8 = 4;

/// More than any cohort's window, so that damaged bytes cannot ask for a huge list.
const LIST_MAX: usize = 1 << 24;

impl Point {
    /// The same, as the flags of its report say that it came about.
    #[must_use]
    pub fn under(self, flags: Flags) -> Point {
        self.restandardized(flags.has(Flags::RESTANDARDIZED))
            .answered_by_own_head(flags.has(Flags::OWN_HEAD))
    }

    /// The same, of features that the device has moved back to training: that begins a new baseline, as going back does.
    #[must_use]
    pub fn restandardized(mut self, is_restandardized: bool) -> Point {
        self.layout.is_restandardized = is_restandardized;
        self
    }

    /// The same, answered by a head of the device's own: its confidence and its classes are not to be held against those
    /// of the installed one, so that begins a new baseline too, as going back does.
    #[must_use]
    pub fn answered_by_own_head(mut self, has_own_head: bool) -> Point {
        self.layout.has_own_head = has_own_head;
        self
    }
}

impl Memory {
    /// Whether its newest reports were answered by a head of the device's own.
    pub fn has_own_head(&self) -> bool {
        let layout = match self {
            Memory::Learning(points) | Memory::Settling { points, .. } => {
                points.last().map(|point| point.layout)
            }
            Memory::Watching(watching) => Some(watching.reference.layout),
        };
        layout.is_some_and(|layout| layout.has_own_head)
    }

    /// The memory as bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Memory::Learning(points) => {
                let layout = points.first().map_or(
                    Layout {
                        channel_count: 0,
                        has_shares: false,
                        class_count: 0,
                        is_restandardized: false,
                        has_own_head: false,
                    },
                    |p| p.layout,
                );
                let mut out = head(LEARNING, layout);
                put_u32(&mut out, points.len() as u32);
                points.iter().for_each(|point| put_point(&mut out, point));
                out
            }
            Memory::Watching(watching) => {
                let mut out = head(WATCHING, watching.reference.layout);
                put_watching(&mut out, watching);
                out
            }
            Memory::Settling { before, points } => {
                let mut out = head(SETTLING, before.reference.layout);
                put_watching(&mut out, before);
                put_u32(&mut out, points.len() as u32);
                points.iter().for_each(|point| put_point(&mut out, point));
                out
            }
        }
    }

    /// The memory of [`Memory::encode`]'s bytes; `None` for others, which is as if nothing were remembered.
    pub fn decode(bytes: &[u8]) -> Option<Memory> {
        let mut from = Bytes(bytes);
        let (kind, layout) = from.head()?;
        let memory = match kind {
            LEARNING => Memory::Learning(from.points(layout)?),
            WATCHING => Memory::Watching(from.watching(layout)?),
            SETTLING => {
                let before = from.watching(layout)?;
                let moved = Layout {
                    is_restandardized: true,
                    ..layout
                };
                let points = from.points(moved)?;
                Memory::Settling { before, points }
            }
            _ => return None,
        };
        from.0.is_empty().then_some(memory)
    }
}

impl Pool {
    /// The pool as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(POOL, self.layout);
        put_u32(&mut out, self.step_count);
        put_u32(&mut out, self.last_member_count);
        put_f64s(&mut out, &[self.freedom]);
        for list in [
            &self.squares,
            &self.quartics,
            &self.sums,
            &self.levels,
            &self.smoothed,
        ] {
            put_f64s(&mut out, list);
        }
        put_u32(&mut out, self.last_levels.len() as u32);
        put_f32s(&mut out, &self.last_levels);
        put_u32(&mut out, self.members.len() as u32);
        for (device, score) in &self.members {
            out.extend(device.to_le_bytes());
            out.extend(score.to_le_bytes());
        }
        out
    }

    /// The pool of [`Pool::encode`]'s bytes; `None` for others.
    pub fn decode(bytes: &[u8]) -> Option<Pool> {
        let mut from = Bytes(bytes);
        let (kind, layout) = from.head()?;
        if kind != POOL {
            return None;
        }
        let len = layout.len();
        let (step_count, last_member_count) = (from.u32()?, from.u32()?);
        let freedom = from.f64s(1)?[0];
        let [squares, quartics, sums, levels, smoothed] = [
            from.f64s(len)?,
            from.f64s(len)?,
            from.f64s(len)?,
            from.f64s(len)?,
            from.f64s(len)?,
        ];
        let level_count = from.u32()? as usize;
        let last_levels = from.f32s(level_count)?;
        let member_count = (from.u32()? as usize).min(LIST_MAX);
        let member = |from: &mut Bytes<'_>| {
            Some((
                u64::from_le_bytes(from.array()?),
                f32::from_le_bytes(from.array()?),
            ))
        };
        let members = (0..member_count)
            .map(|_| member(&mut from))
            .collect::<Option<Vec<_>>>()?;
        let pool = Pool {
            layout,
            squares,
            quartics,
            freedom,
            sums,
            levels,
            members,
            smoothed,
            step_count,
            last_levels,
            last_member_count,
            work: Workspace::default(),
        };
        from.0.is_empty().then_some(pool)
    }
}

fn head(kind: u8, layout: Layout) -> Vec<u8> {
    vec![
        VERSION,
        kind,
        layout.channel_count,
        u8::from(layout.has_shares)
            | u8::from(layout.is_restandardized) << 1
            | u8::from(layout.has_own_head) << 2,
        layout.class_count,
    ]
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn put_watching(out: &mut Vec<u8>, watching: &Watching) {
    put_u32(out, watching.baseline_count);
    put_u32(out, watching.step_count);
    put_point(out, &watching.reference);
    put_f32s(out, &watching.smoothed);
}

fn put_f32s(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put_f64s(out: &mut Vec<u8>, values: &[f64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put_point(out: &mut Vec<u8>, point: &Point) {
    put_f32s(out, &[point.window_count]);
    put_f32s(out, &point.values);
}

/// Bytes not read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn head(&mut self) -> Option<(u8, Layout)> {
        let [version, kind, channel_count, facts, class_count] = self.array()?;
        let layout = Layout {
            channel_count,
            has_shares: facts & 1 != 0,
            class_count,
            is_restandardized: facts & 2 != 0,
            has_own_head: facts & 4 != 0,
        };
        (version == VERSION).then_some((kind, layout))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn f32s(&mut self, count: usize) -> Option<Vec<f32>> {
        (0..count)
            .map(|_| self.array().map(f32::from_le_bytes))
            .collect()
    }

    fn f64s(&mut self, count: usize) -> Option<Vec<f64>> {
        (0..count)
            .map(|_| self.array().map(f64::from_le_bytes))
            .collect()
    }

    fn points(&mut self, layout: Layout) -> Option<Vec<Point>> {
        let count = self.u32()? as usize;
        (0..count.min(LIST_MAX))
            .map(|_| self.point(layout))
            .collect()
    }

    fn watching(&mut self, layout: Layout) -> Option<Watching> {
        Some(Watching {
            baseline_count: self.u32()?,
            step_count: self.u32()?,
            reference: self.point(layout)?,
            smoothed: self.f32s(layout.len())?,
        })
    }

    fn point(&mut self, layout: Layout) -> Option<Point> {
        let window_count = self.f32s(1)?[0];
        Some(Point {
            layout,
            values: self.f32s(layout.len())?,
            window_count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back() {
        let layout = Layout {
            channel_count: 2,
            has_shares: true,
            class_count: 3,
            is_restandardized: false,
            has_own_head: false,
        };
        let point = |value: f32| Point {
            layout,
            values: vec![value; layout.len()],
            window_count: 32.0,
        };
        let mut pool = Pool::new(layout);
        pool.members.push((7, 0.5));
        pool.last_levels = vec![1.0; layout.len()];
        assert_eq!(Pool::decode(&pool.encode()), Some(pool.clone()));
        let learning = Memory::Learning(vec![point(1.0), point(2.0)]);
        assert_eq!(Memory::decode(&learning.encode()), Some(learning));
        let own = Memory::Learning(vec![point(1.0).answered_by_own_head(true)]);
        assert_eq!(Memory::decode(&own.encode()), Some(own));
        let normal = Watching {
            reference: point(3.0),
            baseline_count: 14,
            smoothed: vec![0.25; layout.len()],
            step_count: 5,
        };
        let settling = Memory::Settling {
            before: normal.clone(),
            points: vec![point(1.0).restandardized(true)],
        };
        assert_eq!(Memory::decode(&settling.encode()), Some(settling));
        let watching = Memory::Watching(Watching {
            reference: point(3.0).restandardized(true),
            ..normal
        });
        let bytes = watching.encode();
        assert_eq!(Memory::decode(&bytes), Some(watching));
        for end in 0..bytes.len() {
            assert_eq!(Memory::decode(&bytes[..end]), None);
        }
        assert_eq!(Pool::decode(&bytes), None);
    }
}
