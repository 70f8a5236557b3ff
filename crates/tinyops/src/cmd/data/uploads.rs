//! `tinyops data uploads`: what came over the network, and of which devices.

use tinyops_server::{UploadDeviceView, UploadView};
use tinyops_store::{Db, Timestamp, upload};

use crate::{
    context::{Context, moment, now},
    failure::Failure,
    table::Table,
};

/// List the recordings that came over the network, newest first, and the devices that they name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data uploads --limit 10")]
pub(super) struct Uploads {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// How many recordings are here whose consent has ended.
pub(super) async fn ended(db: &Db, project: &str) -> Result<usize, Failure> {
    let kept = upload::kept(db, project).await?;
    let is_over = |until: Timestamp| until <= now();
    let ended = kept.iter().filter_map(|upload| upload.new.consent_until);
    Ok(ended.filter(|until| is_over(*until)).count())
}

pub(super) async fn run(context: &Context, args: &Uploads) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let project = context.project()?.project.name;
    let uploads = upload::list(&db, &project, args.limit).await?;
    let devices = upload::devices(&db, &project).await?;
    let mut table = Table::new([
        "upload",
        "came (UTC)",
        "from",
        "device",
        "signed",
        "recording",
    ]);
    for upload in &uploads {
        let new = &upload.new;
        let state = match (upload.erased_at, new.is_signed) {
            (Some(_), _) => "erased",
            (None, true) => "yes",
            (None, false) => "–",
        };
        table.row([
            upload.id.to_string(),
            moment(upload.received_at),
            new.actor.clone(),
            new.device.clone().unwrap_or_else(|| "–".to_owned()),
            state.to_owned(),
            new.path.clone(),
        ]);
    }
    let mut of_devices = Table::new(["device", "kind", "recordings", "newest (UTC)"]);
    for source in &devices {
        of_devices.row([
            source.device.clone(),
            source.device_type.clone().unwrap_or_else(|| "–".to_owned()),
            source.count.to_string(),
            moment(source.last_at),
        ]);
    }
    let uploads: Vec<UploadView> = uploads.into_iter().map(UploadView::from).collect();
    let devices: Vec<UploadDeviceView> = devices.into_iter().map(UploadDeviceView::from).collect();
    let is_empty = uploads.is_empty();
    let view = serde_json::json!({ "uploads": uploads, "devices": devices });
    context.terminal.answer(&view, || match is_empty {
        true => {
            "  nothing has come yet; docs/guide/ingest.md says how recordings are sent\n".to_owned()
        }
        false => format!("{}{}", table.text(), of_devices.text()),
    });
    Ok(())
}
