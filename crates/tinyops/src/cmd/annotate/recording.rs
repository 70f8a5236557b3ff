//! Windows as recordings that the project reads.

use std::path::Path;

use tinyops_data::{
    finding::Report,
    ingest::{Listing, ingest},
    spec::{DataSpec, SourceSpec, TimeUnit},
};
use tinyops_pipeline::{Project, files_below, source_root};
use tinyops_wire::annotation::WindowHead;

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
    pub(super) fn of(project: Option<&Project>, root: &Path) -> Self {
        let source = project.and_then(|project| project.data.source.first().cloned());
        let source = source.unwrap_or_default();
        let channels = channels_of(&source, root).unwrap_or_default();
        let is_wav = source
            .files
            .first()
            .is_some_and(|pattern| pattern.to_lowercase().ends_with(".wav"));
        Self {
            source,
            channels,
            is_wav,
        }
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
