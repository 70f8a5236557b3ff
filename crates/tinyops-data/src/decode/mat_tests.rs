use std::io::Write as _;

use super::*;
use crate::finding::Report;
use crate::spec::Missing;

/// Writes a `.mat` file, the other way round from the reader.
pub(crate) struct Writer {
    big: bool,
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(big: bool) -> Writer {
        let mut bytes = b"MATLAB 5.0 MAT-file, written by a test".to_vec();
        bytes.resize(124, b' ');
        bytes.extend(if big { *b"\x01\x00MI" } else { *b"\x00\x01IM" });
        Writer { big, bytes }
    }

    fn word(&self, word: u32) -> [u8; 4] {
        if self.big {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    fn element(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = [self.word(kind), self.word(body.len() as u32)].concat();
        bytes.extend(body);
        if kind != COMPRESSED {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    fn matrix(&self, name: &str, rows: u32, columns: u32, kind: u32, values: &[u8]) -> Vec<u8> {
        let class = if kind == 9 { 6 } else { 10 };
        let body = [
            self.element(6, &[self.word(class), self.word(0)].concat()),
            self.element(5, &[self.word(rows), self.word(columns)].concat()),
            self.element(1, name.as_bytes()),
            self.element(kind, values),
        ]
        .concat();
        self.element(MATRIX, &body)
    }

    pub(crate) fn doubles(mut self, name: &str, rows: u32, values: &[f64], packed: bool) -> Writer {
        let bytes = values.iter().flat_map(|value| {
            if self.big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        });
        let columns = values.len() as u32 / rows;
        let matrix = self.matrix(name, rows, columns, 9, &bytes.collect::<Vec<u8>>());
        let matrix = if packed {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&matrix).expect("memory");
            self.element(COMPRESSED, &encoder.finish().expect("memory"))
        } else {
            matrix
        };
        self.bytes.extend(matrix);
        self
    }

    /// 16-bit integers, as small element if they are two at most.
    fn shorts(mut self, name: &str, values: &[i16]) -> Writer {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| {
                if self.big {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                }
            })
            .collect();
        let mut matrix = self.matrix(name, values.len() as u32, 1, 3, &bytes);
        if bytes.len() <= 4 {
            let at = matrix.len() - 16;
            matrix.truncate(at);
            matrix.extend(self.word((bytes.len() as u32) << 16 | 3));
            matrix.extend(bytes);
            matrix.resize(at + 8, 0);
            let len = matrix.len() as u32 - 8;
            let len = self.word(len);
            matrix[4..8].copy_from_slice(&len);
        }
        self.bytes.extend(matrix);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

fn read(bytes: &[u8], choices: &[&str]) -> (Option<Recording>, Report) {
    let choices: Vec<String> = choices.iter().map(|&choice| choice.to_owned()).collect();
    let mut report = Report::new();
    let recording = decode(
        bytes,
        &choices,
        &mut Findings::new("a.mat", Missing::Refuse, &mut report),
    );
    (recording, report)
}

#[track_caller]
fn check(bytes: &[u8], choices: &[&str], channels: &str, readings: &[f32]) {
    let (recording, report) = read(bytes, choices);
    assert_eq!(report.findings, []);
    let recording = recording.expect("a recording");
    let names: Vec<&str> = recording
        .channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    assert_eq!(names.join(" "), channels);
    assert_eq!(recording.readings, readings);
}

#[test]
fn variables_are_chosen_by_name() {
    for (big, packed) in [(false, false), (false, true), (true, false), (true, true)] {
        let bytes = Writer::new(big)
            .doubles("X105_DE_time", 3, &[1.0, 2.0, 3.0], packed)
            .doubles("X105_FE_time", 3, &[4.0, 5.0, 6.0], packed)
            .shorts("X105RPM", &[1797])
            .shorts("raw", &[-7, 8, 9])
            .finish();
        check(&bytes, &["X*_DE_time"], "DE_time", &[1.0, 2.0, 3.0]);
        check(
            &bytes,
            &["end = X*_FE_time", "raw"],
            "end raw",
            &[4.0, -7.0, 5.0, 8.0, 6.0, 9.0],
        );
        let all = [1.0, 4.0, -7.0, 2.0, 5.0, 8.0, 3.0, 6.0, 9.0];
        check(&bytes, &[], "X105_DE_time X105_FE_time raw", &all);
        let (recording, _) = read(&bytes, &["raw"]);
        let metadata = recording
            .map(|recording| recording.metadata)
            .expect("a recording");
        assert_eq!(metadata.get("rpm").map(String::as_str), Some("1797"));
    }
}

#[test]
fn a_matrix_is_a_channel_for_each_column() {
    let bytes = Writer::new(false)
        .doubles("acc", 2, &[1.0, 2.0, 3.0, 4.0], false)
        .finish();
    check(&bytes, &["acc"], "acc0 acc1", &[1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn what_breaks() {
    let bytes = Writer::new(false)
        .doubles("a", 2, &[1.0, 2.0], false)
        .doubles("b", 3, &[1.0, f64::NAN, 3.0], false)
        .finish();
    let codes = |bytes: &[u8], choices: &[&str]| -> Vec<Code> {
        read(bytes, choices)
            .1
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect()
    };
    assert_eq!(codes(&bytes, &["c*"]), [Code::MissingColumn]);
    assert_eq!(codes(&bytes, &["*"]), [Code::MissingColumn]);
    assert_eq!(codes(&bytes, &["a", "b"]), [Code::ChannelMismatch]);
    assert_eq!(codes(&bytes, &["b"]), [Code::NotFinite]);
    assert_eq!(codes(&bytes[..bytes.len() - 1], &["a"]), [Code::Truncated]);
    assert_eq!(codes(&bytes[..100], &["a"]), [Code::Truncated]);
    assert_eq!(codes(b"MATLAB 7.3 MAT-file", &["a"]), [Code::Unsupported]);
    assert_eq!(codes(&[7; 200], &["a"]), [Code::Malformed]);
}
