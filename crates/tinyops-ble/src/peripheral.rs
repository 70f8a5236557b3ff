//! The board's end: advertises the service, takes one gateway at a time, and carries bytes until it goes.

use core::convert::Infallible;

use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer};
use trouble_host::Controller;
use trouble_host::att::{AttClient, AttReq};
use trouble_host::prelude::*;

use crate::{DOWN, Guarded, Line, PIECE_BYTES, SERVICE, UP};

/// What the host keeps: one connection, the attribute protocol's channel and that of signals.
pub type Resources = HostResources<DefaultPacketPool, 1, 2>;

/// The generic access service with two attributes and their declarations, the generic attribute service, and ours.
const ATTRIBUTES: usize = 12;
const CONNECTIONS: usize = 1;
/// A host that is out of packets for a moment.
const MOMENT: Duration = Duration::from_millis(5);

type Table<'a> = AttributeTable<'a, NoopRawMutex, ATTRIBUTES>;
type Server<'a> = AttributeServer<'a, NoopRawMutex, DefaultPacketPool, ATTRIBUTES, CONNECTIONS>;
type Connected<'s, 'v> = GattConnection<'s, 'v, DefaultPacketPool>;

/// The name of a device in the air: `TinyOps` and the first eight digits of its id, as the fleet's pages write it.
pub fn name(device: u64) -> [u8; 16] {
    let mut name = *b"TinyOps 00000000";
    for (at, place) in name[8..].iter_mut().enumerate() {
        let digit = (device >> (60 - 4 * at)) as u8 & 0xf;
        *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
    }
    name
}

/// A static random address that stays the device's own: of its id, with the two bits that say so.
pub fn address(device: u64) -> Address {
    let [a, b, c, d, e, f, ..] = device.to_le_bytes();
    Address::random([a, b, c, d, e, f | 0xc0])
}

/// Advertises and carries bytes for ever.
///
/// # Errors
/// What the controller or the host cannot go on after.
pub async fn serve<C: Controller>(
    controller: C,
    resources: &mut Resources,
    address: Address,
    name: &[u8],
    line: &Line,
) -> Result<Infallible, BleHostError<C::Error>> {
    let stack = trouble_host::new(Guarded(controller), resources)
        .set_random_address(address)
        .build();
    let mut runner = stack.runner();
    match select(runner.run(), advertise(&stack, name, line)).await {
        // The runner ends by an error only.
        Either::First(ended) => Err(match ended {
            Ok(()) => Error::Disconnected.into(),
            Err(error) => error,
        }),
        Either::Second(ended) => ended,
    }
}

async fn advertise<C: Controller>(
    stack: &Stack<'_, C, DefaultPacketPool>,
    name: &[u8],
    line: &Line,
) -> Result<Infallible, BleHostError<C::Error>> {
    // Of no category.
    let appearance = [0; 2];
    let mut table = Table::new();
    let mut access = table.add_service(Service::new(0x1800_u16));
    access.add_characteristic_ro(0x2a00_u16, name).build();
    access
        .add_characteristic_ro(0x2a01_u16, &appearance)
        .build();
    access.build();
    table.add_service(Service::new(0x1801_u16)).build();
    let mut ours = table.add_service(Service::new(SERVICE));
    let written = [
        CharacteristicProp::Write,
        CharacteristicProp::WriteWithoutResponse,
    ];
    let down = ours
        .add_characteristic_small(DOWN, written, [0_u8; 1])
        .build();
    let up = ours
        .add_characteristic_small(UP, [CharacteristicProp::Notify], [0_u8; 1])
        .build();
    ours.build();
    let server = Server::new(table);

    let mut said = [0; 31];
    let services = [SERVICE
        .as_raw()
        .try_into()
        .map_err(|_| Error::InvalidValue)?];
    let said_bytes = AdStructure::encode_slice(
        &[
            AdStructure::Flags(LE_GENERAL_DISCOVERABLE | BR_EDR_NOT_SUPPORTED),
            AdStructure::CompleteServiceUuids128(&services),
        ],
        &mut said,
    )?;
    let mut answered = [0; 31];
    let answered_bytes =
        AdStructure::encode_slice(&[AdStructure::CompleteLocalName(name)], &mut answered)?;
    let mut peripheral = stack.peripheral();
    loop {
        let advertised = Advertisement::ConnectableScannableUndirected {
            adv_data: &said[..said_bytes],
            scan_data: &answered[..answered_bytes],
        };
        let advertiser = peripheral
            .advertise(&AdvertisementParameters::default(), advertised)
            .await?;
        // One that went before it was there is none.
        let Ok(connection) = advertiser.accept().await else {
            continue;
        };
        let Ok(connected) = connection.with_attribute_server(&server) else {
            continue;
        };
        let asked = Signal::new();
        select(
            hear(&connected, &down, line, &asked),
            speak(&connected, &up, line, &asked),
        )
        .await;
        line.close();
    }
}

/// Some attribute other than `down` was written: it may be who asks for notifications.
type Asked = Signal<NoopRawMutex, ()>;

/// Takes in what the gateway does until it is gone.
async fn hear(
    connected: &Connected<'_, '_>,
    down: &Characteristic<[u8; 1]>,
    line: &Line,
    asked: &Asked,
) {
    loop {
        let event = match connected.next().await {
            GattConnectionEvent::Disconnected { .. } => return,
            GattConnectionEvent::Gatt { event } => event,
            _ => continue,
        };
        let reply = match event {
            GattEvent::Write(write) if write.handle() == down.handle => {
                write.with_data(|_, bytes| line.hear(bytes));
                if let AttClient::Request(AttReq::Write { .. }) = write.payload().incoming() {
                    line.room().await;
                }
                write.accept_unprocessed()
            }
            event => {
                let reply = event.accept();
                asked.signal(());
                reply
            }
        };
        if let Ok(reply) = reply {
            reply.send().await;
        }
    }
}

/// Notifies of what the firmware says, as long as the gateway wants to hear it.
async fn speak(
    connected: &Connected<'_, '_>,
    up: &Characteristic<[u8; 1]>,
    line: &Line,
    asked: &Asked,
) {
    let mut piece = [0; PIECE_BYTES];
    loop {
        while !up.should_notify(connected) {
            asked.wait().await;
        }
        line.open();
        // Opcode and handle go before the value.
        let most = usize::from(connected.raw().att_mtu()).saturating_sub(3);
        let most = most.clamp(1, PIECE_BYTES);
        let count = line.next(&mut piece[..most]).await;
        while let Err(error) = up.notify_raw(connected, &piece[..count], false).await {
            if error != Error::OutOfMemory {
                return;
            }
            Timer::after(MOMENT).await;
        }
    }
}
