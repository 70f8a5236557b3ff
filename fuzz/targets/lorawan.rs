//! Payloads of any bytes, each behind its length: nothing is taken for authentic, and fragments make whole messages or none.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::envelope::Direction;
use tinyops_wire::lorawan::{Assembler, Known, Part, Short, decode_block};
use tinyops_wire::{DeviceId, DeviceKey, ModelId};

fuzz_target!(|bytes: &[u8]| {
    let mut assembler = Assembler::<300>::new();
    let mut rest = bytes;
    while let Some((&len, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(len)));
        rest = tail;
        if let Ok(short) = Short::parse(payload) {
            let known = Known {
                direction: Direction::Up,
                device: DeviceId(1),
                model: ModelId(2),
                sequence: 3,
            };
            let _ = short.open(&known, &DeviceKey([4; 32]));
        }
        match Part::decode(payload) {
            Some(Part::Fragment(fragment)) => {
                if let Some(whole) = assembler.push(fragment) {
                    assert!(!whole.is_empty());
                }
            }
            Some(part) => {
                let mut again = [0; 8];
                let len = part.encode(&mut again).expect("five bytes");
                assert_eq!(&again[..len], payload);
            }
            None => {}
        }
        let _ = decode_block(&[0; 8], payload);
    }
});
