//! What a board offers and what it costs: data files, four of them compiled in.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A target board. Users add one with one file of the same form as `boards/*.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The name in commands and files.
    pub id: String,
    /// The name on the box.
    pub name: String,
    /// The microcontroller.
    pub chip: String,
    /// Its core.
    pub arch: String,
    /// Core clock.
    pub clock_hz: u32,
    /// How it reaches a network.
    pub link: String,
    /// Program memory.
    pub flash: Memory,
    /// Data memory.
    pub ram: Memory,
    /// What computing costs on it.
    pub cost: Cost,
}

/// A memory and what others hold of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// All of it.
    pub bytes: u32,
    /// Who holds how much, and who says so.
    pub reserved: Vec<Reserve>,
}

impl Memory {
    /// What is left for models.
    #[must_use]
    pub fn free_bytes(&self) -> u32 {
        self.reserved.iter().fold(self.bytes, |left, reserve| {
            left.saturating_sub(reserve.bytes)
        })
    }
}

/// A part of a memory that is not ours.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// What it holds.
    pub what: String,
    /// How much.
    pub bytes: u32,
    /// Who says so.
    pub source: String,
}

/// Coefficients of the latency and energy estimates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Core cycles for each multiply-accumulate of a filter.
    pub cycles_per_mac: Band,
    /// Who says so.
    pub cycles_per_mac_source: String,
    /// Core cycles for each value that an op makes: rescaling, pooling, tables.
    pub cycles_per_element: Band,
    /// Core cycles for each floating-point operation of the front end.
    pub cycles_per_dsp_operation: Band,
    /// Power while computing, milliwatts.
    pub active_mw: Band,
    /// Who says so.
    pub active_mw_source: String,
}

/// A number that is not known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Hardly less than this.
    pub low: f64,
    /// Expect this.
    pub typical: f64,
    /// Hardly more than this.
    pub high: f64,
}

impl Band {
    pub(crate) fn times(self, factor: f64) -> Band {
        self.zip(
            Band {
                low: factor,
                typical: factor,
                high: factor,
            },
            |a, b| a * b,
        )
    }

    pub(crate) fn by(self, other: Band) -> Band {
        self.zip(other, |a, b| a * b)
    }

    pub(crate) fn plus(self, other: Band) -> Band {
        self.zip(other, |a, b| a + b)
    }

    fn zip(self, other: Band, f: impl Fn(f64, f64) -> f64) -> Band {
        Band {
            low: f(self.low, other.low),
            typical: f(self.typical, other.typical),
            high: f(self.high, other.high),
        }
    }
}

/// Why a board file is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// Not the form of a board file.
    #[error("not a board file")]
    Form(#[from] toml::de::Error),
    /// A number that cannot be.
    #[error("board `{board}`: {fault}")]
    Value {
        /// Which board.
        board: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl Board {
    /// Reads a board file.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn from_toml(text: &str) -> Result<Board, BoardError> {
        let board: Board = toml::from_str(text)?;
        let bands = [
            board.cost.cycles_per_mac,
            board.cost.cycles_per_element,
            board.cost.cycles_per_dsp_operation,
            board.cost.active_mw,
        ];
        let is_sound = |band: &Band| {
            band.low > 0.0
                && band.low <= band.typical
                && band.typical <= band.high
                && band.high < 1e9
        };
        let fault = if board.clock_hz == 0 {
            "clock_hz is 0"
        } else if !bands.iter().all(is_sound) {
            "a band is not 0 < low <= typical <= high"
        } else if board.flash.free_bytes() == 0 || board.ram.free_bytes() == 0 {
            "its reserves leave no flash or no RAM"
        } else {
            return Ok(board);
        };
        Err(BoardError::Value {
            board: board.id,
            fault,
        })
    }

    /// Flash left after bootloader, radio stack and runtime; two capsule slots must share it.
    #[must_use]
    pub fn flash_free_bytes(&self) -> u32 {
        self.flash.free_bytes()
    }

    /// RAM left after radio stack, system and agent.
    #[must_use]
    pub fn ram_free_bytes(&self) -> u32 {
        self.ram.free_bytes()
    }
}

/// The boards that TinyOps knows, in alphabetical order.
#[must_use]
pub fn boards() -> &'static [Board] {
    static BOARDS: LazyLock<Vec<Board>> = LazyLock::new(|| {
        [
            include_str!("../boards/arduino-nano-33-ble-sense.toml"),
            include_str!("../boards/esp-eye.toml"),
            include_str!("../boards/himax-we-i-plus.toml"),
            include_str!("../boards/sparkfun-edge-2.toml"),
        ]
        .map(|text| Board::from_toml(text).expect("`every_board_file_is_sound` reads them all"))
        .into()
    });
    &BOARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_is_sound() {
        let ids: Vec<_> = boards().iter().map(|board| board.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "arduino-nano-33-ble-sense",
                "esp-eye",
                "himax-we-i-plus",
                "sparkfun-edge-2"
            ]
        );
        for board in boards() {
            assert!(
                board.flash_free_bytes() > 256 * 1024,
                "{} leaves flash",
                board.id
            );
            assert!(
                board.ram_free_bytes() > 100 * 1024,
                "{} leaves RAM",
                board.id
            );
        }
    }

    #[test]
    fn a_typo_in_a_board_file_is_an_error() {
        let text = include_str!("../boards/esp-eye.toml");
        assert!(matches!(
            Board::from_toml(&text.replace("clock_hz", "clock_khz")),
            Err(BoardError::Form(_))
        ));
        assert!(matches!(
            Board::from_toml(&text.replace("bytes = 532_480", "bytes = 400_000")),
            Err(BoardError::Value { .. })
        ));
    }
}
