use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tinyops_compile::LoaderTool;
use tinyops_emulate::{Load, LoadError, Surroundings};

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Put firmware onto a board: finds the tool and the port, shows the command, runs it
///
/// Which tool says the board's file: probe-rs, bossac, esptool, the serial loader of Apollo3 (SVL) or XMODEM. Exits with 3,
/// and says what brings it, where the tool is missing, the port cannot be opened or the tool fails.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops flash firmware.bin --board sparkfun-edge-2 --port /dev/ttyUSB0"
)]
pub(crate) struct Flash {
    /// The firmware: an ELF, .hex, .bin or .img, as the tool takes it
    firmware: PathBuf,
    /// The board: one that `tinyops boards` lists or the path of a board file [default: the project's only target]
    #[arg(long)]
    board: Option<String>,
    /// Serial port, or debug probe of probe-rs as VID:PID [default: the only port there]
    #[arg(long)]
    port: Option<String>,
    /// Which of the board's tools: probe-rs, bossac, esptool, svl or xmodem [default: the first that takes the file and is
    /// installed]
    #[arg(long, value_parser = tool)]
    tool: Option<LoaderTool>,
    /// Show the command and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// `tinyops flash --json`
#[derive(Serialize)]
struct View {
    board: String,
    firmware: PathBuf,
    tool: &'static str,
    /// Whether its program is installed.
    found: bool,
    /// Over which port; null where the tool finds its own.
    port: Option<String>,
    /// The program and its arguments.
    command: Vec<String>,
    /// What a person does before.
    before: Option<String>,
    /// What brings the program.
    remedy: &'static str,
    /// Whether it has been run.
    ran: bool,
}

fn tool(word: &str) -> Result<LoaderTool, String> {
    let names = || LoaderTool::ALL.map(LoaderTool::name).join(", ");
    LoaderTool::named(word).ok_or_else(|| format!("it is one of {}", names()))
}

pub(crate) fn run(context: &Context, args: &Flash) -> Result<(), Failure> {
    let named = match &args.board {
        Some(board) => board.clone(),
        None => only_target(context)?,
    };
    let board = context.board(&named)?;
    let surroundings = Surroundings {
        path: &env::var_os("PATH").unwrap_or_default(),
        devices: Path::new("/dev"),
    };
    let load = Load::plan(
        &board,
        &args.firmware,
        args.tool,
        args.port.as_deref(),
        !args.dry_run,
        &surroundings,
    )
    .map_err(|error| failure(&error, None))?;
    let command: Vec<String> = [load.program_name()]
        .into_iter()
        .chain(load.arguments.iter().cloned())
        .collect();
    if let (Some(before), false) = (&load.before, args.dry_run) {
        context.terminal.note(format_args!("before: {before}"));
    }
    if !args.dry_run {
        context.terminal.note(format_args!("{}", line(&command)));
        load.run()
            .map_err(|error| failure(&error, Some(&line(&command))))?;
    }
    let view = View {
        board: board.id.clone(),
        firmware: args.firmware.clone(),
        tool: load.tool.name(),
        found: load.program.is_some(),
        port: Some(load.port.clone()).filter(|port| !port.is_empty()),
        before: load.before.clone(),
        remedy: load.remedy,
        ran: !args.dry_run,
        command,
    };
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

/// The one board that the project names.
fn only_target(context: &Context) -> Result<String, Failure> {
    let targets = context.project()?.boards.targets;
    match &targets[..] {
        [only] => Ok(only.clone()),
        [] => Err(Failure::question("the project names no board")
            .hint("`--board BOARD` says which; `tinyops boards` lists them")),
        several => Err(Failure::question(format!(
            "the project names several boards: {}",
            several.join(", ")
        ))
        .hint("`--board BOARD` says which")),
    }
}

/// A command as a shell takes it.
fn line(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    let quoted = command.iter().map(|word| match word.chars().all(plain) {
        true if !word.is_empty() => word.clone(),
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn text(view: &View) -> String {
    let mut out = String::new();
    if view.ran {
        out += &format!("{} is on {}\n", view.firmware.display(), view.board);
        return out;
    }
    if let Some(before) = &view.before {
        out += &format!("before: {before}\n");
    }
    out += &format!("{}\n", line(&view.command));
    if !view.found {
        out += &format!("{} is not installed: {}\n", view.tool, view.remedy);
    }
    out
}

fn failure(error: &LoadError, command: Option<&str>) -> Failure {
    match error {
        LoadError::Missing { remedy, .. } => {
            let failure = Failure::of(Exit::Environment, error).hint(*remedy);
            match command {
                Some(command) => failure.because(format!("it would be called as `{command}`")),
                None => failure,
            }
        }
        LoadError::Port { source, .. } => {
            let failure = Failure::of(Exit::Environment, error);
            match source.kind() {
                ErrorKind::PermissionDenied => failure.hint(
                    "ports belong to a group: `sudo usermod -aG dialout $USER`, then log in again (on Arch the group is `uucp`)",
                ),
                ErrorKind::NotFound => {
                    failure.hint("is the board connected? `ls /dev/tty*` before and after tells which port it is")
                }
                ErrorKind::ResourceBusy => {
                    failure.hint("another program has it open: a serial monitor, or `tinyops gateway`")
                }
                _ => failure,
            }
        }
        LoadError::NoPort => Failure::of(Exit::Environment, error).hint(
            "connect the board by a cable that carries data, or `--port PORT` names the port",
        ),
        LoadError::ManyPorts { .. } => {
            Failure::of(Exit::Question, error).hint("`--port PORT` says which")
        }
        LoadError::Failed { .. } => Failure::of(Exit::Environment, error)
            .hint("what it said stands above; `--dry-run` shows the command to try by hand"),
        LoadError::NoLoader { .. } => Failure::of(Exit::Question, error)
            .hint("add one to its file: `[[loader]]` with `tool`, such as in docs/boards.md"),
        _ => Failure::of(Exit::Question, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_opened_is_named_with_what_to_do() {
        for (kind, expected) in [
            (ErrorKind::PermissionDenied, "usermod -aG dialout"),
            (ErrorKind::ResourceBusy, "another program has it open"),
            (ErrorKind::NotFound, "is the board connected?"),
        ] {
            let error = LoadError::Port {
                port: PathBuf::from("/dev/ttyACM0"),
                source: kind.into(),
            };
            let said = failure(&error, None).render(false);
            assert!(said.contains("cannot open `/dev/ttyACM0`"), "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_command_is_one_that_a_shell_takes() {
        let command = ["a", "b c", "d'e", ""].map(str::to_owned);
        assert_eq!(line(&command), r"a 'b c' 'd'\''e' ''");
    }
}
