#![forbid(unsafe_code)]
//! MLOps for TinyML: the one binary.

mod cmd;
mod config;
mod context;
mod demo;
mod endpoint;
mod failure;
mod fan;
mod http;
mod listening;
mod model_ref;
mod model_signature;
mod record;
mod table;
mod term;
mod virtual_device;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use crate::{cmd::Cli, failure::Failure, term::Terminal};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let terminal = Terminal::new(cli.output);
    start_tracing(terminal, cli.log_filter());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(cmd::dispatch(cli, terminal));
            // A blocking step that was abandoned (Ctrl-C) must not hold the process back.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::environment("the system gives no threads").cause(&error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // On stderr also as JSON, so that stdout is one document or nothing.
            let text = if terminal.json {
                format!("{}\n", failure.json())
            } else {
                failure.render(terminal.color())
            };
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            ExitCode::from(failure.code())
        }
    }
}

/// Answers arguments that clap did not take: help and version are no errors, all else is exit code 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

/// Traces go to stderr, as much as `TINYOPS_LOG` asks for (warnings by default).
fn start_tracing(terminal: Terminal, filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TINYOPS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal.color() && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

/// The command line, for completions and for the test that holds its help together.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
