//! The whole agent on an Arduino Nano 33 BLE Sense: the accelerometer, the serial link over USB, slots in the internal
//! flash, and a watchdog. What was run of it, and what is missing, says the README.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod flash;
mod imu;
mod memory;

/// Who the device is.
mod identity {
    include!(concat!(env!("OUT_DIR"), "/identity.rs"));
}

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::twim::{self, Twim};
use embassy_nrf::usb::vbus_detect::{self, HardwareVbusDetect};
use embassy_nrf::usb::{self, Driver};
use embassy_nrf::wdt::{Config as WatchdogConfig, Watchdog, WatchdogHandle};
use embassy_nrf::{bind_interrupts, peripherals};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embassy_usb::Builder;
use embassy_usb::class::cdc_acm::{CdcAcmClass, State};
use static_cell::{ConstStaticCell, StaticCell};
use tinyops_device::{
    Action, Agent, BlockSource, Config, Event, Measured, Privacy, Reporting, Sensor,
};
use tinyops_wire::key_set::{RoleKeys, Roots};
use tinyops_wire::sensor::{Channel, Mounting};
use tinyops_wire::serial::{Decoder, Message, OVERHEAD, line_bytes_max};
use tinyops_wire::summary::Format;
use tinyops_wire::{DeviceId, DeviceKey, KeySet, VerifyingKey};

use crate::flash::Region;
use crate::imu::Imu;
use crate::memory::{Lender, Ram};

bind_interrupts!(struct Interrupts {
    TWISPI0 => twim::InterruptHandler<peripherals::TWISPI0>;
    USBD => usb::InterruptHandler<peripherals::USBD>;
    CLOCK_POWER => vbus_detect::InterruptHandler;
});

/// The sensor contract of this firmware.
const SENSOR: Sensor = Sensor {
    channel_count: 3,
    rate_hz: Imu::RATE_HZ,
    mounting: Some(Mounting::UPRIGHT),
    channels: &[axis("acc.x"), axis("acc.y"), axis("acc.z")],
};

const fn axis(axis: &'static str) -> Channel<'static> {
    Channel {
        axis,
        unit: "g",
        full_scale: imu::FULL_SCALE_G,
    }
}

/// Bytes of a block, and of the longest envelope that comes down or goes up with one.
const BLOCK_BYTES: u16 = 512;
const BODY_BYTES: usize = BLOCK_BYTES as usize + 38;
const LINE_BYTES: usize = line_bytes_max(BODY_BYTES);
/// Bytes of a packet of USB at full speed.
const PACKET_BYTES: usize = 64;
/// A host that does not take a packet for so long is not there: what is said is lost, as on any line.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the sensor is asked whether it has a reading, some three times in the time of one.
const ASK: Duration = Duration::from_millis(3);

type Nano = Agent<Region, Lender>;
type Line = CdcAcmClass<'static, Driver<'static, HardwareVbusDetect>>;

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    static RAM: ConstStaticCell<Ram> = ConstStaticCell::new(Ram::new());
    static DECODER: ConstStaticCell<Decoder<{ BODY_BYTES + OVERHEAD }>> =
        ConstStaticCell::new(Decoder::new());
    static USB: StaticCell<State<'static>> = StaticCell::new();
    static DESCRIPTORS: ConstStaticCell<[[u8; 256]; 3]> = ConstStaticCell::new([[0; 256]; 3]);
    static BUS: ConstStaticCell<[u8; 16]> = ConstStaticCell::new([0; 16]);

    let parts = embassy_nrf::init(embassy_nrf::config::Config::default());
    let mut watching = WatchdogConfig::default();
    // Eight seconds: an erased slot takes three, a signature a fraction of one.
    watching.timeout_ticks = 8 * 32_768;
    let Ok((_, [watchdog])) = Watchdog::try_new(parts.WDT, watching) else {
        // A bootloader has started it otherwise: it goes on, and ends this.
        SCB::sys_reset();
    };

    // Power of the sensors, and of the pull-ups of their bus.
    let _power = Output::new(parts.P0_22, Level::High, OutputDrive::Standard);
    let _pull_ups = Output::new(parts.P1_00, Level::High, OutputDrive::Standard);
    let light = Output::new(parts.P0_13, Level::Low, OutputDrive::Standard);
    Timer::after(Duration::from_millis(20)).await;
    let bus = Twim::new(
        parts.TWISPI0,
        Interrupts,
        parts.P0_14,
        parts.P0_15,
        twim::Config::default(),
        BUS.take(),
    );
    let imu = Imu::start(bus);

    let driver = Driver::new(parts.USBD, Interrupts, HardwareVbusDetect::new(Interrupts));
    let mut config = embassy_usb::Config::new(0x2341, 0x805a);
    config.manufacturer = Some("TinyOps");
    config.product = Some("Nano 33 BLE");
    let [descriptors, names, control] = DESCRIPTORS.take();
    let mut builder = Builder::new(driver, config, descriptors, names, &mut [], control);
    let line = CdcAcmClass::new(&mut builder, USB.init(State::new()), PACKET_BYTES as u16);
    let mut usb = builder.build();

    let Some(config) = settings() else {
        // Keys that are none: nothing can be believed.
        SCB::sys_reset();
    };
    let agent = Agent::new(config, Region(Nvmc::new(parts.NVMC)), Lender(RAM.take()));
    let board = Board {
        agent,
        line,
        decoder: DECODER.take(),
        watchdog,
        light,
    };
    join(usb.run(), board.live(imu)).await;
}

