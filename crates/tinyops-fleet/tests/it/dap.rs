//! Prio3 over DAP: what is uploaded is what Janus uploads, two aggregators open it, and what is outside of the law is not
//! in the sum.

mod aggregators;
mod lies;

use std::collections::BTreeMap;
use std::path::Path;

use aggregators::{Pair, take_apart};
use tinyops_fleet::dap::{
    Fate, HpkeConfig, HpkeConfigError, Measurement, Problem, ReportError, ReportId, Task,
    TaskError, UploadProblem, read_upload, seal,
};

/// The task that the golden file is of.
const TASK: &str = r#"
task_id = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"
task_info = "pumps"
leader = "http://127.0.0.1:8476/leader/"
helper = "http://127.0.0.1:8476/helper"
time_precision_seconds = 3600
min_batch_size = 100
batch_mode = "time-interval"

[vdaf]
type = "Prio3Histogram"
length = 16
chunk_length = 6

[measurement]
of = "mean"
channel = 2
channels = 9
classes = 4
"#;

/// The same devices, of which classes are measured as a vector.
const VECTOR: &str = r#"
task_id = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"
task_info = "pumps"
leader = "http://127.0.0.1:8476/leader/"
helper = "http://127.0.0.1:8476/helper"
time_precision_seconds = 86400
min_batch_size = 600
batch_mode = "leader-selected"
task_interval = { start = 20000, duration = 400 }

[vdaf]
type = "Prio3SumVec"
length = 4
max_measurement = 255
chunk_length = 6

[measurement]
of = "classes"
channels = 9
classes = 4
model = "04030201"
"#;

pub(crate) fn task() -> Task {
    Task::parse(TASK).unwrap()
}

fn vector_task() -> Task {
    Task::parse(VECTOR).unwrap()
}

/// What Janus' own crates write (0.9.0-prerelease-1 at 4ab28a36, DAP draft 18), by name.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/dap/janus.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let (name, digits) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let bytes = (0..digits.len()).step_by(2).map(byte).collect();
        (name.to_owned(), bytes)
    };
    text.lines().map(line).collect()
}

/// Seals a bucket or a vector for a pair, as the gateway does.
pub(crate) fn sealed(pair: &Pair, id: u8, time: u64, measurement: &Measurement) -> Vec<u8> {
    let keys = [0, 1].map(|which| HpkeConfig::choose(&pair.keys(which)).unwrap());
    let id = ReportId([id; 16]);
    seal(&pair.task, id, time, measurement, (&keys[0], &keys[1])).unwrap()
}

#[test]
fn bytes_are_those_of_janus() {
    let golden = golden();
    assert_eq!(task().configuration(), golden["task-configuration"]);
    assert_eq!(
        vector_task().configuration(),
        golden["task-configuration-vector"]
    );
    let aad = tinyops_fleet::dap::aad(&task(), ReportId([3; 16]), 495_000, b"public");
    assert_eq!(aad, golden["input-share-aad"]);
    let pair = Pair::new(task());
    for (which, (list, id)) in [("leader-keys", 7), ("helper-keys", 9)].iter().enumerate() {
        assert_eq!(pair.keys(which), golden[*list]);
        assert_eq!(HpkeConfig::choose(&golden[*list]).unwrap().id, *id);
    }
    // A list that begins with a key of P-256 has the next one taken.
    let chosen = HpkeConfig::choose(&golden["hpke-config-list"]).unwrap();
    assert_eq!(chosen.id, 7);
    let ids = [[1; 16], [2; 16], [3; 16]].map(ReportId);
    let kind = "application/ppm-dap;message=upload-errors";
    let fates = read_upload((200, Some(kind), &golden["upload-errors"]), &ids).unwrap();
    assert_eq!(
        fates,
        [Fate::Known, Fate::Stored, Fate::Sealed(ReportError(4))]
    );
}

/// What `janus_client` uploaded of buckets 3, 3 and 15: these aggregators read it, so what they read is what Janus writes.
#[test]
fn aggregators_open_what_janus_client_uploads() {
    let mut pair = Pair::new(task());
    assert_eq!(pair.upload(&golden()["upload-request"]), Some(vec![]));
    assert_eq!(pair.reports.len(), 3);
    assert!(pair.reports.values().all(|report| report.time == 495_000));
    let mut expected = vec![0; 16];
    (expected[3], expected[15]) = (2, 1);
    assert_eq!(pair.sum(), (expected, 0));
}

