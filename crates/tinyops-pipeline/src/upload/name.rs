//! What the file of a recording is called that comes over the network.

use chrono::{Datelike as _, Timelike as _};
use tinyops_data::{
    decode::format_of,
    finding::{Code, Finding},
    spec::Format,
};
use tinyops_store::Timestamp;

use super::UploadError;

/// Bytes of a file's name at most; file systems take 255, and an index or a date may still come.
const NAME_BYTES_MAX: usize = 160;

/// A name that stays in its folder and says the format: what was sent, without folders, hidden beginnings and control
/// characters, and with an extension where the bytes say another format than the name.
pub(super) fn file_name(sent: &str, bytes: &[u8]) -> Result<String, UploadError> {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let mut name: String = last
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect();
    let bare = name.trim_start_matches('.');
    if bare.len() < name.len() || bare.is_empty() {
        name = format!("_{bare}");
    }
    let told = match bytes {
        [b'R', b'I', b'F', b'F', ..] => Some((Format::Wav, "wav")),
        [0xa0..=0xbf, ..] => Some((Format::EiCbor, "cbor")),
        _ if bytes.trim_ascii_start().starts_with(b"{") => Some((Format::EiJson, "json")),
        _ => None,
    };
    let by_name = format_of(&name);
    let extension = match told {
        Some((format, extension)) if by_name != Some(format) => Some(extension),
        Some(_) => None,
        None if by_name.is_some() => None,
        None => {
            let what = match bytes {
                [] => "it is empty",
                _ => "neither its name nor its bytes say what it is",
            };
            let finding = Finding::error(Code::Unsupported, what);
            let finding = finding
                .in_file(&name)
                .hint("wav, csv, json and cbor are read");
            return Err(UploadError::Unsound(Box::new(finding)));
        }
    };
    if let Some(extension) = extension {
        name = format!("{name}.{extension}");
    }
    if name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let extension = extension.get(..extension.len().min(8)).unwrap_or_default();
    let mut end = NAME_BYTES_MAX - extension.len() - 1;
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    Ok(format!("{}.{extension}", &stem[..end]))
}

/// `idle.01.json` with `7f` becomes `idle.01.7f.json`.
pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{suffix}.{extension}"),
        None => format!("{name}.{suffix}"),
    }
}

pub(super) fn date_id(now: Timestamp) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default();
    let (date, time) = (moment.date_naive(), moment.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}{:03}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        now.0.rem_euclid(1000)
    )
}

pub(super) fn leading_word(name: &str) -> Option<String> {
    let is_of_word = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-');
    let word: String = name.chars().take_while(is_of_word).collect();
    let word = word.trim();
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(sent: &str, bytes: &[u8], expected: Result<&str, ()>) {
        let found = file_name(sent, bytes).map_err(drop);
        assert_eq!(found.as_deref().map_err(|_| ()), expected);
    }

    #[test]
    fn names_stay_in_their_folder_and_say_the_format() {
        check_name("idle.01", b"{}", Ok("idle.01.json"));
        check_name("idle.01.json", b" {}", Ok("idle.01.json"));
        check_name("idle.json", b"\xa3", Ok("idle.json.cbor"));
        check_name("idle", b"RIFF", Ok("idle.wav"));
        check_name("idle.csv", b"timestamp,x\n", Ok("idle.csv"));
        check_name("idle", b"timestamp,x\n", Err(()));
        check_name("", b"", Err(()));
        check_name("../../etc/passwd", b"{}", Ok("passwd.json"));
        check_name("..\\..\\boot.ini", b"{}", Ok("boot.ini.json"));
        check_name("..", b"{}", Ok("_.json"));
        check_name("", b"{}", Ok("_.json"));
        check_name("a/", b"{}", Ok("_.json"));
        check_name(".ssh", b"{}", Ok("_ssh.json"));
        check_name("a\nb\0.json", b"{}", Ok("a_b_.json"));
        let long = "ä".repeat(300) + ".json";
        let kept = file_name(&long, b"{}").expect("a name");
        assert!(kept.len() <= NAME_BYTES_MAX && kept.ends_with("ä.json"));
    }

    #[test]
    fn labels_of_names() {
        assert_eq!(leading_word("idle.01.json").as_deref(), Some("idle"));
        assert_eq!(
            leading_word("hand up-2.x.json").as_deref(),
            Some("hand up-2")
        );
        assert_eq!(leading_word("_.json").as_deref(), Some("_"));
        assert_eq!(leading_word("(1).json"), None);
    }
}
