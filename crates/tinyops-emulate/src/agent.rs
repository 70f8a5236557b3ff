//! The whole device agent on an emulated board, whose flash outlives the emulator.
//!
//! The firmware is `firmware/qemu-mps2`. Its first serial port is a line to a gateway; over its second, sensor readings are
//! played in and the board says what it does. Killing the emulator is a power cut: the flash is a file, written byte by
//! byte, and the next start finds what is in it.

use crate::qemu::QEMU;
use crate::{EmulateError, Firmware, Machine, Memory, bench};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tinyops_wire::ModelId;

/// Bytes of the flash: four pages of 4 KiB for who the device is, two of journal, two slots of 128 KiB, two pages for a
/// head of its own.
pub const AGENT_FLASH_BYTES: usize = 72 * 4096;
/// Bytes of the page at its start, which whoever makes the board writes (`tinyops_wire::provision`).
pub const FACTORY_BYTES: usize = 4096;

/// The firmware with the agent, built for the memory of one board.
#[derive(Debug, Clone)]
pub struct AgentFirmware {
    program: PathBuf,
    machine: &'static Machine,
}

/// Where the first serial port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineTo {
    /// A TCP stream to whoever listens there, such as a gateway: host and port. It is connected again when it breaks.
    Tcp(String, u16),
    /// A terminal of this machine's, whose name the emulator chooses ([`BoardSaid::Terminal`]).
    Terminal,
}

/// What goes wrong with a board, and when; nothing by default. All but the last is its flash's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BoardFaults {
    /// The power goes in the middle of the operation with this number, counted from the start: the emulator ends.
    pub cut: Option<u32>,
    /// Bits of a word that is cut that are not written any more.
    pub fades: u32,
    /// A page of the file that is not erased.
    pub dead_page: Option<u32>,
    /// Offset in the file of a word that is not written.
    pub stuck: Option<u32>,
    /// The program hangs at the first reading that this model takes, until its watchdog bites.
    pub hangs: Option<ModelId>,
}

impl BoardFaults {
    /// As the firmware reads it.
    fn words(self) -> Vec<String> {
        let named = [
            ("cut", self.cut),
            ("fades", (self.fades != 0).then_some(self.fades)),
            ("dead", self.dead_page),
            ("stuck", self.stuck),
            ("hangs", self.hangs.map(|model| model.0)),
        ];
        let words = named
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        words.collect()
    }
}

impl AgentFirmware {
    /// Builds the firmware for a Cortex-M4F with a board's memory.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without a toolchain, [`EmulateError::Build`] when it does not fit.
    pub fn build(firmware: &Firmware, memory: Memory) -> Result<AgentFirmware, EmulateError> {
        let machine = Machine::named("m4f").expect("the table has a Cortex-M4F");
        let package = ["--package", "qemu-mps2", "--bin", "qemu-mps2"];
        let program = firmware.build(machine, memory, &package, "qemu-mps2")?;
        Ok(AgentFirmware { program, machine })
    }

    /// Bytes of flash that the program takes: code, constants and the data's first values.
    ///
    /// # Errors
    /// [`EmulateError::Io`] if the program cannot be read.
    pub fn flash_bytes(&self) -> Result<u32, EmulateError> {
        bench::loaded_bytes(&self.program)
    }

