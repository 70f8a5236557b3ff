//! The whole agent on an emulated board: enrolment, slots, trial, deltas, monitor and reports, over a serial line.
//!
//! ```text
//! first port    the serial link of docs/formats/serial.md, to a gateway
//! second port   in: readings of the sensor, which are played in; out: what the board says, line by line
//! flash         a file of the host's, written byte by byte: what an emulator that is killed leaves in it stays
//! ```
//! What is the product's is the agent and the wire formats; what stands in for silicon is `qemu-machine`. The README says
//! which is which, and what was run.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod board;
mod flash;
mod identity;
mod ram;
mod sensor;
mod words;

use core::convert::Infallible;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use qemu_machine::{host, memory, mps2, stop};
use tinyops_device::{Agent, BlockSource, Config, Event, Privacy, Reporting, Sensor as Measures};
use tinyops_wire::KeySet;
use tinyops_wire::provision::{CHANNELS_MAX, Factory, Record};
use tinyops_wire::sensor::Channel;
use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, OVERHEAD, line_bytes_max};
use tinyops_wire::summary::Format;

use crate::board::Board;
use crate::flash::{AgentFlash, Image};
use crate::ram::Ram;
use crate::sensor::{Said, Sensor};
use crate::words::Words;

/// Bytes of a frame on the line, before stuffing.
const FRAME_BYTES: usize = BODY_BYTES_MAX + OVERHEAD;
/// The same with what stuffing adds.
const LINE_BYTES: usize = line_bytes_max(BODY_BYTES_MAX);
/// Bytes of a block of a capsule; as many go in one message as the gateway takes, so that one that takes little carries it too.
const BLOCK_BYTES: u16 = 128;

/// A channel that nothing is said of.
const UNKNOWN: Channel<'static> = Channel {
    axis: "",
    unit: "",
    full_scale: 0.0,
};

#[entry]
fn main() -> ! {
    static mut DECODER: Decoder<FRAME_BYTES> = Decoder::new();
    static mut FRAME: [u8; LINE_BYTES] = [0; LINE_BYTES];
    static mut CHANNELS: [Channel<'static>; CHANNELS_MAX] = [UNKNOWN; CHANNELS_MAX];
    memory::paint();
    if let Some(parts) = mps2::Board::start() {
        let mut board = Board::new(parts, DECODER, FRAME);
        board.say(format_args!("tinyops-mps2 1"));
        let Err(reason) = live(&mut board, CHANNELS);
        board.say(format_args!("refused {reason}"));
    }
    stop()
}

/// Lives, or says why it cannot.
fn live(
    board: &mut Board,
    channels: &'static mut [Channel<'static>; CHANNELS_MAX],
) -> Result<Infallible, &'static str> {
    let (config, flash) = wake(board, channels)?;
    let sensor = Sensor::new(config.sensor.channel_count.into());
    let ram = Ram::take().ok_or("too little RAM")?;
    work(Agent::new(config, flash, ram), board, sensor)
}

/// Finds out who the device is, enrolling if it is nobody yet; apart, so that this leaves the stack again.
#[inline(never)]
fn wake(
    board: &mut Board,
    channels: &'static mut [Channel<'static>; CHANNELS_MAX],
) -> Result<(Config, AgentFlash), &'static str> {
    let (factory, mut image) = open_flash(board)?;
    let Ok(Record::Factory(factory)) = Record::decode(factory) else {
        return Err("the factory has written nothing");
    };
    let keys = keys_of(&factory)?;
    let enrolled = identity::enrolled(&factory, &keys, &mut image, board)?;
    board.say(format_args!("device {}", enrolled.device));
    // Where the factory says nothing of them there are none, and any capsule's will do.
    let said = factory.sensor.iter().flat_map(|sensor| sensor.channels());
    let mut count = 0;
    for (place, channel) in channels.iter_mut().zip(said) {
        *place = channel;
        count += 1;
    }
    let channels = &channels[..count];
    let config = Config {
        device: enrolled.device,
        key: enrolled.key,
        first_uplink: enrolled.first_uplink,
        roots: factory.roots,
        keys,
        board: factory.board,
        sensor: Measures {
            channel_count: factory.channel_count,
            rate_hz: factory.rate_hz,
            mounting: factory.sensor.and_then(|sensor| sensor.mounting()),
            channels,
        },
        reporting: Reporting {
            every_windows: factory.report_windows,
            every_ms: factory.report_ms.into(),
            format: Format::M6H8,
        },
        privacy: Privacy::Plain,
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 2000,
        tries: 3,
        trial_windows: 4,
    };
    Ok((config, AgentFlash::new(image)))
}

/// The flash that the command line names, and what the factory wrote into it.
#[inline(never)]
fn open_flash(board: &mut Board) -> Result<(&'static [u8], Image), &'static str> {
    let mut line = [0; 512];
    let words = host::command_line(&mut line).ok_or("nothing says where its flash is")?;
    let words = Words::read(words).ok_or("nothing says where its flash is")?;
    board.set_hangs(words.hangs);
    Image::open(words.flash, words.faults)
}

/// The keys that the factory gave; apart, so that what reads them leaves the stack again.
#[inline(never)]
fn keys_of(factory: &Factory<'_>) -> Result<KeySet, &'static str> {
    factory.keys().map_err(|_| "the factory's key set is none")
}

/// Does what events ask for, and sleeps in between.
#[inline(never)]
fn work(
    mut agent: Agent<AgentFlash, Ram>,
    board: &mut Board,
    mut sensor: Sensor,
) -> Result<Infallible, &'static str> {
    board.meet();
    board.handle(&mut agent, Event::Boot);
    loop {
        board.forget_wakes();
        board.feed_watchdog();
        // What the server says comes before the sensor, so that no window goes unscored that need not.
        board.hear(&mut agent);
        match board.measure(&mut sensor) {
            Some(Said::Reading) => board.handle(&mut agent, Event::Reading(sensor.reading())),
            Some(Said::End) => board.say(format_args!("drained")),
            None => {
                board.handle(&mut agent, Event::Tick);
                board.sleep();
            }
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    stop()
}
