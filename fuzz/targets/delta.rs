//! Any delta over any old image is answered within bounds, and its pieces do not depend on how they are asked for.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::delta::{Decoder, DeltaError, Header};

/// Most bytes of a new image that a device here has room for.
const ROOM: u32 = 1 << 16;

fn made(delta: &[u8], base: &[u8], piece: usize) -> Result<Vec<u8>, DeltaError> {
    // The fuzzer need not find digests: the base is whatever the delta asks for.
    let mut decoder = Decoder::IDLE;
    let header = decoder.begin(delta, Header::parse(delta)?.base)?;
    let mut new = vec![0; header.bytes.min(ROOM) as usize];
    for out in new.chunks_mut(piece) {
        let count = decoder.fill(delta, base, out)?;
        assert_eq!(count, out.len());
    }
    Ok(new)
}

fuzz_target!(|bytes: &[u8]| {
    // Two bytes say how many of the others are the old image.
    let Some((length, bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes(*length)).min(bytes.len());
    let (base, delta) = bytes.split_at(at);
    assert_eq!(made(delta, base, 64), made(delta, base, ROOM as usize));
});