    /// Gives the board power: it finds in `flash` what it left there.
    ///
    /// # Errors
    /// [`EmulateError::Missing`] without QEMU, [`EmulateError::Io`] when it cannot be started.
    pub fn start(
        &self,
        flash: &Path,
        line: &LineTo,
        faults: BoardFaults,
    ) -> Result<EmulatedBoard, EmulateError> {
        let line = match line {
            LineTo::Tcp(host, port) => {
                let host = escaped(host);
                format!("socket,id=line,host={host},port={port},reconnect=1")
            }
            LineTo::Terminal => "pty,id=line".to_owned(),
        };
        let flash = std::path::absolute(flash).map_err(EmulateError::io("no folder"))?;
        let mut words = faults.words();
        words.push(format!("flash={}", flash.display()));
        let mut semihosting = "enable=on,target=native".to_owned();
        for word in words {
            semihosting += &format!(",arg={}", escaped(&word));
        }
        let mut child = Command::new(QEMU)
            .args(["-M", self.machine.qemu, "-display", "none"])
            .args(["-monitor", "none", "-chardev", &line])
            .args(["-chardev", "stdio,id=console,signal=off"])
            .args(["-serial", "chardev:line", "-serial", "chardev:console"])
            .args(["-semihosting-config", &semihosting, "-kernel"])
            .arg(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(crate::qemu::not_started)?;
        let output = child
            .stdout
            .take()
            .map(|pipe| BoardOutput(BufReader::new(pipe)));
        let board = EmulatedBoard {
            sensor: child.stdin.take(),
            output,
            guard: guard(child.id()),
            child,
        };
        Ok(board)
    }
}

/// A process that ends the emulator when this one has ended without doing so itself, however it did: else a board would
/// go on that nobody can stop. It waits for the end of a pipe that only this process holds.
fn guard(emulator: u32) -> Option<Child> {
    Command::new("sh")
        .args(["-c", "cat > /dev/null; kill -9 $0", &emulator.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// A comma parts options for QEMU, and two of them are one.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

/// A board that has power. Dropped, it has none any more.
#[derive(Debug)]
pub struct EmulatedBoard {
    child: Child,
    guard: Option<Child>,
    sensor: Option<ChildStdin>,
    output: Option<BoardOutput>,
}

impl EmulatedBoard {
    /// What the board says; once.
    pub fn take_output(&mut self) -> Option<BoardOutput> {
        self.output.take()
    }

    /// What readings are written to ([`write_reading`]); once.
    pub fn take_sensor(&mut self) -> Option<ChildStdin> {
        self.sensor.take()
    }

    /// Takes the power away, wherever the board is (SIGKILL).
    ///
    /// # Errors
    /// What the system says.
    pub fn cut_power(&mut self) -> io::Result<()> {
        // First, so that it does not end whoever has the emulator's number next.
        if let Some(mut guard) = self.guard.take() {
            guard.kill()?;
            guard.wait()?;
        }
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Waits until the board has lost its power by itself ([`BoardFaults::cut`]).
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_for_cut(&mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }
}

impl Drop for EmulatedBoard {
    fn drop(&mut self) {
        // One that has ended already needs nothing.
        let _ = self.cut_power();
    }
}

/// What a board says, line by line.
#[derive(Debug)]
pub struct BoardOutput(BufReader<ChildStdout>);

/// Something that a board has said, or its emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardSaid {
    /// A line on its second serial port.
    Line(String),
    /// The terminal that its first one is ([`LineTo::Terminal`]).
    Terminal(PathBuf),
}

/// Waits for what is said next; ends when the board has no power any more.
impl Iterator for BoardOutput {
    type Item = io::Result<BoardSaid>;

    fn next(&mut self) -> Option<io::Result<BoardSaid>> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        // What no text is, such as a line that a power cut has ended, is no reason to hear nothing more.
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        let told = line.strip_prefix("char device redirected to ");
        Some(Ok(
            match told.and_then(|told| told.strip_suffix(" (label line)")) {
                Some(path) => BoardSaid::Terminal(path.into()),
                None => BoardSaid::Line(line.to_owned()),
            },
        ))
    }
}

/// Writes a reading of all channels as the board takes it: the bits of each as eight hex digits, and the end of a line.
///
/// # Errors
/// What the pipe says, when the board has no power any more.
pub fn write_reading(sensor: &mut impl io::Write, reading: &[f32]) -> io::Result<()> {
    let digits = reading
        .iter()
        .map(|value| format!("{:08x}", value.to_bits()));
    let line: String = digits.chain(["\n".to_owned()]).collect();
    sensor.write_all(line.as_bytes())
}

/// Tells the board that no more readings will come; it says `drained` once it has taken all.
///
/// # Errors
/// What the pipe says, when the board has no power any more.
pub fn end_readings(sensor: &mut impl io::Write) -> io::Result<()> {
    sensor.write_all(b"end\n")
}
