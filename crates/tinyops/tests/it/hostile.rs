//! Files and settings as they should not be: each is told with its file, its place and a way out.

use std::{fs, iter};

use crate::workplace::{SETTINGS, Workplace, recording};

/// A RIFF header with one `fmt ` chunk, and a `data` chunk that claims `claimed` bytes and has four.
fn wav(format: u16, channels: u16, rate: u32, bits: u16, claimed: u32) -> Vec<u8> {
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
    let frame = channels.wrapping_mul(bits / 8);
    bytes.extend(format.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(frame.into()).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(claimed.to_le_bytes());
    bytes.extend([1, 0, 2, 0]);
    bytes
}

/// The 128 bytes that begin a MAT file of version 5, and a tag that claims `claimed` bytes of `kind`.
fn mat(kind: u32, claimed: u32) -> Vec<u8> {
    let mut bytes = b"MATLAB 5.0 MAT-file".to_vec();
    bytes.resize(124, b' ');
    bytes.extend([0x00, 0x01, b'I', b'M']);
    bytes.extend(kind.to_le_bytes());
    bytes.extend(claimed.to_le_bytes());
    bytes.extend([7; 16]);
    bytes
}

/// Rows of three columns, of which one is replaced.
fn csv(row: usize, text: &str) -> Vec<u8> {
    let whole = recording(0.0, 7.0);
    let lines = whole.lines().enumerate();
    let lines = lines.map(|(index, line)| if index + 1 == row { text } else { line });
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into_bytes()
}

const DATA_ACQUISITION: &str = r#"{"protected":{"ver":"v1","alg":"none"},"signature":"","payload":{"device_type":"x","interval_ms":10,"sensors":[{"name":"x","units":"g"}],"values":VALUES}}"#;

fn edge_impulse(values: &str) -> Vec<u8> {
    DATA_ACQUISITION.replace("VALUES", values).into_bytes()
}

/// The name of a file, its bytes, and what must be said of it besides its name.
type Case = (&'static str, Vec<u8>, &'static str);

fn cases() -> Vec<Case> {
    let noise: Vec<u8> = iter::successors(Some(77_u32), |seed| {
        Some(seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    })
    .map(|seed| (seed >> 24) as u8)
    .take(5000)
    .collect();
    let utf16 = "x,y,z\n1,2,3\n".encode_utf16().flat_map(u16::to_le_bytes);
    vec![
        ("empty.csv", vec![], "error[empty]"),
        ("header.csv", b"x,y,z\n".to_vec(), "error[empty]"),
        ("nan.csv", csv(18, "0.1,nan,0.1"), "nan.csv, row 18"),
        (
            "infinite.csv",
            csv(19, "0.1,1e999,0.1"),
            "infinite.csv, row 19",
        ),
        ("word.csv", csv(5, "0.1,hello,0.1"), "word.csv, row 5"),
        ("narrow.csv", csv(7, "0.1,0.1"), "narrow.csv, row 7"),
        ("wide.csv", csv(9, "1,2,3,4"), "wide.csv, row 9"),
        ("noise.csv", noise.clone(), "error["),
        (
            "utf16.csv",
            [0xff, 0xfe].into_iter().chain(utf16).collect(),
            "error[",
        ),
        ("noise.wav", noise.clone(), "error[malformed]"),
        (
            "half.wav",
            b"RIFF\x24\0\0\0WAVEfm".to_vec(),
            "error[truncated]",
        ),
        ("claims.wav", wav(1, 3, 100, 16, 0x7fff_ffff), "error["),
        ("rate.wav", wav(1, 1, 0, 16, 4), "error["),
        ("channels.wav", wav(1, 0, 100, 16, 4), "error["),
        ("bits.wav", wav(1, 1, 100, 7, 4), "error["),
        ("packed.wav", wav(0x55, 1, 100, 16, 4), "error[unsupported]"),
        ("noise.mat", noise.clone(), "error["),
        ("half.mat", mat(14, 64)[..100].to_vec(), "error["),
        ("claims.mat", mat(14, 0x7fff_ffff), "error["),
        ("claims-packed.mat", mat(15, 0x7fff_ffff), "error["),
        ("noise.cbor", noise.clone(), "error["),
        (
            "claims.cbor",
            b"\x9a\x7f\xff\xff\xff\x01".to_vec(),
            "error[",
        ),
        ("text.cbor", b"hello".to_vec(), "error["),
        ("half.json", b"{\"payload\":".to_vec(), "error["),
        ("list.json", b"[]".to_vec(), "error["),
        ("words.json", edge_impulse(r#"[["a"],["b"]]"#), "error["),
        ("nulls.json", edge_impulse("[[null],[1]]"), "error["),
        ("ragged.json", edge_impulse("[[1],[1,2]]"), "error["),
        ("noise.idx", noise.clone(), "error["),
        (
            "claims.idx",
            b"\0\0\x08\x01\x7f\xff\xff\xff\x01".to_vec(),
            "error[",
        ),
        ("type.idx", b"\0\0\x77\x01\0\0\0\x01\x01".to_vec(), "error["),
        (
            "half.csv.gz",
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b".to_vec(),
            "error[",
        ),
        (
            "picture.csv",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            "error[",
        ),
        ("sheet.xlsx", b"PK\x03\x04\x14\0\x06\0".to_vec(), "error["),
    ]
}

/// One run tells of all of them, and keeps nothing.
#[test]
fn every_bad_file_is_told_with_its_place_and_a_way_out() {
    let place = Workplace::fans();
    let settings = SETTINGS.replace("{group}/{label}/*.csv", "{group}/{label}/*");
    place.write("tinyops.toml", &settings);
    for (name, bytes, _) in cases() {
        fs::write(place.path(&format!("data/m0/normal/{name}")), bytes).unwrap();
    }
    let answer = place.check(&["run"], 2);
    assert_eq!(answer.stdout, "");
    assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    let mut untold = Vec::new();
    for (name, _, told) in cases() {
        let mut lines = answer.stderr.lines().skip_while(|line| {
            !(line.contains(&format!("m0/normal/{name}")) && line.contains(told))
        });
        match lines.next() {
            None => untold.push(format!("{name}: no `{told}`")),
            Some(line) if !lines.take(3).any(|line| line.contains("hint: ")) => {
                untold.push(format!("{name}: no hint after `{line}`"));
            }
            Some(_) => {}
        }
    }
    assert!(untold.is_empty(), "{untold:#?}\n{}", answer.stderr);
}

/// What stands in the settings, what is there instead, and what must be said.
const WRONG_SETTINGS: &[(&str, &str, &str)] = &[
    (
        "threshold = 0.8",
        "threshold = \"high\"",
        "tinyops.toml:6:13: ",
    ),
    (
        "threshold = 0.8",
        "threshold = nan",
        "tinyops.toml:6:1: `project.threshold` is NaN",
    ),
    (
        "metric = \"accuracy\"",
        "metric = \"luck\"",
        "tinyops.toml:5:10: ",
    ),
    (
        "[project]",
        "[projects]",
        "tinyops.toml:2:2: unknown field `projects`",
    ),
    ("[project]", "[project", "tinyops.toml:2:"),
    (
        "name = \"fan\"",
        "name = \"../fan\"",
        "tinyops.toml:3:1: `project.name`",
    ),
    ("root = \"data\"", "root = \"nowhere\"", "nowhere"),
    (
        "root = \"data\"",
        "root = \"${TINYOPS_NOT_SET}/data\"",
        "TINYOPS_NOT_SET",
    ),
    ("root = \"data\"", "root = \"tinyops.toml\"", "tinyops.toml"),
    (
        "files = [\"{group}/{label}/*.csv\"]",
        "files = []",
        "names no files",
    ),
    (
        "{label}/*.csv",
        "{label}/*.cvs",
        "matches `{group}/{label}/*.cvs`",
    ),
    ("{label}/*.csv", "{label/*.csv", "pattern"),
    ("rate_hz = 100.0", "rate_hz = -1.0", "rate_hz"),
    ("rate_hz = 100.0", "rate_hz = nan", "rate_hz"),
    ("len = 64", "len = 0", "len"),
    ("len = 64", "len = 4000000000", "len"),
    ("len = 64", "len = 100000", "is as long as a window"),
    ("len = 64", "len = -64", "tinyops.toml:16:7: "),
    ("validation = 0.2", "validation = 1.5", "validation"),
    ("validation = 0.2", "validation = nan", "validation"),
    ("hold_out = [\"m4\", \"m5\"]", "hold_out = [\"m9\"]", "m9"),
    (
        "epochs = 200",
        "epochs = 0",
        "tinyops.toml:23:1: `train.epochs` is 0",
    ),
    ("epochs = 200", "epochs = 4000000000", "`train.epochs`"),
    ("hidden = [8]", "hidden = [0]", "hidden"),
    (
        "kind = \"spectral\"",
        "kind = \"magic\"",
        "unknown variant `magic`",
    ),
    ("bands = 6", "bands = 60000", "tinyops.toml:25:1: "),
    ("\"esp-eye\"", "\"toaster\"", "`tinyops boards`"),
];

#[test]
fn every_wrong_setting_is_told_with_a_way_out() {
    let place = Workplace::fans();
    let mut untold = Vec::new();
    for (right, wrong, told) in WRONG_SETTINGS {
        assert!(SETTINGS.contains(right), "{right}");
        place.write("tinyops.toml", &SETTINGS.replace(right, wrong));
        let answer = place.run(&["run", "--quiet"]);
        let is_code = answer.code == 2 || answer.code == 3;
        if !is_code || !answer.stderr.contains(told) || answer.stderr.contains("panicked") {
            untold.push(format!(
                "{wrong}: code {}, no `{told}` in\n{}",
                answer.code, answer.stderr
            ));
        }
    }
    assert!(untold.is_empty(), "{}", untold.join("\n"));
}

#[test]
fn a_project_file_that_is_no_text() {
    let place = Workplace::fans();
    fs::write(place.path("tinyops.toml"), [0xff, 0xfe, 0, 0x80]).unwrap();
    let answer = place.check(&["run"], 2);
    assert!(answer.stderr.contains("tinyops.toml"), "{}", answer.stderr);
    fs::remove_file(place.path("tinyops.toml")).unwrap();
    fs::create_dir(place.path("tinyops.toml")).unwrap();
    let answer = place.check(&["run"], 2);
    assert!(answer.stderr.contains("tinyops.toml"), "{}", answer.stderr);
    assert!(!place.path(".tinyops").exists());
}

/// A file that is listed and cannot be read, and one that is too large to be one recording.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read() {
    let place = Workplace::fans();
    let gone = place.path("data/m0/normal/gone.csv");
    std::os::unix::fs::symlink("/nowhere/at/all.csv", &gone).unwrap();
    let huge = fs::File::create(place.path("data/m0/normal/huge.csv")).unwrap();
    // A hole: it takes no space, and must not take memory either.
    huge.set_len(3 << 30).unwrap();
    let answer = place.check(&["run"], 2);
    for told in [
        "error[unreadable]: m0/normal/gone.csv",
        "error[too-large]: m0/normal/huge.csv",
    ] {
        assert!(answer.stderr.contains(told), "{}", answer.stderr);
    }
}
