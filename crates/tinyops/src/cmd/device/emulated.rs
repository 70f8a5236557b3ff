//! A device that is firmware on an emulated board: its flash made here, started, fed with readings, and listened to.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::ChildStdin,
    time::Duration,
};

use tinyops_compile::Board;
use tinyops_device::Sensor;
use tinyops_emulate::{
    AGENT_FLASH_BYTES, AgentFirmware, BoardFaults, BoardOutput, BoardSaid, EmulateError,
    FACTORY_BYTES, Firmware, LineTo, Memory, write_reading,
};
use tinyops_fleet::keys::Trust;
use tinyops_store::{Readers, write_whole};
use tinyops_wire::{
    provision::{Factory, ProvisionError, Record},
    sensor::{Channel, RATE_TOLERANCE_PPM, SensorContract, SensorSection},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    MODEL_WITHIN, Run, View, Who, credential, enrol::ask_for_token, gateway, http, note_no_model,
};
use crate::{
    cmd::serve::open_keys,
    context::Context,
    failure::{Exit, Failure},
};

/// A board with nothing to report still tells that it is there, or it would never be offered its first model.
const REPORT_EVERY_MS: u32 = 60_000;
/// What the board has sent last is on its way for so long.
const LINGER: Duration = Duration::from_millis(300);

/// Runs the board until its readings end, its power is cut, or for ever.
pub(super) async fn run(
    context: &Context,
    args: &Run,
    (board, sensor): (&Board, Sensor),
    expected: String,
    readings: mpsc::Receiver<Vec<f32>>,
) -> Result<(), Failure> {
    let line = line_to(&args.who)?;
    let flash = flash_path(context, &args.who, &board.id);
    // Makes the folder of keys where there is none, which is the flash's too.
    let trust = open_keys(&context.keys())?.trust;
    let _in_use = lock(&flash)?;
    prepare(context, args, (&flash, trust), (&board.id, sensor)).await?;
    let memory = Memory::of(board);
    context.terminal.note(format_args!(
        "builds the firmware of an emulated Cortex-M4F with the memory of {}",
        board.id
    ));
    let built = tokio::task::spawn_blocking(move || {
        Firmware::find().and_then(|source| AgentFirmware::build(&source, memory))
    });
    let firmware = built.await.expect("what builds does not panic");
    let faults = BoardFaults {
        cut: args.cut_power_at,
        hangs: args.hang_with,
        ..BoardFaults::default()
    };
    let mut body = firmware
        .and_then(|firmware| firmware.start(&flash, &line, faults))
        .map_err(|error| not_emulated(&error))?;
    let (pipes, said) = (body.take_sensor(), body.take_output());
    let (Some(pipe), Some(output)) = (pipes, said) else {
        unreachable!("a board that was just started has both");
    };
    let pace = Duration::from_secs_f32(1.0 / sensor.rate_hz.max(0.001));
    let life = Life {
        context,
        expected,
        said: listen(output),
        begin: Some(feed(pipe, readings, args.real_time.then_some(pace))),
        is_cut: args.cut_power_at.is_some(),
    };
    life.go_on().await
}

/// What is heard of a board, and what it waits for.
struct Life<'a> {
    context: &'a Context,
    /// The model that is expected.
    expected: String,
    said: mpsc::Receiver<BoardSaid>,
    /// Lets the sensor begin, which it has not yet.
    begin: Option<oneshot::Sender<()>>,
    /// Whether the power goes by itself.
    is_cut: bool,
}

