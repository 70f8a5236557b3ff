//! The serial link over Bluetooth LE, on the controller of Nordic's (`nrf-sdc`), which shares the chip with us by `nrf-mpsl`.

use core::future::Future;

use cortex_m::peripheral::SCB;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_nrf::interrupt::Priority;
use embassy_nrf::interrupt::typelevel::{self, Interrupt as _};
use embassy_nrf::mode::Async;
use embassy_nrf::rng::{self, Rng};
use embassy_nrf::{bind_interrupts, peripherals};
use embassy_time::{Duration, with_timeout};
use nrf_mpsl::{MultiprotocolServiceLayer, SessionMem};
use nrf_sdc::SoftdeviceController;
use static_cell::StaticCell;

use crate::{Heard, identity};

bind_interrupts!(struct Interrupts {
    RNG => rng::InterruptHandler<peripherals::RNG>;
    EGU0_SWI0 => nrf_mpsl::LowPrioInterruptHandler;
    CLOCK_POWER => nrf_mpsl::ClockInterruptHandler;
    RADIO => nrf_mpsl::HighPrioInterruptHandler;
    TIMER0 => nrf_mpsl::HighPrioInterruptHandler;
    RTC0 => nrf_mpsl::HighPrioInterruptHandler;
});

/// A gateway that does not take a frame for so long is not there.
const PATIENCE: Duration = Duration::from_secs(2);
const PIECE_BYTES: usize = 64;
/// Packets of the link layer at their longest, and how many of each direction wait in the controller.
const PACKET_BYTES: u16 = 251;
const PACKETS: u8 = 4;
/// What the controller works in: one link with the packets above takes less (`sdc.h`, `SDC_MEM_PER_PERIPHERAL_LINK`); if it
/// did not, it would not start.
const CONTROLLER_BYTES: usize = 8 * 1024;

static LINE: tinyops_ble::Line = tinyops_ble::Line::new();

/// What shares the chip between the controller, the flash and us.
pub type Layer = &'static MultiprotocolServiceLayer<'static>;

/// The line.
pub struct Line;

/// Starts what shares the chip.
pub fn share(parts: nrf_mpsl::Peripherals<'static>) -> Option<Layer> {
    static LAYER: StaticCell<MultiprotocolServiceLayer<'static>> = StaticCell::new();
    static SLOTS: StaticCell<SessionMem<1>> = StaticCell::new();
    // The oscillator that every board of this chip has, calibrated against the fast crystal.
    let clock = nrf_mpsl::raw::mpsl_clock_lfclk_cfg_t {
        source: nrf_mpsl::raw::MPSL_CLOCK_LF_SRC_RC as u8,
        rc_ctiv: nrf_mpsl::raw::MPSL_RECOMMENDED_RC_CTIV as u8,
        rc_temp_ctiv: nrf_mpsl::raw::MPSL_RECOMMENDED_RC_TEMP_CTIV as u8,
        accuracy_ppm: nrf_mpsl::raw::MPSL_DEFAULT_CLOCK_ACCURACY_PPM as u16,
        skip_wait_lfclk_started: false,
    };
    let slots = SLOTS.init(SessionMem::new());
    let layer = MultiprotocolServiceLayer::with_timeslots(parts, Interrupts, clock, slots).ok()?;
    Some(LAYER.init(layer))
}

/// Starts the controller; what it answers besides the line is to be run.
pub fn start(
    layer: Layer,
    parts: nrf_sdc::Peripherals<'static>,
    random: embassy_nrf::Peri<'static, peripherals::RNG>,
) -> Option<(Line, impl Future<Output = ()>)> {
    static RANDOM: StaticCell<Rng<'static, Async>> = StaticCell::new();
    static MEMORY: StaticCell<nrf_sdc::Mem<CONTROLLER_BYTES>> = StaticCell::new();
    static HOST: StaticCell<tinyops_ble::Resources> = StaticCell::new();
    typelevel::RNG::set_priority(Priority::P3);
    let random = RANDOM.init(Rng::new(random, Interrupts));
    let memory = MEMORY.init(nrf_sdc::Mem::new());
    let controller = controller(layer, parts, random, memory).ok()?;
    let host = HOST.init(tinyops_ble::Resources::new());
    let serves = async move {
        let name = tinyops_ble::name(identity::DEVICE);
        let address = tinyops_ble::address(identity::DEVICE);
        let _ = tinyops_ble::serve(controller, host, address, &name, &LINE).await;
        // A controller that does not go on: from the beginning.
        SCB::sys_reset();
    };
    Some((Line, async move {
        join(layer.run(), serves).await;
    }))
}

fn controller(
    layer: Layer,
    parts: nrf_sdc::Peripherals<'static>,
    random: &'static mut Rng<'static, Async>,
    memory: &'static mut nrf_sdc::Mem<CONTROLLER_BYTES>,
) -> Result<SoftdeviceController<'static>, nrf_sdc::Error> {
    nrf_sdc::Builder::new()?
        .support_adv()
        .support_peripheral()
        .support_dle_peripheral()
        .support_phy_update_peripheral()
        .support_le_2m_phy()
        .peripheral_count(1)?
        .buffer_cfg(PACKET_BYTES, PACKET_BYTES, PACKETS, PACKETS)?
        .build(parts, random, layer, memory)
}

/// Waits for the flash beside the radio, without the executor: what the layer has to do in between is done here.
pub fn wait<T>(layer: Layer, flash: impl Future<Output = T>) -> T {
    match embassy_futures::block_on(select(flash, layer.run())) {
        Either::First(done) => done,
        Either::Second(never) => never,
    }
}

impl Line {
    /// Waits for bytes of a gateway, or for one that comes.
    pub async fn read(&mut self, bytes: &mut [u8; PIECE_BYTES]) -> Heard {
        match select(LINE.opened(), LINE.read(bytes)).await {
            Either::First(()) => Heard::Opened,
            Either::Second(count) => Heard::Bytes(count),
        }
    }

    /// Says a frame; while there is no gateway it waits for the next, if there is room.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = with_timeout(PATIENCE, LINE.send(bytes)).await;
    }
}
