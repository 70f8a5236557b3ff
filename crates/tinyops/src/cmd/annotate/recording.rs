//! Windows as recordings that the project reads.

use std::path::Path;

use tinyops_data::{
    decode::format_of,
    finding::Report,
    ingest::{Listing, ingest},
    spec::{DataSpec, Format, SourceSpec, TimeUnit},
};
use tinyops_pipeline::{Project, files_below, source_root};
use tinyops_wire::annotation::WindowHead;

use crate::failure::Failure;

/// How the project's first source wants its recordings.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    source: SourceSpec,
    /// What its recordings call their channels; empty if there is none.
    channels: Vec<String>,
    is_wav: bool,
}

impl Shape {
    /// As the project says; without one, tables.
    ///
    /// # Errors
    /// The project's first source reads neither plain CSV nor WAV.
    pub(super) fn of(project: Option<&Project>, root: &Path) -> Result<Self, Failure> {
        let source = project.and_then(|project| project.data.source.first().cloned());
        let source = source.unwrap_or_default();
        let is_wav = is_wav(&source).map_err(|why| {
            Failure::question(format!(
                "windows are written as plain CSV or WAV, which the project's first source does not read: it has {why}"
            ))
            .hint("put a `[[data.source]]` of plain CSV or WAV first, for what devices send")
        })?;
        let channels = channels_of(&source, root).unwrap_or_default();
        Ok(Self {
            source,
            channels,
            is_wav,
        })
    }

