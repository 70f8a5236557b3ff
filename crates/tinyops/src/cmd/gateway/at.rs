//! A board that speaks the AT commands of Edge Impulse's firmware: it is told what to sample, and what it sampled is
//! fetched and sent in as it signed it.

use std::{io, time::Duration};

use base64::Engine as _;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    line::Ends,
    record::{LineFlags, TargetFlags, in_time},
};
use crate::{context::Context, failure::Failure};

/// A board that is not busy answers in this time.
const ANSWER: Duration = Duration::from_secs(5);
/// Beyond its length a sample takes so long: sensors start, flash is erased, the message is signed.
const SAMPLING_MORE: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Bytes of a sample that are asked for at once.
const READ_BYTES: u64 = 4096;

/// Have a board take samples by the AT commands of Edge Impulse's firmware, and send them to the server
///
/// The board makes the message and signs it, with `--hmac-key-file` where that is given; it is sent in byte for byte.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops gateway at --tty /dev/ttyACM0 --sensor 'Built-in accelerometer' --label idle --interval-ms 16 --length-ms 10000"
)]
pub(super) struct At {
    #[command(flatten)]
    line: LineFlags,
    #[command(flatten)]
    target: TargetFlags,
    /// Which sensor, as the board calls it [default: the first that it lists]
    #[arg(long)]
    sensor: Option<String>,
    /// Milliseconds from one row to the next
    #[arg(long, default_value_t = 16.0)]
    interval_ms: f64,
    /// Length of a sample, in milliseconds
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=86_400_000))]
    length_ms: u32,
}

/// One sample, as `--json` prints it, one a line.
#[derive(Serialize)]
struct Sampled {
    name: String,
    device: String,
    sensor: String,
    bytes: usize,
}

pub(super) async fn run(context: &Context, args: &At) -> Result<(), Failure> {
    for (flag, word) in [
        ("--label", Some(&args.target.label)),
        ("--sensor", args.sensor.as_ref()),
    ] {
        if word.is_some_and(|word| word.contains(|c: char| c == ',' || c.is_control())) {
            return Err(Failure::question(format!(
                "`{flag}` goes to the board in a command: no comma and no control character"
            )));
        }
    }
    if !(args.interval_ms > 0.0 && args.interval_ms.is_finite()) {
        return Err(Failure::question("`--interval-ms` is above 0"));
    }
    let place = args.line.place(&args.target)?;
    let target = args.target.open(context)?;
    let key = match &target.key {
        None => String::new(),
        Some(key) => match std::str::from_utf8(key) {
            Ok(key) if !key.contains(',') => format!(",{key}"),
            _ => {
                return Err(Failure::question(
                    "the key is no ASCII text, which a board takes",
                ));
            }
        },
    };
    let ends = place.open().await.map_err(|error| {
        Failure::environment(format!("cannot open {}", place.name())).cause(&error)
    })?;
    let mut board = Board::new(ends);
    // Whatever was half typed before ends here.
    let _ = board.ask("AT+HELP", ANSWER).await;
    let device = board.ask("AT+DEVICEID?", ANSWER).await?;
    let device = device.lines().last().unwrap_or_default().to_owned();
    let listed = sensors(&board.ask("AT+CONFIG?", ANSWER).await?);
    let sensor = match (&args.sensor, listed.as_slice()) {
        (None, []) => {
            return Err(Failure::question("the board lists no sensor").hint("`--sensor` names one"));
        }
        (None, [first, ..]) => first.clone(),
        (Some(sensor), listed) if listed.is_empty() || listed.contains(sensor) => sensor.clone(),
        (Some(sensor), listed) => {
            return Err(
                Failure::question(format!("the board has no sensor `{sensor}`"))
                    .hint(format!("it lists {}", listed.join(", "))),
            );
        }
    };
    let (label, length_ms) = (&args.target.label, args.length_ms);
    let settings = format!(
        "AT+SAMPLESETTINGS={label},{},{length_ms}{key}",
        args.interval_ms
    );
    board.ask(&settings, ANSWER).await?;
    let mut done = 0;
    while args.target.count == 0 || done < args.target.count {
        context.terminal.note(format_args!(
            "{device} samples {sensor} for {} s",
            f64::from(length_ms) / 1e3
        ));
        let within = Duration::from_millis(length_ms.into()) + SAMPLING_MORE;
        let said = board
            .ask(&format!("AT+SAMPLESTART={sensor}"), within)
            .await?;
        let (from, to) = span(&said).ok_or_else(|| {
            Failure::environment("the board does not say where its sample lies")
                .because(said.lines().last().unwrap_or_default().to_owned())
        })?;
        let message = board.read(from, to).await?;
        let kind = match message.first() {
            Some(b'{') => "application/json",
            _ => "application/cbor",
        };
        let name = target.bring(label, kind, &message).await?;
        let sampled = Sampled {
            name,
            device: device.clone(),
            sensor: sensor.clone(),
            bytes: message.len(),
        };
        if context.terminal.json {
            let line = serde_json::to_string(&sampled).expect("views have string keys");
            context.terminal.line(line);
        } else {
            context
                .terminal
                .line(format_args!("{}: {} bytes", sampled.name, sampled.bytes));
        }
        done += 1;
    }
    Ok(())
}

