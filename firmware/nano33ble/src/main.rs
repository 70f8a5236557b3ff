//! The whole agent on an Arduino Nano 33 BLE Sense: the accelerometer, the serial link over USB or (feature `ble`) over
//! Bluetooth LE, slots in the internal flash, and a watchdog. What was run of it, and what is missing, says the README.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[cfg(feature = "ble")]
mod air;
mod flash;
mod memory;
#[cfg(not(feature = "ble"))]
mod usb;

/// Who the device is.
mod identity {
    include!(concat!(env!("OUT_DIR"), "/identity.rs"));
}

use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_nrf::config::HfclkSource;
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use embassy_nrf::interrupt::{self, InterruptExt as _, Priority};
use embassy_nrf::twim::{self, Twim};
use embassy_nrf::wdt::{Config as WatchdogConfig, Watchdog, WatchdogHandle};
use embassy_nrf::{bind_interrupts, peripherals};
use embassy_time::{Delay, Duration, Instant, Timer};
use nano33ble_imu::{FULL_SCALE_G, Revision};
use static_cell::ConstStaticCell;
use tinyops_device::{
    Action, Agent, BlockSource, Config, Event, Measured, Privacy, Reporting, Sensor,
};
use tinyops_wire::key_set::{RoleKeys, Roots};
use tinyops_wire::sensor::{Channel, Mounting};
use tinyops_wire::serial::{Decoder, Message, OVERHEAD, line_bytes_max};
use tinyops_wire::summary::Format;
use tinyops_wire::{DeviceId, DeviceKey, KeySet, VerifyingKey};

#[cfg(feature = "ble")]
use crate::air::Line;
use crate::flash::Region;
use crate::memory::{Lender, Ram};
#[cfg(not(feature = "ble"))]
use crate::usb::Line;

bind_interrupts!(struct Interrupts {
    TWISPI0 => twim::InterruptHandler<peripherals::TWISPI0>;
});

/// The sensor contract of this firmware, at the rate of the board's revision.
const fn sensor(rate_hz: f32) -> Sensor {
    Sensor {
        channel_count: 3,
        rate_hz,
        mounting: Some(Mounting::UPRIGHT),
        channels: &CHANNELS,
    }
}

