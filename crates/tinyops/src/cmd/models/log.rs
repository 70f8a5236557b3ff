use serde::Serialize;
use tinyops_store::{Timestamp, audit, tracking::registry::alias_history};

use crate::{
    context::{Context, moment},
    failure::Failure,
    table::Table,
};

/// Entries of the audit log that are looked through.
const ENTRIES_MAX: u32 = 10_000;

/// Tell what became of a model's versions: registered, approved, promoted, and where aliases pointed when
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models log fan")]
pub(super) struct Log {
    /// The model's name
    name: String,
}

/// `tinyops models log --json`
#[derive(Serialize)]
struct View {
    name: String,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    at_ms: i64,
    actor: String,
    what: String,
    of: String,
    detail: String,
}

pub(super) async fn run(context: &Context, args: &Log) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let name = &args.name;
    let mut changes: Vec<Change> = Vec::new();
    for change in alias_history(&db, name).await? {
        changes.push(Change {
            at_ms: change.at.0,
            actor: change.actor,
            what: format!("alias {}", change.alias),
            of: name.clone(),
            detail: match change.version {
                Some(version) => format!("points at @{version}"),
                None => "points at nothing".to_owned(),
            },
        });
    }
    let versions = format!("{name}@");
    for entry in audit::list(&db, ENTRIES_MAX).await? {
        let is_of_it = entry.subject == *name || entry.subject.starts_with(&versions);
        // Aliases are told of above, with where they pointed.
        let is_told =
            entry.action.starts_with("model") || entry.action == "registered-model.create";
        if is_of_it && is_told && entry.action != "registered-model.alias" {
            changes.push(Change {
                at_ms: entry.at.0,
                actor: entry.actor,
                what: entry.action,
                of: entry.subject,
                detail: match entry.detail.is_null() {
                    true => String::new(),
                    false => entry.detail.to_string(),
                },
            });
        }
    }
    if changes.is_empty() {
        return Err(
            Failure::question(format!("nothing is known of a model `{name}`"))
                .hint("`tinyops models ls` lists those that are registered"),
        );
    }
    changes.sort_by_key(|change| change.at_ms);
    let mut table = Table::new(["when (UTC)", "who", "what", "of", "detail"]);
    for change in &changes {
        table.row([
            moment(Timestamp(change.at_ms)),
            change.actor.clone(),
            change.what.clone(),
            change.of.clone(),
            change.detail.clone(),
        ]);
    }
    let view = View {
        name: name.clone(),
        changes,
    };
    context.terminal.answer(&view, || table.text());
    Ok(())
}
