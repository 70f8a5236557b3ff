//! What leads from a device to its server, whatever it is.

use tinyops_device::Event;
use tokio::sync::mpsc;

use super::{Air, Line, Link};

/// What comes down to a device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// A message of the server.
    Envelope(Vec<u8>),
    /// Bytes of a capsule, over a link that has no room for an envelope around them.
    Block { offset: u32, bytes: Vec<u8> },
}

impl Down {
    /// The same for the agent.
    pub(crate) fn event(&self) -> Event<'_> {
        match self {
            Down::Envelope(bytes) => Event::Downlink(bytes),
            Down::Block { offset, bytes } => Event::Block {
                offset: *offset,
                bytes,
            },
        }
    }
}

/// What comes down, in its order.
pub(crate) type Inbox = mpsc::Receiver<Down>;

/// A link of any kind.
pub(crate) enum Way {
    /// A connection to the MQTT endpoint.
    Mqtt(Link),
    /// A line of a gateway.
    Line(Line),
    /// A radio, through a LoRaWAN network server.
    Air(Air),
}

impl Way {
    /// Sends an envelope. A way that is gone for good is one that nobody reads from either: the device stops soon.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) {
        let _ = match self {
            Way::Mqtt(link) => link.send(bytes).await,
            Way::Line(line) => line.send(bytes).await,
            Way::Air(air) => air.send(bytes).await,
        };
    }

    /// How many envelopes are not at the server yet, as far as this kind of link can tell.
    pub(crate) fn in_flight(&self) -> u64 {
        match self {
            Way::Mqtt(link) => link.in_flight(),
            Way::Line(line) => line.in_flight(),
            Way::Air(air) => air.in_flight(),
        }
    }

    /// Whether a message is on its way, up or down, as far as this kind of link can tell.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight() > 0 || matches!(self, Way::Air(air) if air.is_listening())
    }
}
