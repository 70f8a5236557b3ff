//! Against a bus with one chip that keeps registers as its datasheet has them.

use core::cell::RefCell;
use std::rc::Rc;

use bmi2::config::BMI270_CONFIG_FILE;
use embedded_hal::i2c::{Error, ErrorKind, ErrorType, NoAcknowledgeSource, Operation};

use super::*;

/// Nobody is at this address.
#[derive(Debug)]
struct Nobody;

impl Error for Nobody {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)
    }
}

/// A chip, and what has come to it.
struct Chip {
    address: u8,
    registers: [u8; 128],
    /// What a BMI270 has been given before it was told to begin.
    configuration: Vec<u8>,
    /// Whether one takes any.
    is_sound: bool,
    /// The register that says of a new reading, its bit, and where the reading is.
    status: (u8, u8, u8),
}

#[derive(Clone)]
struct Bus(Rc<RefCell<Chip>>);

/// What the datasheets name.
const BMI270: u8 = 0x68;
const LSM9DS1: u8 = 0x6b;

impl Bus {
    fn with_bmi270() -> Bus {
        Bus::with(BMI270, 0x00, 0x24, (0x03, 0x80, 0x0c))
    }

    fn with_lsm9ds1() -> Bus {
        Bus::with(LSM9DS1, 0x0f, 0x68, (0x27, 0x01, 0x28))
    }

    fn with(address: u8, who: u8, itself: u8, status: (u8, u8, u8)) -> Bus {
        let mut registers = [0; 128];
        registers[usize::from(who)] = itself;
        // What a BMI270 wakes up with: it saves power.
        registers[0x7c] = 0x03;
        Bus(Rc::new(RefCell::new(Chip {
            address,
            registers,
            configuration: vec![0; BMI270_CONFIG_FILE.len()],
            is_sound: true,
            status,
        })))
    }

    fn register(&self, register: u8) -> u8 {
        self.0.borrow().registers[usize::from(register)]
    }

    /// A new reading, in digits.
    fn measures(&self, digits: [i16; 3]) {
        let chip = &mut *self.0.borrow_mut();
        let (status, bit, first) = chip.status;
        chip.registers[usize::from(status)] |= bit;
        for (axis, digits) in digits.iter().enumerate() {
            let at = usize::from(first) + 2 * axis;
            chip.registers[at..at + 2].copy_from_slice(&digits.to_le_bytes());
        }
    }
}

impl Chip {
    fn write(&mut self, register: u8, bytes: &[u8]) {
        let is_bmi270 = self.address == BMI270;
        if is_bmi270 && register == 0x5e {
            // INIT_DATA: what comes lies where INIT_ADDR says, in words of 16 bits.
            let words = usize::from(self.registers[0x5b]) | usize::from(self.registers[0x5c]) << 4;
            self.configuration[2 * words..2 * words + bytes.len()].copy_from_slice(bytes);
            return;
        }
        let at = usize::from(register);
        self.registers[at..at + bytes.len()].copy_from_slice(bytes);
        // INIT_CTRL: begins, and INTERNAL_STATUS says whether it could.
        if is_bmi270 && register == 0x59 && bytes == [1] {
            let is_whole = self.configuration == BMI270_CONFIG_FILE;
            self.registers[0x21] = if is_whole && self.is_sound { 1 } else { 2 };
        }
    }

    fn read(&mut self, register: u8, bytes: &mut [u8]) {
        let at = usize::from(register);
        bytes.copy_from_slice(&self.registers[at..at + bytes.len()]);
        let (status, bit, first) = self.status;
        if register == first {
            self.registers[usize::from(status)] &= !bit;
        }
    }
}

impl ErrorType for Bus {
    type Error = Nobody;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Nobody> {
        let chip = &mut *self.0.borrow_mut();
        if address != chip.address {
            return Err(Nobody);
        }
        match operations {
            [Operation::Write([register, bytes @ ..])] => chip.write(*register, bytes),
            [Operation::Write([register]), Operation::Read(bytes)] => chip.read(*register, bytes),
            other => panic!("neither chip has a use for {other:?}"),
        }
        Ok(())
    }
}

struct NoTime;

impl DelayNs for NoTime {
    fn delay_ns(&mut self, _: u32) {}
}

#[track_caller]
fn check_reading(imu: &mut Imu<Bus, NoTime>, bus: &Bus, digits: [i16; 3], expected_g: [f32; 3]) {
    assert_eq!(imu.read(), None, "there is nothing new");
    bus.measures(digits);
    let read_g = imu.read().expect("there is");
    for (read, expected) in read_g.iter().zip(expected_g) {
        assert!((read - expected).abs() < 0.004, "{read_g:?}");
    }
    assert_eq!(imu.read(), None, "it has been read");
}

#[test]
fn each_revision_is_known_by_its_chip_and_both_say_the_same_of_a_board() {
    let mut bus = Bus::with_lsm9ds1();
    assert_eq!(Revision::of(&mut bus), Some(Revision::First));
    let mut imu = Imu::start(Revision::First, bus.clone(), NoTime).expect("it is there");
    // CTRL_REG6_XL: 119 Hz, 4 g.
    assert_eq!(bus.register(0x20), 0x70);
    check_reading(&mut imu, &bus, [8192, -4096, 32_767], [1.0, -0.5, 4.0]);

    let mut bus = Bus::with_bmi270();
    assert_eq!(Revision::of(&mut bus), Some(Revision::Second));
    let mut imu = Imu::start(Revision::Second, bus.clone(), NoTime).expect("it is there");
    // ACC_CONF: best filter, an average of four, 100 Hz; ACC_RANGE: 4 g; PWR_CTRL: the accelerometer; PWR_CONF: no saving.
    let set = [0x40, 0x41, 0x7d, 0x7c].map(|register| bus.register(register));
    assert_eq!(set, [0xa8, 0x01, 0x04, 0x02]);
    // The same attitude in digits of a chip that lies otherwise on its board.
    check_reading(&mut imu, &bus, [4096, -8192, 32_767], [1.0, -0.5, 4.0]);
    // The least digit has no positive of its own.
    check_reading(&mut imu, &bus, [0, i16::MIN, 0], [4.0, 0.0, 0.0]);
}

#[test]
fn what_is_another_chip_or_does_not_start_is_none() {
    let mut another = Bus::with(BMI270, 0x00, 0xd1, (0x03, 0x80, 0x0c));
    assert_eq!(Revision::of(&mut another), None);
    let mut empty = Bus::with(0x1e, 0x0f, 0x3d, (0x27, 0x01, 0x28));
    assert_eq!(Revision::of(&mut empty), None);
    assert!(Imu::start(Revision::First, empty, NoTime).is_none());
    // One that does not take its configuration is of its revision still.
    let mut broken = Bus::with_bmi270();
    broken.0.borrow_mut().is_sound = false;
    assert_eq!(Revision::of(&mut broken), Some(Revision::Second));
    assert!(Imu::start(Revision::Second, broken, NoTime).is_none());
}
