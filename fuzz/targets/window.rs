//! Bytes that claim to be an opened window: never a panic, and every number of one that is whole can be read.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::annotation::OpenWindow;

fuzz_target!(|bytes: &[u8]| {
    let Some(window) = OpenWindow::decode(bytes) else {
        return;
    };
    let channels = usize::from(window.head.channel_count).max(1);
    assert_eq!(window.readings().count() % channels, 0);
    assert_eq!(window.vector.len(), usize::from(window.head.vector_bytes));
});
