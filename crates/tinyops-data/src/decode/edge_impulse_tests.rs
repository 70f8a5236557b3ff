use super::*;
use crate::finding::Report;
use crate::spec::Missing;

fn read(bytes: &[u8], format: Format, key: Option<&[u8]>) -> (Option<Recording>, Report) {
    let mut report = Report::new();
    let recording = decode(
        bytes,
        format,
        key,
        &mut Findings::new("a.json", Missing::Refuse, &mut report),
    );
    (recording, report)
}

fn message(alg: &str, signature: &str, values: &str) -> String {
    format!(
        r#"{{"protected":{{"ver":"v1","alg":"{alg}","iat":1}},"signature":"{signature}","payload":{{"device_name":"a","device_type":"b","interval_ms":16,"sensors":[{{"name":"x","units":"m/s2"}},{{"name":"y","units":"m/s2"}}],"values":{values}}}}}"#
    )
}

fn signed(values: &str, key: &[u8]) -> String {
    let empty = message("HS256", &"0".repeat(64), values);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(empty.as_bytes());
    let tag: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    message("HS256", &tag, values)
}

#[test]
fn a_message_is_a_recording() {
    let (recording, report) = read(
        signed("[[1,2],[3.5,4]]", b"key").as_bytes(),
        Format::EiJson,
        Some(b"key"),
    );
    assert_eq!(report.findings, []);
    let recording = recording.expect("a recording");
    assert_eq!(recording.readings, [1.0, 2.0, 3.5, 4.0]);
    assert_eq!(recording.rate_hz, Some(62.5));
    assert_eq!(recording.channels[1].name, "y");
    assert_eq!(recording.channels[1].unit, "m/s2");
    assert_eq!(recording.metadata["device_name"], "a");
}

#[test]
fn no_bit_of_a_signed_message_can_change() {
    let bytes = signed("[[1,2],[3.5,4]]", b"key").into_bytes();
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (recording, report) = read(&changed, Format::EiJson, Some(b"key"));
        assert_eq!(recording, None, "bit {bit}");
        assert!(report.has_errors(), "bit {bit}");
    }
    assert_eq!(read(&bytes, Format::EiJson, Some(b"other")).0, None);
    let unsigned = message("none", "00", "[[1,2]]");
    assert_eq!(
        read(unsigned.as_bytes(), Format::EiJson, Some(b"key")).0,
        None
    );
    assert!(read(unsigned.as_bytes(), Format::EiJson, None).0.is_some());
}

#[test]
fn one_sensor_may_be_flat_and_audio_is_full_scale() {
    let text = r#"{"payload":{"interval_ms":0.0625,"sensors":[{"name":"audio","units":"wav"}],"values":[16384,-32768]}}"#;
    let (recording, report) = read(text.as_bytes(), Format::EiJson, None);
    assert_eq!(report.findings, []);
    let recording = recording.expect("a recording");
    assert_eq!(recording.readings, [0.5, -1.0]);
    assert_eq!(recording.rate_hz, Some(16_000.0));
    assert_eq!(recording.channels[0].unit, "FS");
}

#[test]
fn every_wrong_value_is_found() {
    let text = message("none", "", r#"[[1,2],[3],[null,"x"],[[1],{"a":[]}],[5,6]]"#);
    let (recording, report) = read(text.as_bytes(), Format::EiJson, None);
    assert_eq!(recording.map(|recording| recording.readings.len()), Some(8));
    insta::assert_snapshot!(report, @r"
    error[row-width]: a.json, row 2: 1 values, the first row has 2; the row is left out
    error[not-a-number]: a.json, row 3: a value is null, not a number
    error[not-a-number]: a.json, row 3: a value is text, not a number
    error[not-a-number]: a.json, row 4: a value is a list, not a number
    error[not-a-number]: a.json, row 4: a value is a map, not a number
    5 errors, 0 warnings, 0 notes
    ");
}

#[test]
fn what_is_no_message() {
    let codes = |text: &str, format| -> Vec<Code> {
        let (_, report) = read(text.as_bytes(), format, None);
        report.findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes("{\"payload\":{", Format::EiJson), [Code::Truncated]);
    assert_eq!(codes("[1]", Format::EiJson), [Code::Malformed]);
    assert_eq!(codes("{\"payload\":7}", Format::EiJson), [Code::Malformed]);
    assert_eq!(codes("{}", Format::EiJson), [Code::Empty]);
    assert_eq!(codes("\u{1}", Format::EiCbor), [Code::Malformed]);
    assert_eq!(codes("\u{5a}", Format::EiCbor), [Code::Truncated]);
    let three = message("none", "", "[[1,2,3]]");
    assert_eq!(codes(&three, Format::EiJson), [Code::RowWidth]);
    let still = message("none", "", "[[1,2]]").replace(":16,", ":0,");
    assert_eq!(codes(&still, Format::EiJson), [Code::MissingRate]);
    let deep = format!("{{\"payload\":{}", "[".repeat(100_000));
    assert_eq!(codes(&deep, Format::EiJson), [Code::Malformed]);
}

#[test]
fn cbor_of_either_length_says_the_same() {
    // {"payload": {"interval_ms": 16, "sensors": [{"name": "x", "units": "g"}], "values": [[1], [2.5]]}}
    let head = b"\xa1\x67payload\xa3\x6binterval_ms\x10\x67sensors\x81\xa2\x64name\x61x\x65units\x61g\x66values";
    let definite = b"\x82\x81\x01\x81\xf9\x41\x00".as_slice();
    let indefinite = b"\x9f\x9f\x01\xff\x81\xfb\x40\x04\x00\x00\x00\x00\x00\x00\xff".as_slice();
    for values in [definite, indefinite, b"\x82\x01\xf9\x41\x00"] {
        let bytes = [head, values].concat();
        let (recording, report) = read(&bytes, Format::EiCbor, None);
        assert_eq!(report.findings, []);
        assert_eq!(
            recording.map(|recording| recording.readings),
            Some(vec![1.0, 2.5])
        );
        for end in 0..bytes.len() {
            let (_, report) = read(&bytes[..end], Format::EiCbor, None);
            assert!(report.has_errors(), "cut at {end}");
        }
    }
}
