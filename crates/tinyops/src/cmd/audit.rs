use std::path::PathBuf;

use serde::Serialize;
use tinyops_store::{
    Db, Digest, Json,
    audit::{self, Entry},
};

use crate::{
    context::{Context, moment},
    failure::Failure,
    table::Table,
};

/// Show the log of who changed what, and check that nobody changed the log
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Verify(Verify),
    Export(Export),
}

/// List the newest entries, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops audit ls --limit 20")]
struct Ls {
    /// Entries at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Those about one subject: a device, a rollout, a token
    #[arg(long)]
    about: Option<String>,
}

/// Walk the whole log and check that each entry follows from the one before
///
/// Tells the last entry and its digest. Noted down elsewhere, it finds later a log that was cut or written anew.
/// Exits with 1 if the log does not hold together.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops audit verify --known 412:9f2c…")]
struct Verify {
    /// An entry that must be there as it was, `ENTRY:DIGEST`, as an earlier `verify` told it
    #[arg(long, value_name = "ENTRY:DIGEST", value_parser = known)]
    known: Option<(i64, Digest)>,
}

/// Write the whole log, oldest first, one JSON object a line
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops audit export --out audit.jsonl")]
struct Export {
    /// File to write; standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn known(text: &str) -> Result<(i64, Digest), String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(id, digest)| Some((id.parse().ok()?, digest.parse().ok()?)));
    parts.ok_or_else(|| "an entry's number, a colon and its digest of 64 hex digits".to_owned())
}

/// One entry; the same shape as the server's.
#[derive(Serialize)]
struct View {
    entry: i64,
    at_ms: i64,
    actor: String,
    action: String,
    subject: String,
    detail: Json,
    digest: Option<String>,
}

impl View {
    fn of(entry: Entry) -> Self {
        Self {
            entry: entry.id,
            at_ms: entry.at.0,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            digest: entry.digest.map(|digest| digest.to_string()),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Audit) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    match &args.verb {
        Verb::Ls(args) => ls(context, &db, args).await,
        Verb::Verify(args) => verify(context, &db, args).await,
        Verb::Export(args) => export(context, &db, args).await,
    }
}

async fn ls(context: &Context, db: &Db, args: &Ls) -> Result<(), Failure> {
    let entries = match &args.about {
        Some(subject) => audit::about(db, subject, args.limit).await?,
        None => audit::list(db, args.limit).await?,
    };
    let mut table = Table::new(["entry", "at (UTC)", "who", "did", "to", "with"]);
    for entry in &entries {
        table.row([
            entry.id.to_string(),
            moment(entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            match &entry.detail {
                Json::Null => "–".to_owned(),
                detail => detail.to_string(),
            },
        ]);
    }
    let views: Vec<View> = entries.into_iter().map(View::of).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "entries": views }), || {
            if views.is_empty() {
                "  nothing was changed yet\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn verify(context: &Context, db: &Db, args: &Verify) -> Result<(), Failure> {
    let chain = audit::walk(db).await?;
    if let Some(entry) = chain.broken_at {
        return Err(Failure::no(format!(
            "entry {entry} does not follow from the {} before it",
            chain.entry_count
        ))
        .because("the store refuses to change the log: the database was changed past it")
        .hint("compare with an earlier `tinyops audit export`, or with a backup"));
    }
    if let Some((id, digest)) = &args.known {
        let after = id.checked_sub(1);
        let found = audit::behind(db, after, 1).await?.pop();
        let kept = found.filter(|entry| entry.id == *id);
        match kept.as_ref().map(|entry| entry.digest) {
            Some(Some(kept)) if kept == *digest => {}
            Some(_) => {
                return Err(
                    Failure::no(format!("entry {id} is not the one that was known"))
                        .because(
                            "the log holds together, but was written anew from there or before",
                        )
                        .hint("compare with an earlier `tinyops audit export`, or with a backup"),
                );
            }
            None => {
                return Err(Failure::no(format!("entry {id} is gone: the log was cut"))
                    .hint("compare with an earlier `tinyops audit export`, or with a backup"));
            }
        }
    }
    let head = chain.head.map(|(id, digest)| format!("{id}:{digest}"));
    let view = serde_json::json!({
        "entries": chain.entry_count,
        "entries_before_the_chain": chain.unchained_count,
        "head": head,
    });
    context.terminal.answer(&view, || {
        let mut out = format!("{} entries hold together", chain.entry_count);
        if chain.unchained_count > 0 {
            out += &format!(
                "; {} of them are of before there was a chain",
                chain.unchained_count
            );
        }
        if let Some(head) = &head {
            out += &format!("\nthe last one is {head}\n");
            out += "note it down elsewhere: `--known` checks it later\n";
        } else {
            out += "\n";
        }
        out
    });
    Ok(())
}

/// Entries read at a time.
const PAGE: u32 = 1000;

async fn export(context: &Context, db: &Db, args: &Export) -> Result<(), Failure> {
    let mut lines = String::new();
    let mut after = None;
    loop {
        let entries = audit::behind(db, after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = Some(last.id);
        for entry in entries {
            lines += &serde_json::to_string(&View::of(entry)).expect("views have string keys");
            lines.push('\n');
        }
        if args.out.is_none() {
            context.terminal.line(lines.trim_end());
            lines.clear();
        }
    }
    match &args.out {
        Some(path) => context.write(path, lines.as_bytes()),
        None => Ok(()),
    }
}