const CHANNELS: [Channel<'static>; 3] = [axis("acc.x"), axis("acc.y"), axis("acc.z")];

const fn axis(axis: &'static str) -> Channel<'static> {
    Channel {
        axis,
        unit: "g",
        full_scale: FULL_SCALE_G,
    }
}

/// Bytes of a block, and of the longest envelope that comes down or goes up with one.
const BLOCK_BYTES: u16 = 512;
const BODY_BYTES: usize = BLOCK_BYTES as usize + 38;
const LINE_BYTES: usize = line_bytes_max(BODY_BYTES);
/// Bytes that are taken off the line at once.
const PIECE_BYTES: usize = 64;
/// How often the sensor is asked whether it has a reading, some three times in the time of one.
const ASK: Duration = Duration::from_millis(3);

/// Until the watchdog ends this. An erased slot takes three seconds, and a signature a fraction of one; beside the radio a
/// page is erased in pieces of ten milliseconds between its events, which takes three times as long.
const WATCHED_SECONDS: u32 = if cfg!(feature = "ble") { 30 } else { 8 };

type Nano = Agent<Region, Lender>;
/// The accelerometer, of whichever revision the board is.
type Imu = nano33ble_imu::Imu<Twim<'static>, Delay>;

/// What came over the line.
enum Heard {
    /// So many bytes.
    Bytes(usize),
    /// A gateway, which wants to know how much this end takes.
    #[cfg_attr(
        not(feature = "ble"),
        expect(dead_code, reason = "a cable does not tell")
    )]
    Opened,
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    static RAM: ConstStaticCell<Ram> = ConstStaticCell::new(Ram::new());
    static DECODER: ConstStaticCell<Decoder<{ BODY_BYTES + OVERHEAD }>> =
        ConstStaticCell::new(Decoder::new());
    static BUS: ConstStaticCell<[u8; 16]> = ConstStaticCell::new([0; 16]);

    let parts = embassy_nrf::init(clocks());
    let mut watching = WatchdogConfig::default();
    watching.timeout_ticks = WATCHED_SECONDS * 32_768;
    let Ok((_, [watchdog])) = Watchdog::try_new(parts.WDT, watching) else {
        // A bootloader has started it otherwise: it goes on, and ends this.
        SCB::sys_reset();
    };

    // Power of the sensors, and of the pull-ups of their bus.
    let _power = Output::new(parts.P0_22, Level::High, OutputDrive::Standard);
    let _pull_ups = Output::new(parts.P1_00, Level::High, OutputDrive::Standard);
    let light = Output::new(parts.P0_13, Level::Low, OutputDrive::Standard);
    Timer::after(Duration::from_millis(20)).await;
    let mut bus = Twim::new(
        parts.TWISPI0,
        Interrupts,
        parts.P0_14,
        parts.P0_15,
        twim::Config::default(),
        BUS.take(),
    );
    // A board whose sensor says nothing keeps what was installed for the first revision, and scores nothing.
    let revision = Revision::of(&mut bus).unwrap_or(Revision::First);
    let imu = Imu::start(revision, bus, Delay);

    #[cfg(not(feature = "ble"))]
    let ((line, runs), flash) = (usb::start(parts.USBD), Region::new(parts.NVMC));
    #[cfg(feature = "ble")]
    let ((line, runs), flash) = {
        let layer = nrf_mpsl::Peripherals::new(
            parts.RTC0,
            parts.TIMER0,
            parts.TEMP,
            parts.PPI_CH19,
            parts.PPI_CH30,
            parts.PPI_CH31,
        );
        let controller = nrf_sdc::Peripherals::new(
            parts.PPI_CH17,
            parts.PPI_CH18,
            parts.PPI_CH20,
            parts.PPI_CH21,
            parts.PPI_CH22,
            parts.PPI_CH23,
            parts.PPI_CH24,
            parts.PPI_CH25,
            parts.PPI_CH26,
            parts.PPI_CH27,
            parts.PPI_CH28,
            parts.PPI_CH29,
        );
        let Some(layer) = air::share(layer) else {
            SCB::sys_reset();
        };
        let Some(started) = air::start(layer, controller, parts.RNG) else {
            SCB::sys_reset();
        };
        (started, Region::new(layer, parts.NVMC))
    };

    let Some(config) = settings(revision) else {
        // Keys that are none: nothing can be believed.
        SCB::sys_reset();
    };
    let agent = Agent::new(config, flash, Lender(RAM.take()));
    let board = Board {
        agent,
        line,
        decoder: DECODER.take(),
        watchdog,
        light,
    };
    // One task: what waits for the flash without the executor (`air::wait`) finds everything else polled again after it.
    join(runs, board.live(imu)).await;
}

/// The chip's clocks, and who may interrupt whom.
fn clocks() -> embassy_nrf::config::Config {
    let mut config = embassy_nrf::config::Config::default();
    if cfg!(feature = "ble") {
        // The radio's layer starts the crystal itself, and has the priorities 0, 1 and 4 for itself.
        config.time_interrupt_priority = Priority::P2;
        config.gpiote_interrupt_priority = Priority::P2;
        interrupt::TWISPI0.set_priority(Priority::P3);
    } else {
        // USB runs on the crystal only.
        config.hfclk_source = HfclkSource::ExternalXtal;
    }
    config
}

/// Who the device is, and its habits.
fn settings(revision: Revision) -> Option<Config> {
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
        sensor: sensor(revision.rate_hz()),
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
        let mut piece = [0; PIECE_BYTES];
        loop {
            self.watchdog.pet();
            match select(self.line.read(&mut piece), Timer::after(ASK)).await {
                Either::First(Heard::Bytes(count)) => self.hear(&piece[..count]).await,
                Either::First(Heard::Opened) => self.meet().await,
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
            self.line.send(&line[..len]).await;
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
                        self.line.send(&line[..len]).await;
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

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    SCB::sys_reset()
}
