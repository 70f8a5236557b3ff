use serde::Serialize;
use tinyops_pipeline::catalog::{Found, PAGE_MAX, Page, Query, about, find};
use tinyops_store::DeviceId;
use tinyops_store::catalog::{Hit, Kind};

use crate::{
    context::{Context, moment, short},
    failure::Failure,
    table::Table,
};

/// Find data, models, runs, experiments, devices, cohorts and recordings
///
/// All words must hold: text that stands in a name or tag, `kind:model`, `owner:ana`, `label:worn`, `tag:site=hall-1`,
/// `metric:macro_f1>0.9`. What has spaces stands between double quotes. Best first: what is called so, what begins so,
/// what has it in its name, the rest; equals newest first, recordings last. Exits with 1 if nothing is found.
#[derive(Debug, clap::Args)]
#[command(
    name = "search-catalog",
    after_help = "Example: tinyops search-catalog 'kind:run metric:accuracy>0.9 fan'"
)]
pub(crate) struct SearchCatalog {
    /// What to look for; several words are one query
    query: Vec<String>,
    /// Entries to leave out before the page
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// Entries of the page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)))]
    limit: u32,
}

/// `tinyops search-catalog --json`
#[derive(Serialize)]
struct View {
    query: String,
    total: u64,
    offset: u64,
    found: Vec<EntryView>,
}

#[derive(Serialize)]
struct EntryView {
    kind: &'static str,
    name: String,
    /// By which other commands find it: `fan@3`, the id of a run or device, a digest.
    id: String,
    owner: Option<String>,
    about: String,
    at_ms: Option<i64>,
}

impl EntryView {
    fn of(found: Found) -> Self {
        match found {
            Found::Record(hit) => Self::of_record(hit),
            Found::Recording {
                project,
                version,
                entry,
            } => Self {
                kind: "recording",
                about: format!("{} {}", about(&entry, &project), short(&version)),
                name: entry.name,
                id: entry.content.to_string(),
                owner: None,
                at_ms: None,
            },
        }
    }

    fn of_record(hit: Hit) -> Self {
        let device = (hit.kind == Kind::Device).then(|| hit.key.parse::<i64>().ok());
        let id = match (device.flatten(), hit.digest) {
            (Some(number), _) => DeviceId(number as u64).to_string(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => hit.key,
        };
        Self {
            kind: hit.kind.word(),
            name: match hit.kind {
                Kind::Device => id.clone(),
                _ => hit.title,
            },
            id,
            owner: Some(hit.owner).filter(|owner| !owner.is_empty()),
            about: hit.about,
            at_ms: Some(hit.at.0),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &SearchCatalog) -> Result<(), Failure> {
    let text = args.query.join(" ");
    let query: Query = text.parse().map_err(|error| {
        Failure::question("this is no query").cause(&error).hint(
            "`tinyops search-catalog --help` and docs/guide/catalog.md list what a query may say",
        )
    })?;
    let (db, artifacts) = context.existing_store().await?;
    let Page { found, total } = find(&db, &artifacts, &query, args.offset, args.limit).await?;
    let view = View {
        query: text,
        total,
        offset: args.offset,
        found: found.into_iter().map(EntryView::of).collect(),
    };
    let text = view.text();
    context.terminal.answer(&view, || text);
    match total {
        0 => Err(Failure::no("nothing is found")),
        _ => Ok(()),
    }
}

impl View {
    fn text(&self) -> String {
        if self.found.is_empty() {
            return String::new();
        }
        let mut table = Table::new(["kind", "name", "owner", "what", "id", "when (UTC)"]);
        for entry in &self.found {
            let is_named = entry.id == entry.name;
            table.row([
                entry.kind.to_owned(),
                entry.name.clone(),
                entry.owner.clone().unwrap_or_default(),
                entry.about.clone(),
                match entry.id.len() {
                    _ if is_named => String::new(),
                    64 => entry.id[..12].to_owned(),
                    _ => entry.id.clone(),
                },
                entry
                    .at_ms
                    .map_or_else(String::new, |at| moment(tinyops_store::Timestamp(at))),
            ]);
        }
        let mut out = table.text();
        let last = self.offset + self.found.len() as u64;
        if self.offset > 0 || last < self.total {
            out += &format!(
                "  {} to {last} of {}; `--offset {last}` goes on\n",
                self.offset + 1,
                self.total
            );
        }
        out
    }
}