/// Who the device is, and its habits.
fn settings() -> Option<Config> {
    let key = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).ok();
    let mut roots = [key(&identity::ROOTS[0])?; identity::ROOTS.len()];
    for (root, bytes) in roots.iter_mut().zip(&identity::ROOTS) {
        *root = key(bytes)?;
    }
    Some(Config {
        device: DeviceId(identity::DEVICE),
        key: DeviceKey(identity::KEY),
        first_uplink: identity::FIRST_UPLINK,
        roots: Roots::new(&roots, identity::ROOTS_NEEDED)?,
        keys: KeySet {
            sequence: identity::KEY_SET,
            release: RoleKeys::one(key(&identity::RELEASE_KEY)?),
            director: RoleKeys::one(key(&identity::DIRECTOR_KEY)?),
        },
        board: "arduino-nano-33-ble-sense",
        sensor: SENSOR,
        reporting: Reporting {
            every_windows: 128,
            every_ms: 3_600_000,
            format: Format::M6H8,
        },
        privacy: Privacy::Plain,
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 10_000,
        tries: 3,
        trial_windows: 8,
    })
}

/// The agent and what it drives.
struct Board {
    agent: Nano,
    line: Line,
    decoder: &'static mut Decoder<{ BODY_BYTES + OVERHEAD }>,
    watchdog: WatchdogHandle,
    light: Output<'static>,
}

impl Board {
    /// Lives: what comes over the line, readings of the sensor, and the time in between.
    async fn live(mut self, mut imu: Option<Imu>) {
        self.meet().await;
        self.handle(Event::Boot).await;
        let mut packet = [0; PACKET_BYTES];
        loop {
            self.watchdog.pet();
            match select(self.line.read_packet(&mut packet), Timer::after(ASK)).await {
                Either::First(Ok(len)) => self.hear(&packet[..len]).await,
                // No host: the sensor goes on.
                Either::First(Err(_)) => Timer::after(ASK).await,
                Either::Second(()) => {}
            }
            match imu.as_mut().and_then(Imu::read) {
                Some(reading) => self.handle(Event::Reading(&reading)).await,
                None => self.handle(Event::Tick).await,
            }
        }
    }

    /// Says how much it takes.
    async fn meet(&mut self) {
        let mut line = [0; 32];
        let room = Message::Room {
            body_bytes: BODY_BYTES as u16,
        };
        if let Ok(len) = room.encode(&mut line) {
            send(&mut self.line, &line[..len]).await;
        }
    }

    async fn hear(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let mut body = [0; BODY_BYTES];
            let len = match self.decoder.push(byte) {
                Some(Ok(Message::Down(envelope))) => {
                    body[..envelope.len()].copy_from_slice(envelope);
                    envelope.len()
                }
                Some(Ok(Message::Room { body_bytes })) => {
                    let room = usize::from(body_bytes).min(BODY_BYTES);
                    self.agent.set_link_room(room.saturating_sub(38));
                    continue;
                }
                _ => continue,
            };
            self.handle(Event::Downlink(&body[..len])).await;
        }
    }

    /// Hands an event in, and does what is to be done until nothing is.
    async fn handle(&mut self, event: Event<'_>) {
        let mut begun = Instant::now();
        let mut action = self.agent.step(begun.as_millis(), event);
        loop {
            let next = match action {
                Action::Idle | Action::Entropy => return,
                Action::Reboot => SCB::sys_reset(),
                Action::Send(envelope) => {
                    let mut line = [0; LINE_BYTES];
                    if let Ok(len) = Message::Up(envelope).encode(&mut line) {
                        send(&mut self.line, &line[..len]).await;
                    }
                    Event::Tick
                }
                Action::Predict(prediction) => {
                    let is_first = prediction.answer.class() == Some(0);
                    self.light
                        .set_level(if is_first { Level::Low } else { Level::High });
                    Event::Measured(Measured {
                        micros: begun.elapsed().as_micros() as u32,
                        ..Measured::default()
                    })
                }
                Action::Shadow(_) => Event::Measured(Measured {
                    micros: begun.elapsed().as_micros() as u32,
                    ..Measured::default()
                }),
                // The agent has filled the window by single readings, and has it still.
                Action::Rescore => Event::Rescore(&[]),
                Action::Fetch(_) => Event::Tick,
            };
            self.watchdog.pet();
            begun = Instant::now();
            action = self.agent.step(begun.as_millis(), next);
        }
    }
}

/// Sends bytes in packets, if a host takes them.
async fn send(line: &mut Line, bytes: &[u8]) {
    for packet in bytes.chunks(PACKET_BYTES) {
        match with_timeout(PATIENCE, line.write_packet(packet)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    // A full last packet is ended by an empty one.
    if bytes.len().is_multiple_of(PACKET_BYTES) {
        let _ = with_timeout(PATIENCE, line.write_packet(&[])).await;
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    SCB::sys_reset()
}
