//! Serial ports of this machine: raw bytes, eight bits, no parity, one stop bit, no flow control.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a serial port at a speed, in bits a second. What came before is forgotten; who reads waits for bytes.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no serial port, and
/// [`io::ErrorKind::Unsupported`] where there is no Unix.
#[cfg(not(unix))]
pub fn open_serial(_port: &Path, _baud: u32) -> io::Result<File> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "serial ports are opened on Unix only; a terminal server and `--tcp` serve elsewhere",
    ))
}

/// Opens a serial port at a speed, in bits a second. What came before is forgotten; who reads waits for bytes.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no serial port.
#[cfg(unix)]
pub fn open_serial(port: &Path, baud: u32) -> io::Result<File> {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt as _;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::termios::{self, ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex};

    // Opened without waiting for a carrier, and without becoming this process's terminal.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(port)?;
    let mut settings = termios::tcgetattr(&file)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it is no serial port"))?;
    settings.make_raw();
    let modes = &mut settings.control_modes;
    modes.remove(ControlModes::CSTOPB | ControlModes::PARENB | ControlModes::CRTSCTS);
    modes.insert(ControlModes::CS8 | ControlModes::CLOCAL | ControlModes::CREAD);
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    settings.set_speed(baud)?;
    termios::tcsetattr(&file, OptionalActions::Now, &settings)?;
    // What came before is of no use: it is half a frame at best.
    termios::tcflush(&file, QueueSelector::IOFlush)?;
    // From here on a thread that reads waits for bytes.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}
