//! A model that does not fit: by how many bytes, where they are, and which smaller option does fit.
//!
//! Every option that is named was computed: compiled, and held against the board.

use std::fmt;

use serde::Serialize;

use crate::board::Board;
use crate::compiled::{Compiled, ONE_REGION, Options};
use crate::fit::{Fit, FitError, Limits, fit, golden_bytes, slot_bytes, spread_options};
use crate::plan_memory::Peak;

/// Work that bands of rows may add, tried in this order.
const MORE_PERCENT: [u32; 6] = [2, 5, 10, 25, 50, 100];
/// So many of the largest layers are named.
const LARGEST: usize = 3;

/// Why a model does not fit a board, and what would.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shortfall {
    /// Bytes of RAM too many; 0 if RAM suffices.
    pub ram_over_bytes: u32,
    /// When the arena is fullest; `None` if RAM suffices or there is no network.
    pub peak: Option<Peak>,
    /// Bytes of flash too many; 0 if flash suffices.
    pub flash_over_bytes: u32,
    /// The layers with the most constants, if flash does not suffice.
    pub largest: Vec<LayerBytes>,
    /// Bytes of all constants of the network.
    pub constant_bytes: u64,
    /// Bytes of the golden vectors in each slot.
    pub golden_bytes: u32,
    /// Bytes of one slot, in whole pages of flash.
    pub slot_bytes: u32,
    /// What fits.
    pub options: Vec<Smaller>,
    /// What was tried and does not.
    pub in_vain: Vec<String>,
}

/// A layer and its constants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerBytes {
    /// The name of what it makes.
    pub layer: String,
    /// The operator.
    pub kind: &'static str,
    /// Bytes of filter and bias.
    pub bytes: u64,
}

/// Something smaller that fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "option", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Smaller {
    /// More ops in bands of rows, some of which are made twice.
    Bands {
        /// Bytes of the arena.
        arena_bytes: u32,
        /// Multiply-accumulate operations of one run.
        macs: u64,
        /// How many more that is.
        more_percent: f64,
    },
    /// One slot: an update overwrites what runs.
    OneSlot {
        /// What it takes.
        flash_bytes: u32,
    },
    /// Another board.
    Board {
        /// Its id.
        board: String,
    },
    /// Another registered model.
    Model {
        /// Its name and version.
        model: String,
        /// RAM of one prediction.
        ram_bytes: u32,
        /// Flash of two slots.
        flash_bytes: u32,
    },
}

impl fmt::Display for Smaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Smaller::Bands {
                arena_bytes,
                more_percent,
                ..
            } => write!(
                f,
                "more bands of rows: an arena of {arena_bytes} bytes for {more_percent:.1} % more work"
            ),
            Smaller::OneSlot { flash_bytes } => write!(
                f,
                "one slot: {flash_bytes} bytes of flash, but an update overwrites what runs"
            ),
            Smaller::Board { board } => write!(f, "board `{board}`"),
            Smaller::Model {
                model,
                ram_bytes,
                flash_bytes,
            } => write!(
                f,
                "{model}: {ram_bytes} bytes of RAM, {flash_bytes} of flash"
            ),
        }
    }
}

impl Shortfall {
    /// Looks for what does not fit and what would; `None` if the model fits.
    ///
    /// `again` compiles the same model with other options.
    pub fn of(
        compiled: &Compiled,
        board: &Board,
        limits: &Limits,
        others: &[Board],
        mut again: impl FnMut(&Options) -> Option<Compiled>,
    ) -> Option<Shortfall> {
        let taken = fit(compiled, board, limits);
        if taken.fits() {
            return None;
        }
        let ram_over_bytes = taken.ram_bytes.saturating_sub(taken.ram_free_bytes);
        let is_ram_short = is_short_of_ram(&taken);
        let flash_over_bytes = taken.flash_bytes.saturating_sub(taken.flash_free_bytes);
        let mut shortfall = Shortfall {
            ram_over_bytes,
            peak: is_ram_short.then(|| compiled.memory.peak()).flatten(),
            flash_over_bytes,
            largest: if flash_over_bytes > 0 {
                largest(compiled)
            } else {
                Vec::new()
            },
            golden_bytes: golden_bytes(compiled),
            slot_bytes: slot_bytes(compiled),
            constant_bytes: compiled.ops.iter().map(|op| op.constant_bytes).sum(),
            options: Vec::new(),
            in_vain: Vec::new(),
        };
        if is_ram_short && compiled.arena_bytes > 0 {
            shortfall.try_bands(compiled, board, limits, &mut again);
        }
        if flash_over_bytes > 0 {
            shortfall.try_one_slot(compiled, &taken);
        }
        for other in others.iter().filter(|other| other.id != board.id) {
            let spread = spread_options(compiled, other).and_then(|options| again(&options));
            if fit(spread.as_ref().unwrap_or(compiled), other, limits).fits() {
                shortfall.options.push(Smaller::Board {
                    board: other.id.clone(),
                });
            }
        }
        Some(shortfall)
    }