#[test]
fn a_sum_is_the_exact_integer_sum_of_what_was_measured() {
    let mut pair = Pair::new(task());
    let mut expected = vec![0_u128; 16];
    for id in 0..60_u8 {
        let bucket = usize::from(id) * 7 % 13;
        expected[bucket] += 1;
        let report = sealed(&pair, id, 495_000, &Measurement::Bucket(bucket));
        // §3.1 of the design: 720 bytes of shares, 0.9 kB with all around them.
        assert!(report.len() <= 900, "{}", report.len());
        assert_eq!(pair.upload(&report), Some(vec![]));
    }
    assert_eq!(pair.sum(), (expected, 0));
    // A second report of an id is none.
    let again = sealed(&pair, 0, 495_000, &Measurement::Bucket(9));
    assert_eq!(pair.upload(&again), Some(vec![(ReportId([0; 16]), 2)]));

    let mut pair = Pair::new(vector_task());
    let mut expected = vec![0_u128; 4];
    for id in 0..40_u8 {
        let values: Vec<u64> = (0..4)
            .map(|place| u64::from(id) * 5 * place % 256)
            .collect();
        for (sum, value) in expected.iter_mut().zip(&values) {
            *sum += u128::from(*value);
        }
        pair.upload(&sealed(&pair, id, 20_100, &Measurement::Vector(values)));
    }
    assert_eq!(pair.sum(), (expected, 0));
}

#[test]
fn what_is_not_the_tasks_is_not_sealed() {
    let pair = Pair::new(task());
    let keys = [0, 1].map(|which| HpkeConfig::choose(&pair.keys(which)).unwrap());
    let vector = Pair::new(vector_task());
    let try_seal = |task: &Task, measurement| {
        seal(
            task,
            ReportId([1; 16]),
            1,
            &measurement,
            (&keys[0], &keys[1]),
        )
    };
    assert!(try_seal(&pair.task, Measurement::Bucket(16)).is_err());
    assert!(try_seal(&pair.task, Measurement::Vector(vec![0; 16])).is_err());
    for wrong in [vec![0; 3], vec![0; 5], vec![0, 0, 0, 256]] {
        assert!(try_seal(&vector.task, Measurement::Vector(wrong)).is_err());
    }
    assert!(try_seal(&vector.task, Measurement::Bucket(1)).is_err());
}