    pub(super) fn extension(&self) -> &'static str {
        if self.is_wav { "wav" } else { "csv" }
    }

    /// The bytes of the file. The source multiplies readings with its `scale`, so they are divided by it here.
    pub(super) fn write(&self, head: &WindowHead, readings: &[f32]) -> Vec<u8> {
        let readings: Vec<f32> = readings
            .iter()
            .map(|reading| reading / self.source.scale)
            .collect();
        if self.is_wav {
            wav(head, &readings)
        } else {
            self.table(head, &readings)
        }
    }

    fn table(&self, head: &WindowHead, readings: &[f32]) -> Vec<u8> {
        let width = usize::from(head.channel_count).max(1);
        let names = &self.channels;
        let mut columns: Vec<String> = match names.len() == width {
            true => names.clone(),
            false => (1..=width)
                .map(|channel| format!("channel{channel}"))
                .collect(),
        };
        let per_second = match self.source.time_unit {
            Some(TimeUnit::S) => 1.0,
            Some(TimeUnit::Us) => 1e6,
            Some(TimeUnit::Ns) => 1e9,
            Some(TimeUnit::Ms) | None => 1e3,
        };
        let time = self
            .source
            .time_column
            .as_ref()
            .filter(|_| head.rate_hz > 0.0);
        columns.splice(0..0, time.cloned());
        let mut text = columns.join(",") + "\n";
        for (row, reading) in readings.chunks_exact(width).enumerate() {
            let mut cells: Vec<String> = reading.iter().map(f32::to_string).collect();
            let moment = time.map(|_| row as f64 * per_second / f64::from(head.rate_hz));
            cells.splice(0..0, moment.map(|moment| moment.to_string()));
            text += &cells.join(",");
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// Whether a source reads WAV or else plain CSV as they are written here, or what it has that says otherwise.
fn is_wav(source: &SourceSpec) -> Result<bool, &'static str> {
    let pattern = source.files.first().map_or("", String::as_str);
    let is_joined = pattern.contains("{channel}") || pattern.contains("{channel:");
    let format = match source.format {
        Format::Auto if is_joined => Format::Lines,
        Format::Auto => format_of(pattern).unwrap_or(Format::Table),
        format => format,
    };
    let is_wav = match format {
        Format::Wav => true,
        Format::Auto | Format::Table => false,
        _ => return Err("another format"),
    };
    // A WAV file says its own rate, so that nothing is left to resample.
    let resamples = source.resample_hz.is_some() && (!is_wav || source.rate_hz.is_some());
    let column = [
        &source.sample_column,
        &source.label_column,
        &source.target_column,
        &source.group_column,
    ];
    let otherwise = [
        (source.decimate > 1, "`decimate`"),
        (resamples, "`resample_hz`"),
        (source.rows_skip > 0, "`rows_skip`"),
        (
            !is_wav && source.delimiter.is_some_and(|between| between != ','),
            "another `delimiter`",
        ),
        (!is_wav && source.header == Some(false), "`header = false`"),
        (
            !is_wav && column.into_iter().any(Option::is_some),
            "a column for samples, labels, targets or groups",
        ),
    ];
    match otherwise.into_iter().find(|(has, _)| *has) {
        Some((_, why)) => Err(why),
        None => Ok(is_wav),
    }
}

/// The channels of the first recording that a source finds and can read.
fn channels_of(source: &SourceSpec, root: &Path) -> Option<Vec<String>> {
    let root = source_root(root, source).ok()?;
    let mut files: Vec<String> = files_below(&root)
        .ok()?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    files.sort();
    let spec = DataSpec {
        source: vec![SourceSpec {
            files_max: Some(1),
            ..source.clone()
        }],
        ..DataSpec::default()
    };
    let mut read = |_: usize, name: &str| std::fs::read(root.join(name));
    let dataset = ingest(&spec, &[Listing { files }], &mut read, &mut Report::new());
    let channels = &dataset.samples.first()?.channels;
    Some(
        channels
            .iter()
            .map(|channel| channel.name.clone())
            .collect(),
    )
}

/// RIFF/WAVE of 32-bit floating-point numbers, which loses nothing.
fn wav(head: &WindowHead, readings: &[f32]) -> Vec<u8> {
    let channels = head.channel_count.max(1);
    let rate = head.rate_hz.round().max(1.0) as u32;
    let data_bytes = 4 * readings.len() as u32;
    let frame_bytes = 4 * channels;
    let mut out = Vec::with_capacity(44 + data_bytes as usize);
    out.extend(b"RIFF");
    out.extend((36 + data_bytes).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16_u32.to_le_bytes());
    out.extend(3_u16.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(frame_bytes)).to_le_bytes());
    out.extend(frame_bytes.to_le_bytes());
    out.extend(32_u16.to_le_bytes());
    out.extend(b"data");
    out.extend(data_bytes.to_le_bytes());
    out.extend(readings.iter().flat_map(|reading| reading.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str, change: impl FnOnce(&mut SourceSpec)) -> Result<bool, &'static str> {
        let mut source = SourceSpec {
            files: vec![pattern.to_owned()],
            ..SourceSpec::default()
        };
        change(&mut source);
        is_wav(&source)
    }

    #[test]
    fn only_sources_that_read_what_is_written_are_taken() {
        assert_eq!(is_wav(&SourceSpec::default()), Ok(false));
        assert_eq!(of("{label}/*.csv", |_| ()), Ok(false));
        assert_eq!(of("{label}/*", |_| ()), Ok(false));
        assert_eq!(of("{label}/*.WAV", |_| ()), Ok(true));
        assert_eq!(
            of("{label}/*", |source| source.format = Format::Wav),
            Ok(true)
        );
        assert_eq!(
            of("*.wav", |source| source.resample_hz = Some(8e3)),
            Ok(true)
        );
        assert_eq!(of("*.csv", |source| source.header = Some(true)), Ok(false));
        assert_eq!(
            of("*.csv", |source| source.delimiter = Some(',')),
            Ok(false)
        );

        for pattern in ["*.mat", "*.idx", "*.json", "*.cbor", "{channel}.csv"] {
            assert_eq!(of(pattern, |_| ()), Err("another format"), "{pattern}");
        }
        let lines = of("*.csv", |source| source.format = Format::Lines);
        assert_eq!(lines, Err("another format"));
        let refused = |pattern, change: fn(&mut SourceSpec)| of(pattern, change).unwrap_err();
        for pattern in ["*.csv", "*.wav"] {
            let why = refused(pattern, |source| source.decimate = 2);
            assert_eq!(why, "`decimate`");
            let why = refused(pattern, |source| source.rows_skip = 1);
            assert_eq!(why, "`rows_skip`");
            let why = refused(pattern, |source| {
                source.rate_hz = Some(16e3);
                source.resample_hz = Some(8e3);
            });
            assert_eq!(why, "`resample_hz`");
        }
        let why = refused("*.csv", |source| source.resample_hz = Some(50.0));
        assert_eq!(why, "`resample_hz`");
        let why = refused("*.csv", |source| source.delimiter = Some(';'));
        assert_eq!(why, "another `delimiter`");
        let why = refused("*.csv", |source| source.header = Some(false));
        assert_eq!(why, "`header = false`");
        let why = refused("*.csv", |source| source.label_column = Some("y".to_owned()));
        assert!(why.starts_with("a column"), "{why}");
    }
}