    /// Where the bytes are, one sentence each.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(peak) = &self.peak {
            said.push(peak.to_string());
        }
        if self.flash_over_bytes > 0 {
            let each = self.largest.iter();
            let each =
                each.map(|layer| format!("`{}` ({}) {}", layer.layer, layer.kind, layer.bytes));
            let each: Vec<String> = each.collect();
            let (all, golden, slot) = (self.constant_bytes, self.golden_bytes, self.slot_bytes);
            let largest = match &each[..] {
                [] => String::new(),
                each => format!(" (most of it {})", each.join(", ")),
            };
            said.push(format!(
                "of the {slot} bytes of a slot, filters and biases take {all}{largest}, golden vectors {golden}"
            ));
        }
        said
    }

    fn try_bands(
        &mut self,
        compiled: &Compiled,
        board: &Board,
        limits: &Limits,
        again: &mut impl FnMut(&Options) -> Option<Compiled>,
    ) {
        let more = |other: &Compiled| {
            let before = compiled.macs.max(1) as f64;
            100.0 * (other.macs as f64 - before) / before
        };
        let mut least: Option<Compiled> = None;
        for extra_macs_percent in MORE_PERCENT {
            let options = Options {
                split_from_bytes: 0,
                extra_macs_percent,
                regions: match board.more_ram.is_empty() {
                    true => ONE_REGION,
                    false => board.arena_rooms(compiled.ram.beside_bytes()),
                },
                ..Options::default()
            };
            let Some(other) = again(&options) else { break };
            if !is_short_of_ram(&fit(&other, board, limits)) {
                self.options.push(Smaller::Bands {
                    arena_bytes: other.arena_bytes,
                    macs: other.macs,
                    more_percent: more(&other),
                });
                return;
            }
            if least
                .as_ref()
                .is_none_or(|least| other.arena_bytes < least.arena_bytes)
            {
                least = Some(other);
            }
        }
        let before = compiled.arena_bytes;
        if let Some(least) = least.filter(|least| least.arena_bytes < before) {
            let over = least
                .ram
                .total_bytes()
                .saturating_sub(compiled.ram.total_bytes() - self.ram_over_bytes);
            let over = match over {
                0 => "which go into no pieces either".to_owned(),
                over => format!("still {over} too many"),
            };
            self.in_vain.push(format!(
                "bands of rows with {:.1} % more work have an arena of {} bytes, {over}",
                more(&least),
                least.arena_bytes
            ));
        } else {
            self.in_vain
                .push("bands of rows make the arena no smaller".to_owned());
        }
    }

    fn try_one_slot(&mut self, compiled: &Compiled, taken: &Fit) {
        let flash_bytes = slot_bytes(compiled);
        if flash_bytes <= taken.flash_free_bytes {
            self.options.push(Smaller::OneSlot { flash_bytes });
        } else {
            let over = flash_bytes - taken.flash_free_bytes;
            self.in_vain.push(format!(
                "one slot takes {flash_bytes} bytes of flash, still {over} too many"
            ));
        }
    }
}

fn is_short_of_ram(taken: &Fit) -> bool {
    let is_ram =
        |reason: &FitError| matches!(reason, FitError::Ram { .. } | FitError::Pieces { .. });
    taken.reasons.iter().any(is_ram)
}

fn largest(compiled: &Compiled) -> Vec<LayerBytes> {
    let mut layers: Vec<LayerBytes> = compiled
        .ops
        .iter()
        .filter(|op| op.constant_bytes > 0)
        .map(|op| LayerBytes {
            layer: op.output.clone(),
            kind: op.kind,
            bytes: op.constant_bytes,
        })
        .collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.bytes));
    layers.truncate(LARGEST);
    layers
}
