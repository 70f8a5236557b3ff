//! The serial link over USB (CDC).

use core::future::Future;

use embassy_nrf::usb::vbus_detect::{self, HardwareVbusDetect};
use embassy_nrf::usb::{self, Driver};
use embassy_nrf::{Peri, bind_interrupts, peripherals};
use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb::Builder;
use embassy_usb::class::cdc_acm::{CdcAcmClass, State};
use static_cell::{ConstStaticCell, StaticCell};

use crate::{ASK, Heard};

bind_interrupts!(struct Interrupts {
    USBD => usb::InterruptHandler<peripherals::USBD>;
    CLOCK_POWER => vbus_detect::InterruptHandler;
});

/// Bytes of a packet of USB at full speed.
const PACKET_BYTES: usize = 64;
/// A host that does not take a packet for so long is not there: what is said is lost, as on any line.
const PATIENCE: Duration = Duration::from_millis(100);

/// The line.
pub struct Line(CdcAcmClass<'static, Driver<'static, HardwareVbusDetect>>);

/// Makes a serial port of the chip's USB; what it answers besides is to be run.
pub fn start(usb: Peri<'static, peripherals::USBD>) -> (Line, impl Future<Output = ()>) {
    static STATE: StaticCell<State<'static>> = StaticCell::new();
    static DESCRIPTORS: ConstStaticCell<[[u8; 256]; 3]> = ConstStaticCell::new([[0; 256]; 3]);
    let driver = Driver::new(usb, Interrupts, HardwareVbusDetect::new(Interrupts));
    let mut config = embassy_usb::Config::new(0x2341, 0x805a);
    config.manufacturer = Some("TinyOps");
    config.product = Some("Nano 33 BLE");
    let [descriptors, names, control] = DESCRIPTORS.take();
    let mut builder = Builder::new(driver, config, descriptors, names, &mut [], control);
    let line = CdcAcmClass::new(&mut builder, STATE.init(State::new()), PACKET_BYTES as u16);
    let mut device = builder.build();
    (Line(line), async move {
        device.run().await;
    })
}

impl Line {
    /// Waits for bytes of a host.
    pub async fn read(&mut self, bytes: &mut [u8; PACKET_BYTES]) -> Heard {
        match self.0.read_packet(bytes).await {
            Ok(count) => Heard::Bytes(count),
            Err(_) => {
                // No host: whoever waits for one has the time in between.
                Timer::after(ASK).await;
                Heard::Bytes(0)
            }
        }
    }

    /// Sends bytes in packets, if a host takes them.
    pub async fn send(&mut self, bytes: &[u8]) {
        for packet in bytes.chunks(PACKET_BYTES) {
            match with_timeout(PATIENCE, self.0.write_packet(packet)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
        // A full last packet is ended by an empty one.
        if bytes.len().is_multiple_of(PACKET_BYTES) {
            let _ = with_timeout(PATIENCE, self.0.write_packet(&[])).await;
        }
    }
}
