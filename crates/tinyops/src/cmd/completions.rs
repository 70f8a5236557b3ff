use std::io;

use clap_complete::Shell;

use crate::{context::Context, failure::Failure};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops completions bash > /etc/bash_completion.d/tinyops")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(_: &Context, args: &Completions) -> Result<(), Failure> {
    clap_complete::generate(
        args.shell,
        &mut crate::command(),
        "tinyops",
        &mut io::stdout().lock(),
    );
    Ok(())
}