/// An aggregator that was set up otherwise, in whatever byte, opens nothing.
#[test]
fn nothing_opens_under_other_settings_or_after_a_change() {
    let pair = Pair::new(task());
    let report = sealed(&pair, 1, 495_000, &Measurement::Bucket(3));
    let taken = take_apart(&report).unwrap().remove(0);
    assert!(pair.open(&taken, 0).is_some() && pair.open(&taken, 1).is_some());
    let changes: [fn(&mut Task); 7] = [
        |task| task.id.0[31] ^= 1,
        |task| task.info.push('2'),
        |task| task.leader.push('/'),
        |task| task.min_batch_size += 1,
        |task| task.time_precision_seconds = 86_400,
        |task| task.batch_mode = tinyops_fleet::dap::BatchMode::LeaderSelected,
        |task| {
            task.vdaf = tinyops_fleet::dap::Vdaf::Prio3Histogram {
                length: 16,
                chunk_length: 5,
            }
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut other = task();
        change(&mut other);
        let other = Pair::new(other);
        for which in [0, 1] {
            assert!(other.open(&taken, which).is_none(), "change {index}");
        }
    }
    for at in 0..report.len() {
        let mut changed = report.clone();
        changed[at] ^= 1;
        // What cannot be taken apart, or names another key, is turned away before anything is opened.
        let Some(mut reports) = take_apart(&changed) else {
            continue;
        };
        let changed = reports.remove(0);
        let opened = [0, 1].map(|which| {
            changed.halves[which].0 == taken.halves[which].0 && pair.open(&changed, which).is_some()
        });
        assert_ne!(opened, [true, true], "byte {at}");
    }
    // The halves are not each other's.
    let mut swapped = taken.clone();
    swapped.halves.swap(0, 1);
    (swapped.halves[0].0, swapped.halves[1].0) = (taken.halves[0].0, taken.halves[1].0);
    assert!(pair.open(&swapped, 0).is_none());
}

#[test]
fn lists_of_keys_that_are_none_are_refused_with_the_reason() {
    let good = Pair::new(task()).keys(0);
    let cut = |len: usize| HpkeConfig::choose(&good[..len]);
    for len in 0..good.len() {
        assert_eq!(cut(len), Err(HpkeConfigError::Malformed), "{len}");
    }
    assert_eq!(
        HpkeConfig::choose(&[&good[..], &[0]].concat()),
        Err(HpkeConfigError::Malformed)
    );
    assert_eq!(HpkeConfig::choose(&[0, 0]), Err(HpkeConfigError::Empty));
    let list = |configs: &[&[u8]]| {
        let body = configs.concat();
        [&(body.len() as u16).to_be_bytes()[..], &body].concat()
    };
    let one = &good[2..];
    assert_eq!(
        HpkeConfig::choose(&list(&[one, one])),
        Err(HpkeConfigError::Twice(7))
    );
    // P-384, a KDF and an AEAD that are none of ours.
    for (at, value, told) in [(2, 0x11, "0x0011"), (4, 3, "0x0003"), (6, 9, "0x0009")] {
        let mut other = one.to_vec();
        other[at] = value;
        let Err(HpkeConfigError::Unknown(said)) = HpkeConfig::choose(&list(&[&other])) else {
            panic!("{at}");
        };
        assert!(said.contains(told), "{said}");
        // One that is known behind it is taken all the same.
        other[0] = 1;
        assert_eq!(HpkeConfig::choose(&list(&[&other, one])).unwrap().id, 7);
    }
    // A key of small order, one of no bytes and one of too many.
    let mut weak = one.to_vec();
    weak[9..].fill(0);
    assert_eq!(
        HpkeConfig::choose(&list(&[&weak])),
        Err(HpkeConfigError::Key(7))
    );
    let empty = [7, 0, 0x20, 0, 1, 0, 1, 0, 0];
    assert_eq!(
        HpkeConfig::choose(&list(&[&empty])),
        Err(HpkeConfigError::Malformed)
    );
    let mut long = one.to_vec();
    long[8] = 33;
    long.push(0);
    assert_eq!(
        HpkeConfig::choose(&list(&[&long])),
        Err(HpkeConfigError::Key(7))
    );
}

#[test]
fn answers_say_what_becomes_of_each_report() {
    let ids = [[1; 16], [2; 16]].map(ReportId);
    let errors = "Application/PPM-DAP; message=\"upload-errors\"";
    let stored = vec![Fate::Stored; 2];
    assert_eq!(read_upload((200, None, b""), &ids), Ok(stored.clone()));
    assert_eq!(
        read_upload((201, Some("text/plain"), b""), &ids),
        Ok(stored)
    );
    let code = |code: u8| {
        let body = [&[2; 16][..], &[code]].concat();
        read_upload((200, Some(errors), &body), &ids).unwrap()[1]
    };
    assert_eq!(code(2), Fate::Known);
    for sealed_anew in [4, 11] {
        assert_eq!(code(sealed_anew), Fate::Sealed(ReportError(sealed_anew)));
    }
    for waits in [5, 9, 10] {
        assert_eq!(code(waits), Fate::Waits(ReportError(waits)));
    }
    for lost in [0, 1, 3, 6, 7, 8, 200] {
        assert_eq!(code(lost), Fate::Lost(ReportError(lost)));
    }
    let answer = |body: &[u8]| read_upload((200, Some(errors), body), &ids);
    let is_none = |answer| matches!(answer, Err(UploadProblem::Answer(_)));
    // Of a report that was not uploaded, out of order, twice, cut off; a body of another kind.
    assert!(is_none(answer(&[9; 17])));
    let swapped = [&[2; 16][..], &[2], &[1; 16], &[2]].concat();
    assert!(is_none(answer(&swapped)));
    assert!(is_none(answer(
        &[&[1; 16][..], &[2], &[1; 16], &[2]].concat()
    )));
    assert!(is_none(answer(&[1; 16])));
    let page = read_upload((200, Some("text/html"), b"<html>"), &ids);
    assert!(is_none(page));

    let told =
        |status: u16, body: &str| read_upload((status, None, body.as_bytes()), &ids).unwrap_err();
    let of_dap = |token: &str| {
        format!(r#"{{"type":"urn:ietf:params:ppm:dap:error:{token}","title":"No.","taskid":"x"}}"#)
    };
    assert!(matches!(
        told(404, &of_dap("unrecognizedTask")),
        UploadProblem::Task(_)
    ));
    assert!(matches!(
        told(400, &of_dap("invalidMessage")),
        UploadProblem::Message(_)
    ));
    assert_eq!(told(413, ""), UploadProblem::TooLarge);
    let other_draft = told(415, "<html>").to_string();
    assert!(
        other_draft.contains("another draft of DAP than dap-18"),
        "{other_draft}"
    );
    for status in [301, 404, 500, 503] {
        let problem = told(status, "no JSON");
        assert_eq!(
            problem.to_string(),
            format!("the leader answered {status}: no reason given")
        );
    }
    let busy = told(429, r#"{"title":"Too many","detail":"wait a minute"}"#);
    assert!(busy.to_string().ends_with("Too many: wait a minute"));
}

#[test]
fn problem_documents_cannot_write_to_a_terminal() {
    let problem = Problem::read(br#"{"type":"about:blank","detail":"a\u001b[2Jb\nc"}"#);
    assert_eq!(problem.text, "a [2Jb c");
    assert_eq!(problem.token, "");
    let long = format!(r#"{{"detail":"{}"}}"#, "é".repeat(5000));
    assert_eq!(Problem::read(long.as_bytes()).text.chars().count(), 240);
    for none in ["", "{", "[]", r#"{"type":3}"#, "\u{0}"] {
        assert_eq!(Problem::read(none.as_bytes()), Problem::default(), "{none}");
    }
}

/// A changed line of the file, and what is said of it.
#[track_caller]
fn refused(text: &str, line: &str, changed: &str) -> TaskError {
    assert!(text.contains(line), "{line}");
    let error = Task::parse(&text.replace(line, changed)).unwrap_err();
    assert!(!error.to_string().is_empty());
    error
}

#[test]
fn files_of_tasks_that_are_none_are_refused_with_the_reason() {
    assert!(matches!(
        Task::parse("task_id = 3"),
        Err(TaskError::File(_))
    ));
    let refuse = |line: &str, changed: &str| refused(TASK, line, changed);
    let id = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo";
    for wrong in [
        "",
        "WlpaWg",
        "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWl=",
        &"+".repeat(43),
    ] {
        assert_eq!(refuse(id, wrong), TaskError::Id, "{wrong}");
    }
    assert_eq!(task().id.to_string(), id);
    assert_eq!(refuse("\"pumps\"", "\"\""), TaskError::Info(0));
    let leader = "http://127.0.0.1:8476/leader/";
    for wrong in [
        "",
        "leader.example",
        "ftp://leader.example/",
        "https://",
        "https://a/?b",
        "https://a@b/",
    ] {
        assert!(
            matches!(refuse(leader, wrong), TaskError::Url("leader", _)),
            "{wrong}"
        );
    }
    for plain in [
        "http://leader.example/",
        "http://127.0.0.1.example/",
        "http://[2001::1]/",
    ] {
        assert!(
            matches!(refuse(leader, plain), TaskError::NoTls("leader", _)),
            "{plain}"
        );
    }
    for fine in [
        "https://leader.example/dap",
        "http://localhost:1/",
        "http://[::1]:9/",
    ] {
        assert!(Task::parse(&TASK.replace(leader, fine)).is_ok(), "{fine}");
    }
    assert_eq!(refuse("/leader/", "/helper/"), TaskError::SameAggregator);
    assert_eq!(refuse("= 3600", "= 0"), TaskError::Precision(0));
    assert_eq!(
        refuse("min_batch_size = 100", "min_batch_size = 19"),
        TaskError::Batch(19)
    );
    assert_eq!(refuse("length = 16", "length = 0"), TaskError::Length(0));
    assert_eq!(
        refuse("chunk_length = 6", "chunk_length = 17"),
        TaskError::Chunk(17, 16)
    );
    let reading = |line: &str, changed: &str| {
        let error = refuse(line, changed);
        assert!(matches!(error, TaskError::Reading(_)), "{error}");
    };
    reading("channel = 2\n", "channel = 9\n");
    reading("channel = 2\n", "");
    reading("channels = 9", "channels = 10");
    reading("of = \"mean\"", "of = \"classes\"");
    reading("of = \"mean\"", "of = \"bins\"");
    assert!(matches!(
        refuse("classes = 4", "classes = 4\nmodel = \"7\""),
        TaskError::File(_)
    ));
    assert_eq!(
        refused(VECTOR, "duration = 400", "duration = 0"),
        TaskError::Interval
    );
    assert_eq!(
        refused(VECTOR, "max_measurement = 255", "max_measurement = 0"),
        TaskError::Largest(0)
    );
    assert!(matches!(
        refused(VECTOR, "length = 4\n", "length = 5\n"),
        TaskError::Reading(_)
    ));
}
