//! What a board offers and what it costs: data files, some of them compiled in.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use tinyops_nn::record::REGIONS_MAX;

/// A target board. Users add one with one file of the same form as `boards/*.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Data memory: where the program's own data and the stack lie, and all else that a prediction
    /// needs beside the arena.
    pub ram: Memory,
    /// RAM apart from that, for the arena alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_ram: Vec<Memory>,
    /// What computing costs on it.
    pub cost: Cost,
    /// What puts firmware onto it, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loader: Vec<Loader>,
}

/// A way to put firmware onto a board: `[[loader]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loader {
    /// Which tool.
    pub tool: LoaderTool,
    /// What the tool calls the chip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<String>,
    /// Where a file without addresses goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<u32>,
    /// Rate of the serial line; the tool's own where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baud: Option<u32>,
    /// What a person does before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// What puts firmware onto boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoaderTool {
    /// A debug probe.
    ProbeRs,
    /// The SAM-BA bootloader of Arduino's boards.
    Bossac,
    /// The ROM of Espressif's chips.
    Esptool,
    /// SparkFun's variable loader, of the Apollo3.
    Svl,
    /// XMODEM to a bootloader.
    Xmodem,
}

impl LoaderTool {
    /// All of them.
    pub const ALL: [LoaderTool; 5] = [
        LoaderTool::ProbeRs,
        LoaderTool::Bossac,
        LoaderTool::Esptool,
        LoaderTool::Svl,
        LoaderTool::Xmodem,
    ];

    /// As board files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LoaderTool::ProbeRs => "probe-rs",
            LoaderTool::Bossac => "bossac",
            LoaderTool::Esptool => "esptool",
            LoaderTool::Svl => "svl",
            LoaderTool::Xmodem => "xmodem",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<LoaderTool> {
        LoaderTool::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// A memory and what others hold of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What the vendor calls it, where the board has several pieces of RAM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How fast the core reads and writes it, compared with the board's other pieces.
    #[serde(default, skip_serializing_if = "Speed::is_plain")]
    pub speed: Speed,
    /// All of it.
    pub bytes: u32,
    /// Who says so, where the board has several pieces of RAM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Who holds how much, and who says so.
    pub reserved: Vec<Reserve>,
}

impl Memory {
    /// What is left for TinyOps and models.
    #[must_use]
    pub fn application_bytes(&self) -> u32 {
        let others = self.reserved.iter().filter(|reserve| !reserve.ours);
        others.fold(self.bytes, |left, reserve| {
            left.saturating_sub(reserve.bytes)
        })
    }

    /// What is left for models.
    #[must_use]
    pub fn free_bytes(&self) -> u32 {
        self.reserved.iter().fold(self.bytes, |left, reserve| {
            left.saturating_sub(reserve.bytes)
        })
    }
}

/// How fast a memory is. A plan puts what is touched most often into the fastest that has room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speed {
    /// Coupled to the core: no wait.
    Fast,
    /// On the chip, over a bus.
    #[default]
    Plain,
    /// Outside the chip.
    Slow,
}

impl Speed {
    fn is_plain(&self) -> bool {
        *self == Speed::Plain
    }

    /// As board files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Speed::Fast => "fast",
            Speed::Plain => "plain",
            Speed::Slow => "slow",
        }
    }
}

/// A part of a memory that is not ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// What it holds.
    pub what: String,
    /// How much.
    pub bytes: u32,
    /// Whether TinyOps itself holds it, and a test on the board is given it.
    #[serde(default)]
    pub ours: bool,
    /// Who says so.
    pub source: String,
}

