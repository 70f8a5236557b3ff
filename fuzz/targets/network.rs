//! An event of a LoRaWAN network server, whose it is by the first byte: an uplink's payload goes down again as it came.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_fleet::lorawan::{Heard, Network, Payload};

const KINDS: [&str; 8] = [
    "up", "join", "txack", "ack", "log", "status", "location", "",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&pick, document)) = bytes.split_first() else {
        return;
    };
    let (network, kind) = match pick & 1 {
        0 => (
            Network::ChirpStack,
            KINDS[usize::from(pick >> 1) % KINDS.len()],
        ),
        _ => (Network::TheThingsStack, ""),
    };
    if let Ok(Heard::Uplink(uplink)) = network.read(kind, document) {
        assert!((7..=12).contains(&uplink.spreading_factor), "{uplink:?}");
        let payload = Payload {
            port: uplink.port,
            bytes: uplink.payload,
        };
        let down = network.write(uplink.device, &payload);
        assert!(down.is_object());
    }
});
