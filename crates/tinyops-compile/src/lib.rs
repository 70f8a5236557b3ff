#![forbid(unsafe_code)]
//! From a model to what a board runs: plan, fit and capsule payload.
//!
//! [`compile`] lowers the graph of a model to a `Plan` with every tensor placed in one arena,
//! [`fit`] holds the result against a [`Board`], [`payload`] puts everything that a device needs
//! into the sections of a capsule. All are functions of their arguments.
//!
//! This crate never trains, signs, or runs a process.

mod board;
mod capsule;
mod compare;
mod compiled;
mod constants;
mod cost;
mod delta;
mod fit;
mod foreign;
mod geometry;
mod high_water;
mod layers;
mod lower;
mod package;
mod picture;
mod placement;
mod plan_memory;
mod reference;
mod replay;
mod rewrite;
mod schedule;
mod shortfall;
mod storages;
mod update;

pub use board::{
    Band, Board, BoardError, Boards, Cost, Loader, LoaderTool, Memory, Reserve, Speed, boards,
};
pub use capsule::{
    AXIS_BYTES_MAX, Golden, Mounting, PayloadError, RATE_TOLERANCE_PPM, RATE_TOLERANCE_PPM_MAX,
    SensorChannel, SensorContract, UNIT_BYTES_MAX, embedding_digest, payload, prior_of,
};
pub use compare::{Case, Comparison, Row, Verdict, Witness, compare};
pub use compiled::{
    CompileError, Compiled, ONE_REGION, OpCost, Options, RamUse, Saved, compile, compile_graph,
    compile_graph_with, compile_with,
};
pub use delta::{DELTA_EXCESS_MAX, DeltaTooLarge, delta};
pub use fit::{
    Fit, FitError, GOLDEN_COUNT_MAX, Limits, PieceFit, compile_for, fit, golden_count,
    spread_options,
};
pub use foreign::{BoardFit, Layer, Survey, model_of, survey};
pub use high_water::ArenaFault;
pub use layers::{LayerMap, LayerValues, Values};
pub use package::{Ecosystem, Facts, Package, PackageError, Part, package};
pub use plan_memory::{ARENA_ALIGN, Lifetime, MemoryPlan, Needed, Peak, Placed, Region};
pub use reference::{Reference, ReferenceCase, ReferenceError, ReferenceLayer};
pub use replay::{Difference, Replay, ReplayError, golden_of, replay};
pub use rewrite::{Pass, Rewrite, Rewritten, rewrite};
pub use shortfall::{LayerBytes, Shortfall, Smaller};
pub use tinyops_nn::record::REGIONS_MAX;
pub use update::{Update, UpdateError};
