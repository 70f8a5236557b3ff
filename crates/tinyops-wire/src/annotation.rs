//! Windows for an annotator: an order for few of them, the answer to it, and the parcel of what was chosen, part by part.
//!
//! A device takes an order up only if its own settings allow it, and says no otherwise. The parcel is sealed for the
//! annotator ([`crate::sealing`]) before a byte of it is sent. Specified in `docs/formats/annotation.md`.
//!
//! ```text
//! down, 13 Collect      order u32, count u8, windows u16, annotator 4
//!       14 PartRequest  order u32, offset u32, bytes u32
//! up,   15 Annotation   what u8, then
//!        1 answer       order u32, state u8, reason u8, count u8, left u16, bytes u32
//!        2 part         order u32, offset u32, bytes
//!        3 part, the last of those asked for
//! a window, opened      version u8, class u8, number u16, channels u16, vector bytes u16, rate f32, output f32,
//!                       vector, readings f32
//! ```

use crate::KeyId;
use crate::bytes::{Reader, Writer};
use crate::codes::codes;
use crate::frame::{VERSION, kind};

/// Most windows of one order.
pub const ORDER_WINDOWS_MAX: u8 = 8;

/// Bytes of a part before what it brings.
pub const PART_OVERHEAD: usize = 10;

/// Bytes of an opened window before its vector.
pub const WINDOW_HEAD_BYTES: usize = 16;

/// A window's class where the model tells none apart.
const NO_CLASS: u8 = 0xff;
const WINDOW_VERSION: u8 = 1;

/// Asks a device to choose windows for an annotator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Number of the order, at least 1; it comes back in everything that follows from it.
    pub order: u32,
    /// How many windows at most, 1 to [`ORDER_WINDOWS_MAX`].
    pub count: u8,
    /// Out of how many that come next, at least `count`.
    pub windows: u16,
    /// Whose key they are to be sealed for; the device has the key itself from its owner, or refuses.
    pub annotator: KeyId,
}

impl Collect {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Collect> {
        let collect = Collect {
            order: reader.u32()?,
            count: reader.u8()?,
            windows: reader.u16()?,
            annotator: KeyId(reader.array()?),
        };
        let is_sound = collect.order > 0
            && (1..=ORDER_WINDOWS_MAX).contains(&collect.count)
            && collect.windows >= collect.count.into();
        is_sound.then_some(collect)
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&self.order.to_le_bytes())?;
        out.put(&[self.count])?;
        out.put(&self.windows.to_le_bytes())?;
        out.put(&self.annotator.0)
    }
}

/// Asks for bytes of a parcel; none at all where everything has come, so that the device may let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRequest {
    /// Number of the order.
    pub order: u32,
    /// Where the first of them is.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
}

impl PartRequest {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<PartRequest> {
        Some(PartRequest {
            order: reader.u32()?,
            offset: reader.u32()?,
            bytes: reader.u32()?,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&self.order.to_le_bytes())?;
        out.put(&self.offset.to_le_bytes())?;
        out.put(&self.bytes.to_le_bytes())
    }
}

codes! {
    /// Where an order has got to.
    #[non_exhaustive]
    pub enum OrderState {
        /// The device looks for windows.
        Collecting = 1, "collecting";
        /// They are chosen and sealed, and the parcel waits to be asked for.
        Ready = 2, "ready";
        /// There will be none.
        Refused = 3, "refused";
        /// Whoever the device belongs to takes the consent back: what the server has of it is to be deleted.
        Withdrawn = 4, "withdrawn";
    }
}

codes! {
    /// Why an order is refused.
    #[non_exhaustive]
    pub enum OrderReason {
        /// It is not.
        None = 0, "none";
        /// The device's own settings do not allow that windows leave it.
        Consent = 1, "consent";
        /// They do, for another annotator.
        Annotator = 2, "annotator";
        /// What may leave it within a month has left it.
        Quota = 3, "quota";
        /// Not one window fits the memory that there is for them.
        Room = 4, "room";
        /// No model runs, or another than when the order came.
        Model = 5, "model";
        /// It has been reset since, and what it had is gone.
        Lost = 6, "lost";
        /// The annotator's key shares no secret.
        Key = 7, "key";
        /// It could not write down that windows are to leave it.
        Flash = 8, "flash";
    }
}

/// What a device says to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Number of the order; 0 if it is about all of them.
    pub order: u32,
    /// Where it has got to.
    pub state: OrderState,
    /// Why not, if it is refused.
    pub reason: OrderReason,
    /// How many windows there will be at most, or are.
    pub count: u8,
    /// How many more may leave the device within the month.
    pub left: u16,
    /// Bytes of the parcel, once it is ready.
    pub bytes: u32,
}

/// Bytes of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Number of the order.
    pub order: u32,
    /// Where they belong.
    pub offset: u32,
    /// Whether it is the last of those asked for: the device waits.
    pub is_last: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What a device tells of windows for an annotator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotation<'a> {
    /// What it says to an order.
    Answer(Answer),
    /// Bytes of what it has chosen, sealed.
    Part(Part<'a>),
}

