//! A virtual device and a fleet in one process, with no link between them.

use tinyops_device::{Event, Prediction};
use tinyops_fleet::{Fleet, Uplink};
use tinyops_store::Timestamp;
use tinyops_wire::{DeviceKey, Sealed, envelope::Direction};

use super::VirtualDevice;

/// Hands in an event, and carries envelopes both ways until neither side has more to say; `see` sees each frame up.
/// The answer is what the device said of the event itself.
pub(super) async fn carry(
    fleet: &Fleet,
    device: &mut VirtualDevice,
    (key, now): (&DeviceKey, Timestamp),
    event: Event<'_>,
    mut see: impl FnMut(&[u8]),
) -> Option<Prediction> {
    let mut response = device.handle(0, event);
    let said = response.predictions.pop();
    let mut uplinks = response.uplinks;
    while !uplinks.is_empty() {
        for bytes in &uplinks {
            let sealed = Sealed::parse(bytes).unwrap();
            see(sealed.open(key, Direction::Up).unwrap().body);
        }
        let carried: Vec<Uplink<'_>> = uplinks
            .iter()
            .map(|bytes| Uplink { from: None, bytes })
            .collect();
        let (verdicts, _) = fleet.ingest_many(&carried, now).await.unwrap();
        let mut next = Vec::new();
        for bytes in verdicts.iter().flat_map(|verdict| &verdict.down) {
            next.extend(device.handle(0, Event::Downlink(bytes)).uplinks);
        }
        uplinks = next;
    }
    said
}
