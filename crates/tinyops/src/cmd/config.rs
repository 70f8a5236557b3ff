use serde::Serialize;

use crate::{config::Setting, context::Context, failure::Failure};

/// Print each setting of this program and where its value came from
///
/// A flag counts before the environment, that before `config.toml`, that before the default.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: TINYOPS_HTTP=0.0.0.0:8080 tinyops config")]
pub(crate) struct Config {}

#[derive(Serialize)]
struct View<'a> {
    settings: [&'a Setting; 4],
}

pub(crate) fn run(context: &Context, _: &Config) -> Result<(), Failure> {
    let settings = context.settings.all();
    context.terminal.answer(&View { settings }, || {
        settings
            .iter()
            .map(|setting| {
                format!(
                    "{:<10} {:<44} {}\n",
                    setting.key, setting.value, setting.from
                )
            })
            .collect()
    });
    Ok(())
}
