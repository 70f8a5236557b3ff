//! Serial ports: raw bytes, eight bits, no parity, one stop bit, no flow control.

/// Opens a serial port at a speed, in bits a second.
#[cfg(not(unix))]
pub(super) fn open(_path: &std::path::Path, _baud: u32) -> std::io::Result<super::line::Ends> {
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "serial ports are opened on Unix only; a terminal server and `--tcp` serve elsewhere",
    ))
}

/// Opens a serial port at a speed, in bits a second.
#[cfg(unix)]
pub(super) fn open(path: &std::path::Path, baud: u32) -> std::io::Result<super::line::Ends> {
    use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _};

    use rustix::{
        fs::{OFlags, fcntl_getfl, fcntl_setfl},
        termios::{self, ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex},
    };

    // Opened without waiting for a carrier, and without becoming this process's terminal.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
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
    Ok(super::line::Ends {
        reader: Box::new(tokio::fs::File::from_std(file.try_clone()?)),
        writer: Box::new(tokio::fs::File::from_std(file)),
    })
}
