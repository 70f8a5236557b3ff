//! Runs one program on a machine of QEMU until it ends or its time is up.

use crate::{EmulateError, Machine};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const QEMU: &str = "qemu-system-arm";

/// What a program is given.
pub(crate) enum Given<'a> {
    /// A file that the emulator's loader puts into memory before the start.
    Loaded(&'a Path),
    /// Bytes that come in over the serial port.
    Sent(Vec<u8>),
}

/// Boots `program` and answers with what it printed.
///
/// One emulated instruction takes one nanosecond of virtual time (`-icount shift=0`), so that
/// the firmware's own timer counts instructions.
pub(crate) fn run(
    machine: &Machine,
    program: &Path,
    given: Given<'_>,
    patience: Duration,
) -> Result<String, EmulateError> {
    let mut command = Command::new(QEMU);
    command
        .args(["-M", machine.qemu, "-icount", "shift=0"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-semihosting-config", "enable=on,target=native"])
        .arg("-kernel")
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut sent = None;
    match given {
        Given::Loaded(path) => {
            let (path, address) = (path.display(), machine.loader_address);
            let device = format!("loader,file={path},addr={address:#x},force-raw=on");
            command.arg("-device").arg(device);
        }
        Given::Sent(bytes) => {
            command.stdin(Stdio::piped());
            sent = Some(bytes);
        }
    }
    let mut child = command.spawn().map_err(not_started)?;
    let reader = read_all(&mut child);
    if let (Some(bytes), Some(mut pipe)) = (sent, child.stdin.take()) {
        // Written beside the waiting, since the machine takes byte after byte. A broken pipe means that it ended:
        // its report says why.
        std::thread::spawn(move || pipe.write_all(&bytes));
    }
    let ended = wait(&mut child, patience)?;
    let output = reader.join().unwrap_or_default();
    if !ended {
        return Err(EmulateError::Timeout {
            seconds: patience.as_secs(),
            output,
        });
    }
    Ok(output)
}

/// Why the emulator did not start.
pub(crate) fn not_started(error: std::io::Error) -> EmulateError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return EmulateError::Missing {
            what: QEMU.to_owned(),
            remedy: "`apt-get install qemu-system-arm`, or your system's QEMU package",
        };
    }
    EmulateError::io(format!("cannot start {QEMU}"))(error)
}

/// Drains the child's output, so that a full pipe never stops it.
fn read_all(child: &mut Child) -> std::thread::JoinHandle<String> {
    let mut pipes: Vec<Box<dyn Read + Send>> = Vec::new();
    pipes.extend(
        child
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    );
    pipes.extend(
        child
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    );
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        for mut pipe in pipes {
            // A broken pipe means that the machine ended: what came before it still counts.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// True when the child ended by itself within `patience`; it is stopped otherwise.
fn wait(child: &mut Child, patience: Duration) -> Result<bool, EmulateError> {
    let started = Instant::now();
    loop {
        if child
            .try_wait()
            .map_err(EmulateError::io("cannot wait for the emulator"))?
            .is_some()
        {
            return Ok(true);
        }
        if started.elapsed() > patience {
            child
                .kill()
                .map_err(EmulateError::io("cannot stop the emulator"))?;
            child
                .wait()
                .map_err(EmulateError::io("cannot wait for the emulator"))?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
