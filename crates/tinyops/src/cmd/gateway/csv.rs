//! The data forwarder: a board that prints numbers, a row a line, becomes recordings.

use std::time::{Duration, Instant};

use serde::Serialize;
use tinyops_data::{acquisition::Message, sample::Channel};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::record::{LineFlags, TargetFlags, in_time};
use crate::{context::Context, failure::Failure, listening::stop_asked};

/// A line that is silent for so long has nothing to say.
const SILENT: Duration = Duration::from_secs(10);
/// Bytes of a line at most; what is longer is no row.
const LINE_BYTES_MAX: usize = 4096;
/// Numbers in a row at most.
const AXES_MAX: usize = 64;
/// Rows of a recording at most.
const ROWS_MAX: usize = 4_000_000;
/// Rows that say how wide the others are.
const FIRST_ROWS: usize = 3;
/// Rates that lines of text can have, in rows a second.
const RATES_HZ: std::ops::RangeInclusive<f64> = 0.01..=20_000.0;

/// Record from a board that prints rows of numbers, and send the recordings to the server
///
/// A row is a line of numbers between commas, tabs or blanks, as a data forwarder expects it. How many they are and how
/// many rows come in a second is measured; lines that are no rows are counted and left out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops gateway csv --tty /dev/ttyACM0 --label idle --seconds 10 --axes accX,accY,accZ --units m/s2"
)]
pub(super) struct Csv {
    #[command(flatten)]
    line: LineFlags,
    #[command(flatten)]
    target: TargetFlags,
    /// Length of a recording
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// What the numbers of a row are called, between commas [default: axis1,axis2,…]
    #[arg(long, value_delimiter = ',')]
    axes: Vec<String>,
    /// Their unit, for all or between commas
    #[arg(long, value_delimiter = ',')]
    units: Vec<String>,
    /// Rows a second, where it is known better than measured
    #[arg(long)]
    rate_hz: Option<f64>,
    /// What the board is called in the list of devices
    #[arg(long, default_value = "data-forwarder")]
    device: String,
}

/// One recording, as `--json` prints it, one a line.
#[derive(Serialize)]
struct Recorded {
    name: String,
    rows: usize,
    axes: usize,
    rate_hz: f64,
    /// Lines that were no rows.
    skipped: usize,
}

pub(super) async fn run(context: &Context, args: &Csv) -> Result<(), Failure> {
    if !(args.seconds > 0.0 && args.seconds <= 86_400.0) {
        return Err(Failure::question(
            "a recording lasts more than 0 s and a day at most",
        ));
    }
    let place = args.line.place(&args.target)?;
    let target = args.target.open(context)?;
    let ends = place.open().await.map_err(|error| {
        Failure::environment(format!("cannot open {}", place.name())).cause(&error)
    })?;
    let mut rows = Rows::new(ends.reader);
    // The first line may be the end of one.
    in_time(SILENT, "line", rows.line()).await?;
    let stopped = stop_asked();
    tokio::pin!(stopped);
    let mut done = 0;
    while args.target.count == 0 || done < args.target.count {
        let recording = tokio::select! {
            () = &mut stopped => break,
            recording = rows.recording(args) => recording?,
        };
        let key = target.key.as_deref();
        let message = Message {
            device_name: &args.device,
            device_type: "DATA_FORWARDER",
            interval_ms: 1000.0 / recording.rate_hz,
            sensors: &recording.sensors,
            values: &recording.values,
        };
        let body = message.encode(key);
        let name = target
            .bring(&args.target.label, "application/json", &body)
            .await?;
        let recorded = Recorded {
            name,
            rows: recording.values.len() / recording.sensors.len(),
            axes: recording.sensors.len(),
            rate_hz: recording.rate_hz,
            skipped: recording.skipped,
        };
        say(context, &recorded);
        done += 1;
    }
    Ok(())
}

fn say(context: &Context, recorded: &Recorded) {
    if context.terminal.json {
        let line = serde_json::to_string(recorded).expect("views have string keys");
        return context.terminal.line(line);
    }
    context.terminal.line(format_args!(
        "{}: {} rows of {} at {:.2} Hz, {} lines left out",
        recorded.name, recorded.rows, recorded.axes, recorded.rate_hz, recorded.skipped
    ));
}

struct Recording {
    sensors: Vec<Channel>,
    values: Vec<f32>,
    rate_hz: f64,
    skipped: usize,
}

/// Lines off a stream.
struct Rows {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    chunk: Vec<u8>,
    at: usize,
    width: Option<usize>,
    /// As the first recording measured it: all of a board have one rate.
    rate_hz: Option<f64>,
}

impl Rows {
    fn new(reader: Box<dyn AsyncRead + Send + Unpin>) -> Rows {
        Rows {
            reader,
            chunk: Vec::new(),
            at: 0,
            width: None,
            rate_hz: None,
        }
    }

