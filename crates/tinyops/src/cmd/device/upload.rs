//! `tinyops device upload`: a device sends recordings in the project's own envelope.

use std::path::PathBuf;

use serde::Serialize;
use tinyops_fleet::recording::{Head, RECORDING_TYPE};

use super::Who;
use crate::{
    context::{Context, now},
    endpoint::{Endpoint, Protocol},
    failure::Failure,
    http,
};

/// Send recordings as a device: signed with its key, counted, and with what its owner has agreed to
///
/// The device enrols first, if it has not. What its owner has not agreed to is not sent: `--purpose` says what was agreed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops device upload take-7.wav --identity pump-7.json --label worn --purpose training --days 90"
)]
pub(super) struct Upload {
    #[command(flatten)]
    pub(super) who: Who,
    /// Recordings: .wav, .csv, .json, .cbor
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they show
    #[arg(long)]
    label: Option<String>,
    /// `training`, `testing` or `anomaly`
    #[arg(long, default_value = "training")]
    category: String,
    /// The unit of each channel, between commas
    #[arg(long, value_delimiter = ',')]
    units: Vec<String>,
    /// What the device's owner has agreed that they are used for
    #[arg(long)]
    purpose: String,
    /// Days until that ends
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
}

/// One recording that is kept.
#[derive(Serialize)]
struct Sent {
    file: String,
    upload: i64,
    path: String,
    digest: String,
}

pub(super) async fn run(
    context: &Context,
    args: &Upload,
    enrolled: tinyops_wire::enrolment::Enrolled,
) -> Result<(), Failure> {
    let server = args.who.server.as_ref();
    let server = server.unwrap_or(&context.settings.http.value);
    let server = Endpoint::parse(Protocol::Http, server, args.who.ca.as_deref())?;
    let mut sent = Vec::new();
    for (path, place) in args.files.iter().zip(0..) {
        let payload = std::fs::read(path).map_err(|error| {
            Failure::question(format!("cannot read `{}`", path.display())).cause(&error)
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let day_ms = 24 * 3_600_000;
        let head = Head {
            device: enrolled.device.to_string(),
            // A clock rises; two of one command lie a millisecond apart.
            counter: now().0.unsigned_abs() + place,
            digest: String::new(),
            bytes: 0,
            name: name.into_owned(),
            category: args.category.clone(),
            label: args.label.clone(),
            units: args.units.clone(),
            purpose: args.purpose.clone(),
            until_ms: args
                .days
                .map(|days| now().plus_ms(i64::from(days) * day_ms).0),
        };
        let body = head.seal(&enrolled.key, &payload);
        let answer = http::post_bytes(&server, "/api/v1/recordings", RECORDING_TYPE, &body).await;
        let answer = answer.map_err(|error| {
            Failure::environment(format!("{server} does not answer")).cause(&error)
        })?;
        let document = answer.document();
        let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        if answer.status != 201 {
            let why = format!("{}: {}", answer.status, text("message"));
            let failure = Failure::question(format!("`{}` is not taken", path.display()));
            return Err(failure.because(why).hint(text("hint")));
        }
        sent.push(Sent {
            file: path.display().to_string(),
            upload: document["upload"].as_i64().unwrap_or_default(),
            path: text("path"),
            digest: text("digest"),
        });
    }
    context
        .terminal
        .answer(&serde_json::json!({ "sent": sent }), || {
            let line = |sent: &Sent| format!("  {} is kept as {}\n", sent.file, sent.path);
            sent.iter().map(line).collect()
        });
    Ok(())
}
