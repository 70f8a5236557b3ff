//! What the decoder takes on a Cortex-M4F, emulated: flash, RAM, instructions.

use super::Row;
use super::perturb::{Layers, Move};
use super::sizes::{KWS, NO_NETWORKS, Network};
use tinyops_compile::delta;
use tinyops_emulate::{
    DeltaBench, DeltaMeasured, EmulateError, Firmware, Machine, delta_flash_bytes,
};

/// Weights of KWS.
const WEIGHTS: u64 = 22_016;
/// Bytes that a device makes at a time: what many flash chips write at once.
const PIECE_BYTES: u32 = 256;

/// Every figure that the decoder has a goal for, and the cost of a packed network.
pub(super) fn decoder() -> Result<Vec<Row>, String> {
    let Some(kws) = Network::named(KWS)? else {
        return Ok(vec![Row::skipped("delta decoder", NO_NETWORKS)]);
    };
    let told = |error: EmulateError| error.to_string();
    let machine = Machine::named("m4f").ok_or("no machine `m4f`")?;
    let firmware = Firmware::find().map_err(told)?;
    let bench = match DeltaBench::build(&firmware, machine) {
        Err(error @ EmulateError::Missing { .. }) => {
            return Ok(vec![Row::skipped("delta decoder", &error.to_string())]);
        }
        bench => bench.map_err(told)?,
    };
    let flash = delta_flash_bytes(&firmware, machine).map_err(told)?;
    let new = kws.moved(Layers::All, Move::Step(0.01), 1)?;
    let measure = |old: &[u8]| {
        let delta = delta(old, &new.image).map_err(|error| error.to_string())?;
        let measured = bench.run(&delta, old, PIECE_BYTES).map_err(told)?;
        match measured.is_right {
            true => Ok(measured),
            false => Err("the device makes another image".to_owned()),
        }
    };
    let (changed, packed) = (measure(&kws.image)?, measure(&[])?);
    let row = |name, most, own, peer: &str| Row::at_most(name, most, own, peer.to_owned());
    let state = u64::from(changed.state_bytes);
    let ram = state + u64::from(changed.stack_bytes);
    let a_weight = |measured: DeltaMeasured| measured.instructions.div_ceil(WEIGHTS);
    Ok(vec![
        row(
            "delta decoder, code, bytes",
            Some(2048),
            flash.into(),
            "detools C 4,056",
        ),
        row("delta decoder, state, bytes", None, state, "detools C 640"),
        row(
            "delta decoder, state and stack, bytes",
            Some(1024),
            ram,
            "detools C 640 without its stack",
        ),
        row(
            "delta decoder, KWS 1 %, instructions a weight",
            Some(60),
            a_weight(changed),
            "–",
        ),
        row(
            "delta decoder, KWS packed, instructions a weight",
            None,
            a_weight(packed),
            "–",
        ),
    ])
}