impl<'a> Annotation<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Annotation<'a>> {
        let what = reader.u8()?;
        let order = reader.u32()?;
        match what {
            1 => {
                let answer = Answer {
                    order,
                    state: OrderState::from_code(reader.u8()?)?,
                    reason: OrderReason::from_code(reader.u8()?)?,
                    count: reader.u8()?,
                    left: reader.u16()?,
                    bytes: reader.u32()?,
                };
                (answer.count <= ORDER_WINDOWS_MAX).then_some(Annotation::Answer(answer))
            }
            2 | 3 => {
                let offset = reader.u32()?;
                let bytes = core::mem::take(&mut reader.rest);
                (!bytes.is_empty()).then_some(Annotation::Part(Part {
                    order,
                    offset,
                    is_last: what == 3,
                    bytes,
                }))
            }
            _ => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let first = kind::ANNOTATION | VERSION << 4;
        match self {
            Annotation::Answer(answer) => {
                out.put(&[first, 1])?;
                out.put(&answer.order.to_le_bytes())?;
                out.put(&[answer.state as u8, answer.reason as u8, answer.count])?;
                out.put(&answer.left.to_le_bytes())?;
                out.put(&answer.bytes.to_le_bytes())
            }
            Annotation::Part(part) => {
                out.put(&[first, if part.is_last { 3 } else { 2 }])?;
                out.put(&part.order.to_le_bytes())?;
                out.put(&part.offset.to_le_bytes())?;
                out.put(part.bytes)
            }
        }
    }
}

/// What an annotator finds in a window, before its vector and its readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowHead {
    /// The class that the model gave it, if it tells classes apart.
    pub class: Option<u8>,
    /// Its place among those that came after the order, from 0.
    pub number: u16,
    /// Channels of a reading.
    pub channel_count: u16,
    /// Bytes of the vector that it was chosen by: the model's embedding, or its features where it has none.
    pub vector_bytes: u16,
    /// Readings per second.
    pub rate_hz: f32,
    /// What the model said: a confidence, a value or a score.
    pub output: f32,
}

impl WindowHead {
    /// The head as bytes.
    pub fn encode(&self) -> [u8; WINDOW_HEAD_BYTES] {
        let mut out = [0; WINDOW_HEAD_BYTES];
        out[0] = WINDOW_VERSION;
        out[1] = self.class.unwrap_or(NO_CLASS);
        out[2..4].copy_from_slice(&self.number.to_le_bytes());
        out[4..6].copy_from_slice(&self.channel_count.to_le_bytes());
        out[6..8].copy_from_slice(&self.vector_bytes.to_le_bytes());
        out[8..12].copy_from_slice(&self.rate_hz.to_le_bytes());
        out[12..].copy_from_slice(&self.output.to_le_bytes());
        out
    }
}

/// A window as an annotator has opened it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenWindow<'a> {
    /// What is known of it.
    pub head: WindowHead,
    /// The vector that it was chosen by, in steps of the model's own scale.
    pub vector: &'a [u8],
    readings: &'a [u8],
}

impl<'a> OpenWindow<'a> {
    /// Reads a window from bytes that may be anything.
    ///
    /// `None` if they are of another version, or their parts do not add up.
    pub fn decode(bytes: &'a [u8]) -> Option<OpenWindow<'a>> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != WINDOW_VERSION {
            return None;
        }
        let class = reader.u8()?;
        let head = WindowHead {
            class: (class != NO_CLASS).then_some(class),
            number: reader.u16()?,
            channel_count: reader.u16()?,
            vector_bytes: reader.u16()?,
            rate_hz: reader.f32()?,
            output: reader.f32()?,
        };
        let vector = reader.take(head.vector_bytes.into())?;
        let readings = reader.rest;
        let reading_bytes = 4 * usize::from(head.channel_count);
        let is_whole = match reading_bytes {
            0 => false,
            _ => readings.len().is_multiple_of(reading_bytes),
        };
        is_whole.then_some(OpenWindow {
            head,
            vector,
            readings,
        })
    }

    /// Its readings, interleaved, as the sensor gave them; none if the link was too slow for them.
    pub fn readings(&self) -> impl Iterator<Item = f32> + use<'a> {
        let (words, _) = self.readings.as_chunks();
        words.iter().map(|word| f32::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_window_says_what_it_is() {
        let head = WindowHead {
            class: Some(3),
            number: 400,
            channel_count: 2,
            vector_bytes: 3,
            rate_hz: 50.0,
            output: 0.75,
        };
        let mut bytes = head.encode().to_vec();
        bytes.extend([1, 2, 3]);
        bytes.extend(
            [1.5_f32, -2.0, 3.0, 4.0]
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        let window = OpenWindow::decode(&bytes).unwrap();
        assert_eq!((window.head, window.vector), (head, &[1, 2, 3][..]));
        assert_eq!(window.readings().collect::<Vec<_>>(), [1.5, -2.0, 3.0, 4.0]);
        for len in (0..bytes.len()).filter(|len| *len != 19 && *len != 27) {
            assert_eq!(OpenWindow::decode(&bytes[..len]), None, "{len}");
        }
        bytes[0] = 2;
        assert_eq!(OpenWindow::decode(&bytes), None);
    }
}
