//! Whether a compiled model fits a board, with every reason why not.

use serde::Serialize;
use tinyops_model::Model;
use tinyops_nn::head::{OWN_STORE_HEAD_BYTES, OWN_WINDOWS, Prior, Sums, own_window_bytes};

use crate::board::{Band, Board, Speed};
use crate::compiled::{CompileError, Compiled, Options, compile, compile_with};

/// Room for the manifest, signatures and golden vectors of a capsule.
const CAPSULE_HEAD_BYTES: u32 = 1024;
/// Golden vectors in a capsule: enough to meet every class of a small model, few enough for flash.
pub const GOLDEN_COUNT_MAX: u32 = 8;
/// Room for golden vectors; one is carried whatever it takes.
const GOLDEN_BYTES_MAX: u32 = 64 * 1024;
/// Flash pages are erased whole; 8 KiB is the largest page of the boards (Apollo3, STM32U5, STM32H7A3).
const PAGE_BYTES: u32 = 8192;
/// An update lands beside what runs.
const SLOT_COUNT: u32 = 2;

/// What the user allows, beside what the board has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Most flash for the capsule slots.
    pub flash_bytes: Option<u32>,
    /// Most RAM.
    pub ram_bytes: Option<u32>,
    /// Most time of one prediction.
    pub latency_ms: Option<f64>,
    /// Most energy of one prediction.
    pub energy_mj: Option<f64>,
}

/// What a model takes of a board. Estimates are bands, never one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The board's id.
    pub board: String,
    /// Flash for two capsule slots, and for the labelled windows that a device keeps for a head of its own.
    pub flash_bytes: u32,
    /// Flash that the board leaves, or the limit if that is less.
    pub flash_free_bytes: u32,
    /// RAM of one prediction.
    pub ram_bytes: u32,
    /// RAM that the board leaves, or the limit if that is less.
    pub ram_free_bytes: u32,
    /// What each piece of RAM holds of it, in the order of the plan's regions; empty where there is
    /// but one piece.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ram_pieces: Vec<PieceFit>,
    /// Time of one prediction, front end included.
    pub latency_ms: Band,
    /// Energy of one prediction, without sensing and radio.
    pub energy_mj: Band,
    /// Everything that does not fit; empty if the model does.
    pub reasons: Vec<FitError>,
}

/// What a model takes of one piece of a board's RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PieceFit {
    /// The vendor's name.
    pub name: String,
    /// How fast it is.
    pub speed: Speed,
    /// Bytes of the arena there.
    pub arena_bytes: u32,
    /// Bytes of window, features and scratch of the front end there.
    pub window_bytes: u32,
    /// What the board leaves.
    pub free_bytes: u32,
}

impl PieceFit {
    /// Bytes of one prediction there.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.arena_bytes.saturating_add(self.window_bytes)
    }
}