/// A board at its prompt.
struct Board {
    ends: Ends,
}

impl Board {
    fn new(ends: Ends) -> Board {
        Board { ends }
    }

    /// Sends a command and returns what is said until the next prompt, without the echo and the `OK`.
    async fn ask(&mut self, command: &str, within: Duration) -> Result<String, Failure> {
        let name = command.split(['=', '?']).next().unwrap_or(command);
        let what = format!("answer to {name}");
        let answer = in_time(within, &what, self.exchange(command)).await?;
        let mut lines: Vec<&str> = answer.lines().map(str::trim).collect();
        lines.retain(|line| !line.is_empty() && *line != command);
        if let Some(error) = lines.iter().find(|line| line.starts_with("ERR")) {
            return Err(Failure::environment(format!("the board refuses {name}")).because(*error));
        }
        lines.retain(|line| *line != "OK");
        Ok(lines.join("\n"))
    }

    async fn exchange(&mut self, command: &str) -> io::Result<String> {
        self.ends
            .writer
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        self.ends.writer.flush().await?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = self.ends.reader.read(&mut chunk).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&chunk[..count]);
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it does not end",
                ));
            }
            // A prompt stands at the beginning of a line, and nothing follows it.
            if answer.ends_with(b"\n> ") || answer == b"> " {
                answer.truncate(answer.len() - 2);
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
        }
    }

    /// The bytes of the board's buffer between these places, which come in base64.
    async fn read(&mut self, from: u64, to: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let count = (to - at).min(READ_BYTES);
            let text = self
                .ask(&format!("AT+READBUFFER={at},{count}"), ANSWER)
                .await?;
            let packed: String = text.split_whitespace().collect();
            let part = base64::engine::general_purpose::STANDARD.decode(&packed);
            let part = part.ok().filter(|part| part.len() as u64 == count);
            let part = part.ok_or_else(|| {
                Failure::environment(format!("the line lost some of the sample, at byte {at}"))
                    .hint("record again, at a lower `--baud` if it happens often")
            })?;
            bytes.extend(part);
            at += count;
        }
        Ok(bytes)
    }
}

/// The sensors that a board's configuration lists: `Name: Built-in accelerometer, Max sample length: …`.
fn sensors(config: &str) -> Vec<String> {
    let named = config.lines().filter_map(|line| {
        let (_, after) = line.split_once("Name:")?;
        after.contains("sample length").then(|| {
            let name = after.split(',').next().unwrap_or_default();
            name.trim().to_owned()
        })
    });
    named.filter(|name| !name.is_empty()).collect()
}

/// Where a sample lies: `Used buffer, from=0, to=18432.`
fn span(said: &str) -> Option<(u64, u64)> {
    let after = |name: &str| -> Option<u64> {
        let (_, rest) = said.rsplit_once(name)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let (from, to) = (after("from=")?, after("to=")?);
    (from < to && to - from <= (ANSWER_BYTES_MAX as u64)).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boards_say() {
        let said = "Starting in 2000 ms... (or until all flash was erased)\nSampling...\nDone sampling, total bytes collected: 6000\n[1/1] Uploading file to Edge Impulse...\nNot uploading file, not connected to WiFi. Used buffer, from=0, to=18432.";
        assert_eq!(span(said), Some((0, 18_432)));
        for wrong in [
            "",
            "Used buffer, from=5, to=5.",
            "from=a, to=9",
            "from=0, to=99999999999999999999",
        ] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
        let config = "===== Device info =====\nID:         AC:87\nType:       DISCO\n===== Sensors ======\nName: Built-in accelerometer, Max sample length: 29s, Frequencies: [62.50 Hz]\nName: Microphone, Max sample length: 10s, Frequencies: [16000.00 Hz]\n===== WIFI =====\nSSID: x";
        assert_eq!(sensors(config), ["Built-in accelerometer", "Microphone"]);
    }
}