/// Coefficients of the latency and energy estimates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Core cycles for each instruction, where instructions can be counted on an emulated core.
    #[serde(default)]
    pub cycles_per_instruction: Option<Band>,
    /// Who says so.
    #[serde(default)]
    pub cycles_per_instruction_source: Option<String>,
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
    /// Another board has its name.
    #[error("board `{board}` is there already")]
    Taken {
        /// Which board.
        board: String,
    },
    /// A number that cannot be.
    #[error("board `{board}`: {fault}")]
    Value {
        /// Which board.
        board: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl Loader {
    /// Whether its tool has to be told the chip, and is not.
    fn lacks_its_chip(&self) -> bool {
        self.chip.is_none() && matches!(self.tool, LoaderTool::ProbeRs | LoaderTool::Esptool)
    }
}

impl Board {
    /// Reads a board file.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn from_toml(text: &str) -> Result<Board, BoardError> {
        let board: Board = toml::from_str(text)?;
        let cost = &board.cost;
        let bands = [
            cost.cycles_per_mac,
            cost.cycles_per_element,
            cost.cycles_per_dsp_operation,
            cost.active_mw,
        ];
        let bands = bands.iter().chain(&cost.cycles_per_instruction);
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_sound = |band: &Band| {
            band.low > 0.0
                && band.low <= band.typical
                && band.typical <= band.high
                && band.high < 1e9
        };
        let pieces = || board.ram_pieces();
        let names: BTreeSet<&str> = pieces().iter().map(|piece| piece.name.as_str()).collect();
        let are_told = names.len() == pieces().len()
            && !names.contains("")
            && board.more_ram.iter().all(|piece| !piece.source.is_empty());
        let fault = if board.clock_hz == 0 {
            "clock_hz is 0"
        } else if board.id.is_empty() || board.id.len() > 64 || !board.id.chars().all(name) {
            "its id is not 1 to 64 small letters, digits or `-`"
        } else if cost.cycles_per_instruction.is_some()
            != cost.cycles_per_instruction_source.is_some()
        {
            "cycles_per_instruction and its source go together"
        } else if !bands.into_iter().all(is_sound) {
            "a band is not 0 < low <= typical <= high"
        } else if board.flash.free_bytes() == 0 || board.ram.free_bytes() == 0 {
            "its reserves leave no flash or no RAM"
        } else if board.more_ram.len() >= REGIONS_MAX {
            "it has more pieces of RAM than a plan has regions"
        } else if !board.more_ram.is_empty() && !are_told {
            "of several pieces of RAM, each needs a name of its own, and each of more_ram its source"
        } else if board.more_ram.iter().any(|piece| piece.free_bytes() == 0) {
            "its reserves leave nothing of a piece of RAM"
        } else if board.loader.iter().any(Loader::lacks_its_chip) {
            "a loader of probe-rs or esptool needs `chip`"
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

    /// RAM left after radio stack, system and agent, in all pieces together.
    #[must_use]
    pub fn ram_free_bytes(&self) -> u32 {
        let pieces = self.ram_pieces().into_iter();
        pieces.map(Memory::free_bytes).fold(0, u32::saturating_add)
    }

    /// Every piece of RAM, in the order in which they are the regions of a plan: the fastest
    /// first; of those that are equally fast [`Board::ram`], then as the file has them.
    #[must_use]
    pub fn ram_pieces(&self) -> Vec<&Memory> {
        let mut pieces: Vec<&Memory> = [&self.ram].into_iter().chain(&self.more_ram).collect();
        pieces.sort_by_key(|piece| piece.speed);
        pieces
    }

    /// What each piece leaves to an arena, if so many bytes of [`Board::ram`] are taken beside it.
    #[must_use]
    pub fn arena_rooms(&self, beside_bytes: u32) -> [u32; REGIONS_MAX] {
        let mut rooms = [0; REGIONS_MAX];
        for (room, piece) in rooms.iter_mut().zip(self.ram_pieces()) {
            let is_own = std::ptr::eq(piece, &self.ram);
            let beside = if is_own { beside_bytes } else { 0 };
            *room = piece.free_bytes().saturating_sub(beside);
        }
        rooms
    }

    /// Time and energy of a count of instructions of the board's own core: milliseconds and millijoules, each as a
    /// band; `None` where the board does not say how many cycles one takes.
    #[must_use]
    pub fn estimate(&self, instructions: u64) -> Option<(Band, Band)> {
        let cycles = self.cost.cycles_per_instruction?.times(instructions as f64);
        let latency_ms = cycles.times(1e3 / f64::from(self.clock_hz));
        Some((latency_ms, latency_ms.by(self.cost.active_mw).times(1e-3)))
    }
}

/// The boards that TinyOps knows, in alphabetical order.
#[must_use]
pub fn boards() -> &'static [Board] {
    static BOARDS: LazyLock<Vec<Board>> = LazyLock::new(|| {
        [
            include_str!("../boards/arduino-nano-33-ble-sense.toml"),
            include_str!("../boards/bbc-microbit.toml"),
            include_str!("../boards/ensemble-e7.toml"),
            include_str!("../boards/esp-eye.toml"),
            include_str!("../boards/himax-we-i-plus.toml"),
            include_str!("../boards/nrf52840-dk.toml"),
            include_str!("../boards/nrf5340-dk.toml"),
            include_str!("../boards/nucleo-g0b1re.toml"),
            include_str!("../boards/nucleo-h7a3zi-q.toml"),
            include_str!("../boards/nucleo-l4r5zi.toml"),
            include_str!("../boards/nucleo-u575zi-q.toml"),
            include_str!("../boards/raspberry-pi-pico.toml"),
            include_str!("../boards/raspberry-pi-pico-2.toml"),
            include_str!("../boards/sparkfun-edge-2.toml"),
        ]
        .map(|text| Board::from_toml(text).expect("`every_board_file_is_sound` reads them all"))
        .into()
    });
    &BOARDS
}

/// The boards that TinyOps knows, and those that a user added.
#[derive(Clone, Debug, PartialEq)]
pub struct Boards(Vec<Board>);

impl Default for Boards {
    fn default() -> Boards {
        Boards(boards().to_vec())
    }
}

impl Deref for Boards {
    type Target = [Board];

    fn deref(&self) -> &[Board] {
        &self.0
    }
}

impl Boards {
    /// Adds a board.
    ///
    /// # Errors
    /// [`BoardError::Taken`].
    pub fn add(&mut self, board: Board) -> Result<(), BoardError> {
        if self.named(&board.id).is_some() {
            return Err(BoardError::Taken { board: board.id });
        }
        self.0.push(board);
        Ok(())
    }

    /// A board by its id.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&Board> {
        self.0.iter().find(|board| board.id == id)
    }

    /// What a user added.
    #[must_use]
    pub fn added(&self) -> &[Board] {
        &self.0[boards().len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_is_sound() {
        let ids: Vec<_> = boards().iter().map(|board| board.id.as_str()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/boards"));
        assert_eq!(folder.unwrap().count(), ids.len(), "every file is read");
        for board in boards() {
            for memory in [&board.flash].into_iter().chain(board.ram_pieces()) {
                assert!(memory.free_bytes() >= 4096, "{}", board.id);
                assert!(memory.application_bytes() >= memory.free_bytes());
                let sources = memory.reserved.iter().map(|reserve| &reserve.source);
                assert!(sources.into_iter().all(|source| source.len() > 4));
            }
        }
    }

    #[test]
    fn estimates_are_bands_around_instructions() {
        let boards = Boards::default();
        let board = boards.named("nucleo-l4r5zi").unwrap();
        let (ms, mj) = board.estimate(1_200_000).unwrap();
        assert_eq!((ms.low, ms.typical, ms.high), (11.0, 14.0, 20.0));
        assert!(mj.low < mj.typical && mj.typical < mj.high);
        assert!(boards.named("esp-eye").unwrap().estimate(1).is_none());
    }

    #[test]
    fn a_name_is_given_once() {
        let mut all = Boards::default();
        let own = include_str!("../boards/esp-eye.toml");
        let taken = all.add(Board::from_toml(own).unwrap());
        assert!(matches!(taken, Err(BoardError::Taken { .. })));
        let own = own.replace("id = \"esp-eye\"", "id = \"own\"");
        all.add(Board::from_toml(&own).unwrap()).unwrap();
        assert_eq!(all.named("own"), all.added().first());
        for id in ["", "Own", "a b", "../x"] {
            let bad = own.replace("\"own\"", &format!("\"{id}\""));
            assert!(Board::from_toml(&bad).is_err(), "{id}");
        }
    }

    /// A board whose RAM is in three pieces.
    fn in_pieces(more: &str) -> Result<Board, BoardError> {
        let text = include_str!("../boards/nucleo-l4r5zi.toml");
        let text = text.replace("[ram]", "[ram]\nname = \"SRAM\"");
        Board::from_toml(&format!("{text}\n{more}"))
    }

    #[test]
    fn the_fastest_piece_of_ram_comes_first() {
        let board = in_pieces(
            "[[more_ram]]\nname = \"PSRAM\"\nspeed = \"slow\"\nbytes = 65_536\nsource = \"data sheet\"\nreserved = []\n\
             [[more_ram]]\nname = \"DTCM\"\nspeed = \"fast\"\nbytes = 4_096\nsource = \"data sheet\"\n\
             reserved = [{ what = \"stack\", bytes = 1_024, source = \"guess\" }]",
        );
        let board = board.unwrap();
        let names = board.ram_pieces().into_iter().map(|piece| &piece.name);
        assert_eq!(names.collect::<Vec<_>>(), ["DTCM", "SRAM", "PSRAM"]);
        let sram = board.ram.free_bytes();
        assert_eq!(board.arena_rooms(1000), [3072, sram - 1000, 65_536, 0]);
        assert_eq!(board.arena_rooms(u32::MAX), [3072, 0, 65_536, 0]);
        assert_eq!(board.ram_free_bytes(), 3072 + sram + 65_536);
    }

    #[test]
    fn pieces_of_ram_are_told_apart() {
        let piece = |name: &str, source: &str| {
            format!(
                "[[more_ram]]\nname = \"{name}\"\nbytes = 4_096\nsource = \"{source}\"\nreserved = []\n"
            )
        };
        assert!(in_pieces(&piece("DTCM", "data sheet")).is_ok());
        for bad in [
            piece("SRAM", "data sheet"),
            piece("", "data sheet"),
            piece("DTCM", ""),
            piece("DTCM", "data sheet").replace("bytes = 4_096", "bytes = 0"),
            ["a", "b", "c", "d"]
                .map(|name| piece(name, "data sheet"))
                .concat(),
        ] {
            assert!(
                matches!(in_pieces(&bad), Err(BoardError::Value { .. })),
                "{bad}"
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