impl Fit {
    /// Whether the model fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Why a model cannot be placed on a board.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "over", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FitError {
    /// Not enough flash.
    #[error(
        "two capsule slots{} need {needed_bytes} bytes of flash, board leaves {free_bytes}: {} too many",
        if *own_head_bytes > 0 { " and the windows of a device's own head" } else { "" },
        needed_bytes - free_bytes
    )]
    Flash {
        /// What two slots need, and what is kept beside them.
        needed_bytes: u32,
        /// Of it, what a device keeps for a head of its own.
        own_head_bytes: u32,
        /// What there is.
        free_bytes: u32,
    },
    /// Not enough RAM.
    #[error(
        "one prediction needs {needed_bytes} bytes of RAM (arena {arena_bytes}, window and features {window_bytes}), board leaves {free_bytes}: {} too many",
        needed_bytes - free_bytes
    )]
    Ram {
        /// What one prediction needs.
        needed_bytes: u32,
        /// Of it, the arena.
        arena_bytes: u32,
        /// Of it, window, features and scratch of the front end.
        window_bytes: u32,
        /// What there is.
        free_bytes: u32,
    },
    /// Not enough RAM in the pieces that the board has.
    #[error(
        "one prediction needs {needed_bytes} bytes of RAM (arena {arena_bytes}, window and features {window_bytes}), which go into no pieces that the board leaves: {}",
        pieces_text(pieces)
    )]
    Pieces {
        /// What one prediction needs.
        needed_bytes: u32,
        /// Of it, the arena.
        arena_bytes: u32,
        /// Of it, window, features and scratch of the front end.
        window_bytes: u32,
        /// What there is.
        pieces: Vec<PieceFit>,
    },
    /// Too slow.
    #[error(
        "one prediction takes about {typical_ms:.1} ms ({low_ms:.1} to {high_ms:.1}), the limit is {limit_ms} ms"
    )]
    Latency {
        /// At best.
        low_ms: f64,
        /// Expected.
        typical_ms: f64,
        /// At worst.
        high_ms: f64,
        /// Allowed.
        limit_ms: f64,
    },
    /// Too hungry.
    #[error(
        "one prediction takes about {typical_mj:.3} mJ ({low_mj:.3} to {high_mj:.3}), the limit is {limit_mj} mJ"
    )]
    Energy {
        /// At best.
        low_mj: f64,
        /// Expected.
        typical_mj: f64,
        /// At worst.
        high_mj: f64,
        /// Allowed.
        limit_mj: f64,
    },
}

/// Holds a compiled model against a board and the user's limits.
///
/// A limit on time or energy is held against the typical value of the estimate; the band is shown.
#[must_use]
pub fn fit(compiled: &Compiled, board: &Board, limits: &Limits) -> Fit {
    let own_head_bytes = own_head_flash_bytes(compiled);
    let flash_bytes = SLOT_COUNT
        .saturating_mul(slot_bytes(compiled))
        .saturating_add(own_head_bytes);
    let flash_free_bytes = board
        .flash_free_bytes()
        .min(limits.flash_bytes.unwrap_or(u32::MAX));
    let ram_bytes = compiled.ram.total_bytes();
    let ram_free_bytes = board
        .ram_free_bytes()
        .min(limits.ram_bytes.unwrap_or(u32::MAX));

    let cost = &board.cost;
    let elements: u64 = compiled.ops.iter().map(|op| op.elements).sum();
    let cycles = (cost.cycles_per_mac.times(compiled.macs as f64))
        .plus(cost.cycles_per_element.times(elements as f64))
        .plus(
            cost.cycles_per_dsp_operation
                .times(compiled.dsp_operations as f64),
        );
    let latency_ms = cycles.times(1e3 / f64::from(board.clock_hz));
    let energy_mj = latency_ms.by(cost.active_mw).times(1e-3);

    let mut reasons = Vec::new();
    if flash_bytes > flash_free_bytes {
        reasons.push(FitError::Flash {
            needed_bytes: flash_bytes,
            own_head_bytes,
            free_bytes: flash_free_bytes,
        });
    }
    let ram_pieces = pieces(compiled, board);
    let of_pieces = ram_pieces
        .iter()
        .any(|piece| piece.bytes() > piece.free_bytes);
    if ram_bytes <= ram_free_bytes && of_pieces {
        reasons.push(FitError::Pieces {
            needed_bytes: ram_bytes,
            arena_bytes: compiled.ram.arena_bytes,
            window_bytes: compiled.ram.beside_bytes(),
            pieces: ram_pieces.clone(),
        });
    }
    if ram_bytes > ram_free_bytes {
        reasons.push(FitError::Ram {
            needed_bytes: ram_bytes,
            arena_bytes: compiled.ram.arena_bytes,
            window_bytes: ram_bytes - compiled.ram.arena_bytes,
            free_bytes: ram_free_bytes,
        });
    }
    if let Some(limit_ms) = limits
        .latency_ms
        .filter(|&limit| latency_ms.typical > limit)
    {
        let Band { low, typical, high } = latency_ms;
        reasons.push(FitError::Latency {
            low_ms: low,
            typical_ms: typical,
            high_ms: high,
            limit_ms,
        });
    }
    if let Some(limit_mj) = limits.energy_mj.filter(|&limit| energy_mj.typical > limit) {
        let Band { low, typical, high } = energy_mj;
        reasons.push(FitError::Energy {
            low_mj: low,
            typical_mj: typical,
            high_mj: high,
            limit_mj,
        });
    }
    Fit {
        board: board.id.clone(),
        flash_bytes,
        flash_free_bytes,
        ram_bytes,
        ram_free_bytes,
        ram_pieces,
        latency_ms,
        energy_mj,
        reasons,
    }
}

