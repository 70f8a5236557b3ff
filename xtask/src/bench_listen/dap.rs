//! Reports as shares: bytes, and what splitting and sealing cost the gateway and checking costs each aggregator.

use std::hint::black_box;

use prio::codec::{Encode as _, ParameterizedDecode as _};
use prio::vdaf::prio3::{Prio3, Prio3Histogram, Prio3InputShare, Prio3PublicShare};
use prio::vdaf::{Aggregator as _, Client as _, VerifyTransition};
use tinyops_fleet::dap::{HpkeConfig, Measurement, ReportId, Task, Vdaf, seal};

use super::Row;

/// Reports that are timed.
const REPORTS: u32 = 2_000;
const VERIFY_KEY: [u8; 32] = [7; 32];
const CONTEXT: &[u8] = b"bench";

const TASK: &str = r#"
task_id = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo"
task_info = "bench"
leader = "https://leader.example/"
helper = "https://helper.example/"
time_precision_seconds = 86400
min_batch_size = 100
batch_mode = "time-interval"
vdaf = { type = "Prio3Histogram", length = 16, chunk_length = 6 }
measurement = { of = "mean", channel = 0, channels = 9, classes = 4 }
"#;

/// Keys of the base point's multiples, so of X25519: nobody opens what is sealed for them here.
const KEYS: [u8; 43] = {
    let mut list = [0; 43];
    list[1] = 41;
    list[2] = 1;
    list[4] = 0x20;
    list[6] = 1;
    list[8] = 1;
    list[10] = 32;
    list[11] = 9;
    list
};

/// Goal 13 of `private-monitoring.md`.
pub(super) fn rows() -> Result<Vec<Row>, String> {
    let task = Task::parse(TASK).map_err(|error| error.to_string())?;
    let Vdaf::Prio3Histogram {
        length,
        chunk_length,
    } = task.vdaf
    else {
        return Err("the task has no histogram".to_owned());
    };
    let vdaf = Prio3::new_histogram(2, length as usize, chunk_length as usize)
        .map_err(|error| error.to_string())?;
    let key = HpkeConfig::choose(&KEYS).map_err(|error| error.to_string())?;
    let sealed = |number: u32| {
        let mut id = ReportId([0; 16]);
        id.0[..4].copy_from_slice(&number.to_le_bytes());
        let bucket = Measurement::Bucket((number % length) as usize);
        seal(&task, id, 1, &bucket, (&key, &key)).map_err(|error| error.to_string())
    };
    let wrapped = sealed(0)?.len() as u64;
    let of = |number: u32| shares(&vdaf, (number % length) as usize, number);
    let split: Vec<Shares> = (0..REPORTS).map(of).collect::<Result<_, _>>()?;
    let bytes = split[0].halves.iter().map(Vec::len).sum::<usize>() + split[0].public.len();
    let begun = thread_nanoseconds()?;
    for number in 0..REPORTS {
        black_box(sealed(number)?);
    }
    let sealing = microseconds(begun)?;
    let [leader, helper] = checking(&vdaf, &split)?;
    let slower = leader.max(helper);
    Ok(vec![
        Row::at_most(
            "Prio3Histogram of 16 buckets, shares, bytes",
            Some(720),
            bytes as u64,
            String::new(),
        ),
        Row::at_most(
            "the same, sealed for two and as uploaded, bytes",
            Some(900),
            wrapped,
            "janus_client 872".to_owned(),
        ),
        Row {
            name: "checking one, an aggregator's CPU time",
            goal: "≤ 20 µs".to_owned(),
            own: format!("leader {leader:.1} µs, helper {helper:.1} µs"),
            peer: String::new(),
            holds: slower <= 20.0,
        },
        Row {
            name: "splitting and sealing one, the gateway's CPU time",
            goal: "–".to_owned(),
            own: format!("{sealing:.0} µs, {:.1} × a check", sealing / slower),
            peer: String::new(),
            holds: true,
        },
    ])
}

/// A report's parts, as bytes.
struct Shares {
    nonce: [u8; 16],
    public: Vec<u8>,
    halves: [Vec<u8>; 2],
}

fn shares(vdaf: &Prio3Histogram, bucket: usize, number: u32) -> Result<Shares, String> {
    let mut nonce = [0; 16];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    let (public, halves) = vdaf
        .shard(CONTEXT, &bucket, &nonce)
        .map_err(|error| error.to_string())?;
    let bytes = |share: &Prio3InputShare<_, 32>| share.get_encoded().unwrap_or_default();
    Ok(Shares {
        nonce,
        public: public.get_encoded().map_err(|error| error.to_string())?,
        halves: [bytes(&halves[0]), bytes(&halves[1])],
    })
}

/// Microseconds a report that the leader and the helper take, from the bytes of a half to an output share.
///
/// What combines the two verifier shares is done once, by the helper; both finish.
fn checking(vdaf: &Prio3Histogram, reports: &[Shares]) -> Result<[f64; 2], String> {
    let mut times = [0.0; 2];
    let mut begun = Vec::new();
    for (which, time) in times.iter_mut().enumerate() {
        let from = thread_nanoseconds()?;
        let own: Result<Vec<_>, String> = reports
            .iter()
            .map(|report| {
                let public = Prio3PublicShare::get_decoded_with_param(vdaf, &report.public)
                    .map_err(|error| error.to_string())?;
                let half =
                    Prio3InputShare::get_decoded_with_param(&(vdaf, which), &report.halves[which])
                        .map_err(|error| error.to_string())?;
                vdaf.verify_init(
                    &VERIFY_KEY,
                    CONTEXT,
                    which,
                    &(),
                    &report.nonce,
                    &public,
                    &half,
                )
                .map_err(|error| error.to_string())
            })
            .collect();
        begun.push(own?);
        *time += microseconds(from)?;
    }
    let from = thread_nanoseconds()?;
    let (leader, helper) = (&begun[0], &begun[1]);
    let messages: Result<Vec<_>, String> = leader
        .iter()
        .zip(helper)
        .map(|((_, first), (_, second))| {
            let both = [first.clone(), second.clone()];
            vdaf.verifier_shares_to_message(CONTEXT, &(), both)
                .map_err(|error| error.to_string())
        })
        .collect();
    let messages = messages?;
    times[1] += microseconds(from)?;
    for (states, time) in begun.into_iter().zip(&mut times) {
        let from = thread_nanoseconds()?;
        for ((state, _), message) in states.into_iter().zip(&messages) {
            match vdaf.verify_next(CONTEXT, state, message.clone()) {
                Ok(VerifyTransition::Finish(output)) => black_box(output),
                _ => return Err("an honest report does not verify".to_owned()),
            };
        }
        *time += microseconds(from)?;
    }
    Ok(times)
}

/// Microseconds a report of this thread's time since then.
fn microseconds(since: u64) -> Result<f64, String> {
    Ok((thread_nanoseconds()? - since) as f64 / 1000.0 / f64::from(REPORTS))
}

/// Nanoseconds that this thread has had a processor, as Linux counts them.
fn thread_nanoseconds() -> Result<u64, String> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let first = text.split_whitespace().next();
    first
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("{path} says {text:?}"))
}
