//! Readings as they are played in: a line each, eight hex digits for the bits of each channel's `f32`.
//!
//! Text, so that a board that was reset in the middle of a line has its place again at the next.

use tinyops_wire::provision::CHANNELS_MAX;

/// What a line was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A reading of all channels.
    Reading,
    /// `end`: no more will come.
    End,
}

/// The line that is coming in.
pub struct Sensor {
    channel_count: usize,
    values: [f32; CHANNELS_MAX],
    /// Hex digits of the line so far; none once it is seen to be no reading.
    digits: Option<usize>,
    bits: u32,
    /// The last three letters of a line that is no reading.
    word: [u8; 3],
}

impl Sensor {
    /// A sensor of so many channels; of more than [`CHANNELS_MAX`], no line is a reading.
    pub fn new(channel_count: usize) -> Sensor {
        Sensor {
            channel_count,
            values: [0.0; CHANNELS_MAX],
            digits: Some(0),
            bits: 0,
            word: [0; 3],
        }
    }

    /// The newest reading.
    pub fn reading(&self) -> &[f32] {
        self.values.get(..self.channel_count).unwrap_or_default()
    }

    /// Takes one byte; answers at the end of a line that says something.
    pub fn push(&mut self, byte: u8) -> Option<Said> {
        if byte == b'\n' {
            let (digits, word) = (self.digits.replace(0), self.word);
            self.word = [0; 3];
            return match digits {
                Some(digits) if digits == 8 * self.channel_count => Some(Said::Reading),
                None if word == *b"end" => Some(Said::End),
                _ => None,
            };
        }
        self.word.rotate_left(1);
        self.word[2] = byte;
        self.digits = self.digits.and_then(|digits| self.take(digits, byte));
        None
    }

    fn take(&mut self, digits: usize, byte: u8) -> Option<usize> {
        self.bits = self.bits << 4 | char::from(byte).to_digit(16)?;
        if digits % 8 == 7 {
            *self.values.get_mut(digits / 8)? = f32::from_bits(self.bits);
        }
        Some(digits + 1)
    }
}