    /// The next line without its end; one that is too long comes cut.
    async fn line(&mut self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            while let Some(&byte) = self.chunk.get(self.at) {
                self.at += 1;
                match byte {
                    b'\n' => return Ok(line),
                    b'\r' => {}
                    byte if line.len() < LINE_BYTES_MAX => line.push(byte),
                    _ => {}
                }
            }
            self.chunk.resize(4096, 0);
            let count = self.reader.read(&mut self.chunk).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.chunk.truncate(count);
            self.at = 0;
        }
    }

    /// The next row of the width that was found.
    async fn row(&mut self, skipped: &mut usize) -> Result<Vec<f32>, Failure> {
        loop {
            let line = in_time(SILENT, "row", self.line()).await?;
            match numbers(&line) {
                Some(row) if self.width.is_none_or(|width| width == row.len()) => return Ok(row),
                _ => *skipped += 1,
            }
            if *skipped > 1000 && self.width.is_none() {
                return Err(
                    Failure::question("a thousand lines, and none is a row of numbers").hint(
                        "check `--baud`, and that the firmware prints numbers between commas",
                    ),
                );
            }
        }
    }

    async fn recording(&mut self, args: &Csv) -> Result<Recording, Failure> {
        let mut skipped = 0;
        while self.width.is_none() {
            let mut first = Vec::new();
            for _ in 0..FIRST_ROWS {
                first.push(self.row(&mut skipped).await?.len());
            }
            if first.iter().all(|width| *width == first[0]) {
                self.width = Some(first[0]);
            }
        }
        let width = self.width.unwrap_or(1);
        let sensors = sensors(args, width)?;
        let mut values = self.row(&mut skipped).await?;
        let begun = Instant::now();
        let mut last = begun;
        while last.duration_since(begun).as_secs_f64() < args.seconds {
            values.extend(self.row(&mut skipped).await?);
            last = Instant::now();
            if values.len() / width > ROWS_MAX {
                return Err(
                    Failure::question(format!("a recording has {ROWS_MAX} rows at most"))
                        .hint("fewer `--seconds`"),
                );
            }
        }
        let measured = (values.len() / width - 1) as f64 / last.duration_since(begun).as_secs_f64();
        let known = args.rate_hz.or(self.rate_hz);
        let rate_hz = known.unwrap_or_else(|| rounded(measured));
        self.rate_hz = Some(rate_hz);
        if !RATES_HZ.contains(&rate_hz) {
            return Err(
                Failure::question(format!("{rate_hz} rows a second is no rate of a line"))
                    .hint("`--rate-hz` says it"),
            );
        }
        Ok(Recording {
            sensors,
            values,
            rate_hz,
            skipped,
        })
    }
}

fn sensors(args: &Csv, width: usize) -> Result<Vec<Channel>, Failure> {
    for (flag, given, is_for_all) in [
        ("--axes", args.axes.len(), false),
        ("--units", args.units.len(), true),
    ] {
        if given > 0 && given != width && !(is_for_all && given == 1) {
            return Err(Failure::question(format!(
                "`{flag}` names {given}, and rows have {width} numbers"
            )));
        }
    }
    let unit = |axis: usize| match args.units.as_slice() {
        [] => String::new(),
        [unit] => unit.clone(),
        units => units[axis].clone(),
    };
    let sensor = |axis: usize| Channel {
        name: match args.axes.get(axis) {
            Some(name) => name.clone(),
            None => format!("axis{}", axis + 1),
        },
        unit: unit(axis),
    };
    Ok((0..width).map(sensor).collect())
}

/// A row of numbers between commas, tabs, semicolons or blanks.
fn numbers(line: &[u8]) -> Option<Vec<f32>> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if text.len() >= LINE_BYTES_MAX {
        return None;
    }
    let is_between = |c: char| c == ',' || c == ';' || c == '\t';
    let cells: Vec<&str> = match text.contains(is_between) {
        true => text
            .trim_end_matches(is_between)
            .split(is_between)
            .collect(),
        false => text.split_whitespace().collect(),
    };
    let number = |cell: &str| {
        cell.trim()
            .parse()
            .ok()
            .filter(|value: &f32| value.is_finite())
    };
    let row: Option<Vec<f32>> = cells.into_iter().map(number).collect();
    row.filter(|row| !row.is_empty() && row.len() <= AXES_MAX)
}

/// Three significant digits: a measured rate is not better than that, and recordings of one board shall have one rate.
fn rounded(rate_hz: f64) -> f64 {
    if !(rate_hz.is_finite() && rate_hz > 0.0) {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - rate_hz.log10().floor() as i32);
    (rate_hz * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let of = |text: &str| numbers(text.as_bytes());
        assert_eq!(of("1,2.5,-3e2"), Some(vec![1.0, 2.5, -300.0]));
        assert_eq!(of("1\t2\r"), Some(vec![1.0, 2.0]));
        assert_eq!(of(" 1 ; 2;"), Some(vec![1.0, 2.0]));
        assert_eq!(of("1 2"), Some(vec![1.0, 2.0]));
        for text in [
            "",
            "x",
            "1,,2",
            "1,nan",
            "1,inf",
            "acc: 1",
            &"1,".repeat(65),
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(numbers(b"1,\xff"), None);
    }

    #[test]
    fn rates() {
        for (measured, told) in [
            (99.87, 99.9),
            (100.04, 100.0),
            (62.4999, 62.5),
            (0.5001, 0.5),
            (1037.2, 1040.0),
        ] {
            assert!((rounded(measured) - told).abs() < 1e-9, "{measured}");
        }
        assert_eq!(rounded(f64::INFINITY), 0.0);
    }
}