/// Compiles a model for a board: where its RAM is in pieces and the arena does not go into the
/// first, over them.
///
/// # Errors
/// [`CompileError`].
pub fn compile_for(model: &Model, board: &Board) -> Result<Compiled, CompileError> {
    let compiled = compile(model)?;
    match spread_options(&compiled, board) {
        Some(options) => compile_with(model, &options),
        None => Ok(compiled),
    }
}

/// How to compile a model for a board with RAM in pieces whose first does not hold the arena;
/// `None` where it does, or there is but one piece.
#[must_use]
pub fn spread_options(compiled: &Compiled, board: &Board) -> Option<Options> {
    let regions = board.arena_rooms(compiled.ram.beside_bytes());
    let is_spread = !board.more_ram.is_empty() && compiled.arena_bytes > regions[0];
    is_spread.then(|| Options {
        regions,
        ..Options::default()
    })
}

/// What each piece of a board's RAM holds of a prediction.
fn pieces(compiled: &Compiled, board: &Board) -> Vec<PieceFit> {
    if board.more_ram.is_empty() {
        return Vec::new();
    }
    let mut regions = compiled.memory.regions.iter();
    let pieces = board.ram_pieces().into_iter().map(|piece| PieceFit {
        name: piece.name.clone(),
        speed: piece.speed,
        arena_bytes: regions.next().map_or(0, |region| region.bytes),
        window_bytes: match std::ptr::eq(piece, &board.ram) {
            true => compiled.ram.beside_bytes(),
            false => 0,
        },
        free_bytes: piece.free_bytes(),
    });
    pieces.collect()
}

fn pieces_text(pieces: &[PieceFit]) -> String {
    let pieces = pieces
        .iter()
        .map(|piece| format!("{} in {}", piece.free_bytes, piece.name));
    pieces.collect::<Vec<_>>().join(", ")
}

/// How many golden vectors a capsule of the model carries.
#[must_use]
pub fn golden_count(compiled: &Compiled) -> u32 {
    (GOLDEN_BYTES_MAX / vector_bytes(compiled)).clamp(1, GOLDEN_COUNT_MAX)
}

/// Bytes of all golden vectors.
pub(crate) fn golden_bytes(compiled: &Compiled) -> u32 {
    golden_count(compiled).saturating_mul(vector_bytes(compiled))
}

/// Bytes of one golden vector: input and output of the network, or features and score.
fn vector_bytes(compiled: &Compiled) -> u32 {
    let bytes = match tinyops_nn::Plan::load(&compiled.program) {
        Ok(plan) => plan.input().bytes() + plan.output().bytes() + 8,
        Err(_) => compiled.ram.features_bytes as usize + 12,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Bytes of the two copies of labelled windows that a device keeps for a head of its own, in whole pages.
pub(crate) fn own_head_flash_bytes(compiled: &Compiled) -> u32 {
    let Ok(prior) = Prior::decode(&compiled.prior) else {
        return 0;
    };
    let bytes =
        (OWN_STORE_HEAD_BYTES + OWN_WINDOWS * own_window_bytes(prior.embedding_len())) as u32;
    2 * bytes.next_multiple_of(PAGE_BYTES)
}

/// Bytes of one capsule slot, in whole pages.
pub(crate) fn slot_bytes(compiled: &Compiled) -> u32 {
    let bytes = compiled
        .payload_bytes
        .saturating_add(CAPSULE_HEAD_BYTES)
        .saturating_add(golden_bytes(compiled));
    bytes
        .checked_next_multiple_of(PAGE_BYTES)
        .unwrap_or(u32::MAX)
}
