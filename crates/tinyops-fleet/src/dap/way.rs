//! Which of a device's envelopes a gateway that uploads shares lets through to the server, and which it measures.

use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Alarm, Flags};
use tinyops_wire::summary::SummaryFrame;
use tinyops_wire::{DeviceId, Frame, ModelId, Sealed};

use crate::masked::is_clear;

/// What is to be done with an envelope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way<'a> {
    /// It says nothing in the clear of what the device has seen: the server may have it.
    Passes,
    /// It is a report: it is measured, and goes no further.
    Measured {
        /// Whose, as the envelope claims.
        device: DeviceId,
        /// Of which model.
        model: ModelId,
        /// The report.
        frame: SummaryFrame<'a>,
    },
    /// It says what the device has seen, or cannot be read: it goes no further.
    Stays,
}

/// What a heartbeat may say: what one says under masks.
const QUIET: Flags = Flags(Flags::PRIVACY_MASK | Flags::NOT_FINITE.0 | Flags::LOW_BATTERY.0);

/// Sorts an envelope that nobody has checked. What is not known to be harmless stays.
pub fn way<'a>(sealed: &Sealed<'a>) -> Way<'a> {
    let envelope = sealed.claim();
    if envelope.direction != Direction::Up {
        return Way::Stays;
    }
    match Frame::decode(envelope.body) {
        Ok(Frame::Summary(frame)) => Way::Measured {
            device: envelope.device,
            model: envelope.model,
            frame,
        },
        Ok(Frame::Alarm(Alarm { flags, moved: None })) if QUIET.has(flags) => Way::Passes,
        Ok(Frame::Alarm(_)) | Err(_) => Way::Stays,
        Ok(frame) if is_clear(&frame) => Way::Stays,
        Ok(_) => Way::Passes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_wire::{DeviceKey, Envelope};

    fn sorted(direction: Direction, body: &[u8]) -> &'static str {
        let envelope = Envelope {
            direction,
            device: DeviceId(7),
            model: ModelId(8),
            sequence: 9,
            body,
        };
        let mut bytes = [0; 256];
        let len = envelope.seal(&DeviceKey([1; 32]), &mut bytes).unwrap();
        match way(&Sealed::parse(&bytes[..len]).unwrap()) {
            Way::Passes => "passes",
            Way::Measured { device, model, .. } => {
                assert_eq!((device, model), (DeviceId(7), ModelId(8)));
                "measured"
            }
            Way::Stays => "stays",
        }
    }

    /// Every frame of the golden file: a kind that is added there must be sorted here.
    #[test]
    fn every_kind_of_frame_has_its_way() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/golden/wire/frames.txt"
        );
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let (name, digits) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let body: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
            let expected = match name {
                "m6h8" | "m8" | "m4" | "m6h8-2" | "m8-2" => "measured",
                "alarm" | "statistics" | "outcome" | "shadow" | "shadow-measured" => "stays",
                "heartbeat" | "update" | "update-held" | "block-request" | "hello" | "hello-2"
                | "hello-3" | "keys" | "masked-report" | "masked-part" | "noised-report"
                | "annotation-answer" | "annotation-part" => "passes",
                other => panic!("{other}: does it say what a device has seen?"),
            };
            assert_eq!(sorted(Direction::Up, &body), expected, "{name}");
            assert_eq!(sorted(Direction::Down, &body), "stays", "{name}");
        }
    }

    #[test]
    fn a_heartbeat_passes_that_says_no_more_than_one_under_masks() {
        let heartbeat = |flags: u8| sorted(Direction::Up, &[0x11, flags, 0x7f]);
        for quiet in [0, 1, 2, 3, 1 << 3, 1 << 7, 0b1000_1011] {
            assert_eq!(heartbeat(quiet), "passes", "{quiet:#b}");
        }
        for bit in [2, 4, 5, 6] {
            assert_eq!(heartbeat(1 << bit), "stays", "bit {bit}");
        }
        for unread in [&[][..], &[0xf1, 0, 0x7f], &[0x10], &[0x11, 0]] {
            assert_eq!(sorted(Direction::Up, unread), "stays");
        }
    }
}
