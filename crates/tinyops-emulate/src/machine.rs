//! Runs one program on QEMU's `mps2-an386` (Cortex-M4F) until it ends or its time is up.

use crate::EmulateError;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-arm";

/// Where the firmware expects the capsule's payload: above any board's flash, still in the
/// machine's 4 MiB of code memory. A 4-byte length stands in front.
pub(crate) const PAYLOAD_ADDRESS: u32 = 0x0020_0000;

/// Bytes of the machine's code memory above [`PAYLOAD_ADDRESS`], less the length.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 0x0020_0000 - 4;

/// How long a smoke test may take: a slow machine runs some 50 M emulated instructions a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Boots `program` with `payload` (a file) in flash and answers with what it printed.
///
/// One emulated instruction takes one nanosecond of virtual time (`-icount shift=0`), so that
/// the firmware's own timer counts instructions.
pub(crate) fn run(program: &Path, payload: &Path) -> Result<String, EmulateError> {
    let child = Command::new(QEMU)
        .args([
            "-M",
            "mps2-an386",
            "-icount",
            "shift=0",
            "-display",
            "none",
            "-monitor",
            "none",
        ])
        .args([
            "-serial",
            "stdio",
            "-semihosting-config",
            "enable=on,target=native",
        ])
        .arg("-kernel")
        .arg(program)
        .arg("-device")
        .arg(format!(
            "loader,file={},addr={PAYLOAD_ADDRESS:#x},force-raw=on",
            payload.display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(EmulateError::Missing {
                what: QEMU.to_owned(),
                remedy: "`apt-get install qemu-system-arm`, or your system's QEMU package",
            });
        }
        Err(error) => return Err(EmulateError::io(format!("cannot start {QEMU}"))(error)),
    };
    let reader = read_all(&mut child);
    let ended = wait(&mut child, PATIENCE)?;
    let output = reader.join().unwrap_or_default();
    if !ended {
        return Err(EmulateError::Timeout {
            seconds: PATIENCE.as_secs(),
            output,
        });
    }
    Ok(output)
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