impl Life<'_> {
    async fn go_on(mut self) -> Result<(), Failure> {
        let patience = tokio::time::sleep(Duration::MAX);
        tokio::pin!(patience);
        let mut is_known = false;
        loop {
            tokio::select! {
                said = self.said.recv() => match said {
                    None if self.is_cut && is_known => {
                        self.context.terminal.note("its power was cut, in the middle of an operation of its flash");
                        return Ok(());
                    }
                    None => return Err(Failure::environment("the emulator has ended")),
                    Some(BoardSaid::Terminal(path)) => self.context.terminal.note(format_args!(
                        "its serial port is {0}: `tinyops gateway --tty {0}` carries it to a server",
                        path.display()
                    )),
                    Some(BoardSaid::Line(line)) => {
                        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
                        match word {
                            "device" => {
                                self.context.terminal.note(format_args!("device {rest} is awake"));
                                if !std::mem::replace(&mut is_known, true) {
                                    patience.as_mut().reset(tokio::time::Instant::now() + MODEL_WITHIN);
                                }
                            }
                            "model" => self.model(rest),
                            "window" => self.window(rest),
                            "turned" => self.context.terminal.note(
                                "the server did not enrol it: the log of the gateway says why; it asks again in half a minute",
                            ),
                            "hangs" => self.context.terminal.note("its program hangs, until its watchdog bites"),
                            "refused" => return Err(Failure::environment("the board does not run").because(rest)),
                            "drained" => {
                                tokio::time::sleep(LINGER).await;
                                return Ok(());
                            }
                            _ => {}
                        }
                    }
                },
                () = &mut patience, if is_known && self.begin.is_some() => {
                    note_no_model(self.context, &self.expected);
                    self.begin_to_measure();
                }
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }

    /// `ID STATE OPERATIONS STACK`
    fn model(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split(' ').collect();
        let [model, state, operations, stack] = words[..] else {
            return;
        };
        self.context.terminal.note(format_args!(
            "model {model}, {state}; {operations} operations of its flash, {stack} bytes of stack at most"
        ));
        // A capsule that is owed comes before the first reading, so that no window goes unscored.
        if model != "none" {
            self.begin_to_measure();
        }
    }

    fn begin_to_measure(&mut self) {
        if let Some(begin) = self.begin.take() {
            // Whoever does not wait for it any more has ended.
            let _ = begin.send(());
        }
    }

    /// `MODEL KIND BITS FLAG OWN NAME`, the name being the rest of the line.
    fn window(&self, rest: &str) {
        let words: Vec<&str> = rest.splitn(6, ' ').collect();
        let [model, kind, bits, flag, own, name] = words[..] else {
            return;
        };
        let Ok(bits) = u32::from_str_radix(bits, 16) else {
            return;
        };
        let (number, is_class) = (f32::from_bits(bits), kind == "class");
        let view = View {
            model: model.to_owned(),
            class: is_class.then_some(name),
            confidence: is_class.then_some(number),
            value: (!is_class).then_some(number),
            is_alarm: (kind == "anomaly").then_some(flag == "1"),
            is_own_head: own == "1",
        };
        view.print(self.context);
    }
}

/// Where its serial port leads.
fn line_to(who: &Who) -> Result<LineTo, Failure> {
    let Some(gateway) = gateway(who)? else {
        return Ok(LineTo::Terminal);
    };
    if gateway.tls().is_some() {
        return Err(
            Failure::question("the serial port of an emulated board speaks no TLS")
                .hint("`tinyops gateway --listen` on this machine, without a certificate"),
        );
    }
    Ok(LineTo::Tcp(gateway.host().to_owned(), gateway.port()))
}

fn flash_path(context: &Context, who: &Who, board: &str) -> PathBuf {
    let usual = || context.keys().join(format!("emulated-{board}.flash"));
    who.identity.clone().unwrap_or_else(usual)
}

/// Writes what a factory would: a new flash where there is none, and today's sensor and habits into one that is there.
async fn prepare(
    context: &Context,
    args: &Run,
    (path, trust): (&Path, Trust),
    (board, sensor): (&str, Sensor),
) -> Result<(), Failure> {
    let mut flash = match fs::read(path) {
        Ok(flash) if flash.len() == AGENT_FLASH_BYTES => flash,
        Ok(flash) => {
            return Err(Failure::question(format!(
                "`{}` is no flash of an emulated board",
                path.display()
            ))
            .because(format!(
                "it has {} bytes, not {AGENT_FLASH_BYTES}",
                flash.len()
            ))
            .hint("remove it: the board then enrols anew; or name another with `--identity`"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![0xff; AGENT_FLASH_BYTES],
        Err(error) => {
            let failure = Failure::environment(format!("cannot read `{}`", path.display()));
            return Err(failure.cause(&error));
        }
    };
    let (old, _) = flash.split_at(FACTORY_BYTES);
    let given;
    let factory = match Record::decode(old) {
        Ok(Record::Factory(factory)) if factory.board == board => factory,
        Ok(Record::Factory(factory)) => {
            let problem = format!(
                "`{}` is the flash of a board of class {}",
                path.display(),
                factory.board
            );
            return Err(Failure::question(problem).hint("name another with `--identity`"));
        }
        Ok(_) => {
            let problem = format!("`{}` does not begin as a factory leaves it", path.display());
            return Err(Failure::question(problem).hint("name another with `--identity`"));
        }
        Err(error) if !matches!(error, ProvisionError::None | ProvisionError::Torn) => {
            let failure = Failure::of(Exit::Question, &error);
            let failure = failure.because(format!("of `{}`", path.display()));
            return Err(failure.hint("name another with `--identity`"));
        }
        Err(_) => {
            given = match credential(&args.who)? {
                Some(given) => given,
                None => ask_for_token(&http(context, &args.who)?, board, &args.who.cohort).await?,
            };
            Factory {
                roots: trust.roots,
                key_set: &trust.signed,
                board,
                channel_count: sensor.channel_count,
                rate_hz: sensor.rate_hz,
                report_windows: args.report_every,
                report_ms: REPORT_EVERY_MS,
                device: args.who.id,
                credential: given.provisioned(),
                sensor: None,
            }
        }
    };
    let contract = contract_of(&sensor)?;
    let factory = Factory {
        channel_count: sensor.channel_count,
        rate_hz: sensor.rate_hz,
        report_windows: args.report_every,
        sensor: (contract.as_deref()).and_then(|contract| SensorSection::decode(contract).ok()),
        ..factory
    };
    let mut page = vec![0xff; FACTORY_BYTES];
    Record::Factory(factory)
        .encode(&mut page)
        .map_err(|error| Failure::of(Exit::Question, &error))?;
    if flash.starts_with(&page) {
        return Ok(());
    }
    flash[..FACTORY_BYTES].copy_from_slice(&page);
    write_whole(path, Readers::Owner, &flash).map_err(|error| {
        Failure::environment(format!("cannot write `{}`", path.display())).cause(&error)
    })
}

/// What the board states of its sensor beside channels and rate; nothing where the project says nothing.
fn contract_of(sensor: &Sensor) -> Result<Option<Vec<u8>>, Failure> {
    let is_silent = sensor.channels.iter().all(|one| *one == Channel::default());
    if is_silent && sensor.mounting.is_none() {
        return Ok(None);
    }
    let contract = SensorContract {
        rate_hz: sensor.rate_hz,
        // That of the model counts.
        rate_tolerance_ppm: RATE_TOLERANCE_PPM,
        mounting: sensor.mounting,
        channels: sensor.channels,
    };
    let mut bytes = vec![0; contract.encoded_len()];
    match contract.encode(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => {
            Err(Failure::of(Exit::Question, &error).because("of the sensor in the project file"))
        }
    }
}

/// Two boards in one flash would each undo what the other has written. The lock is a file beside it, since the flash
/// itself is replaced when a factory's page is written anew.
fn lock(flash: &Path) -> Result<File, Failure> {
    let shown = flash.display();
    let place = flash.with_added_extension("lock");
    let open = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&place);
    let file = open.map_err(|error| {
        Failure::environment(format!("cannot open `{}`", place.display())).cause(&error)
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::question(format!(
            "a board runs in `{shown}` already"
        ))
        .hint("name another flash with `--identity`")),
        Err(TryLockError::Error(error)) => {
            Err(Failure::environment(format!("cannot lock `{shown}`")).cause(&error))
        }
    }
}

/// What the board says, from a thread of its own.
fn listen(output: BoardOutput) -> mpsc::Receiver<BoardSaid> {
    let (sender, said) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in output.map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    said
}

/// Plays readings into the sensor once it may begin, from a thread of its own. The board takes them as fast as it can, or
/// one each `pace`.
fn feed(
    mut pipe: ChildStdin,
    mut readings: mpsc::Receiver<Vec<f32>>,
    pace: Option<Duration>,
) -> oneshot::Sender<()> {
    let (begin, may_begin) = oneshot::channel();
    std::thread::spawn(move || {
        if may_begin.blocking_recv().is_err() {
            return;
        }
        while let Some(reading) = readings.blocking_recv() {
            // A board without power measures nothing.
            if write_reading(&mut pipe, &reading).is_err() {
                return;
            }
            if let Some(pace) = pace {
                std::thread::sleep(pace);
            }
        }
        let _ = tinyops_emulate::end_readings(&mut pipe);
    });
    begin
}

fn not_emulated(error: &EmulateError) -> Failure {
    match error {
        EmulateError::Missing { what, remedy } => {
            Failure::environment(format!("{what} is missing")).hint(*remedy)
        }
        error => Failure::of(Exit::Environment, error),
    }
}
