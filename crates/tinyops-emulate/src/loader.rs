//! What puts firmware onto a board: which program, with which arguments, over which port.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tinyops_compile::{Board, Loader, LoaderTool};

use crate::serial::open_serial;

/// Why firmware cannot be put onto a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The board's file names no way.
    #[error("board `{board}` has no `[[loader]]`")]
    NoLoader {
        /// Which board.
        board: String,
    },
    /// The board is loaded by other tools.
    #[error("board `{board}` is not loaded by {tool}, but by {others}")]
    OtherTool {
        /// Which board.
        board: String,
        /// What was asked for.
        tool: &'static str,
        /// What its file names.
        others: String,
    },
    /// The tool takes files of other kinds.
    #[error("{tool} takes {takes}, and `{}` is none", image.display())]
    Kind {
        /// Which tool.
        tool: &'static str,
        /// What it takes.
        takes: &'static str,
        /// The file.
        image: PathBuf,
    },
    /// The firmware is not there.
    #[error("cannot read `{}`", image.display())]
    Image {
        /// The file.
        image: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No port is there to choose.
    #[error("no serial port is there")]
    NoPort,
    /// Several are.
    #[error("several serial ports are there: {ports}")]
    ManyPorts {
        /// Which.
        ports: String,
    },
    /// The port cannot be opened.
    #[error("cannot open `{}`", port.display())]
    Port {
        /// The port.
        port: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tool is not installed.
    #[error("{tool} is not installed")]
    Missing {
        /// Which.
        tool: &'static str,
        /// What brings it.
        remedy: &'static str,
    },
    /// The tool cannot be started, or has ended badly.
    #[error("{tool} {how}")]
    Failed {
        /// Which.
        tool: &'static str,
        /// How it ended.
        how: String,
    },
}

/// A tool as it is looked for, called and brought.
struct Known {
    tool: LoaderTool,
    /// Its programs, the first that is found counts.
    programs: &'static [&'static str],
    /// Whether it speaks over a serial port.
    is_serial: bool,
    /// Endings of the files that it takes.
    endings: &'static [&'static str],
    takes: &'static str,
    remedy: &'static str,
}

const KNOWN: [Known; 5] = [
    Known {
        tool: LoaderTool::ProbeRs,
        programs: &["probe-rs"],
        is_serial: false,
        endings: &["elf", "hex", "bin", ""],
        takes: "an ELF, `.hex` or `.bin`",
        remedy: "`cargo install probe-rs-tools --locked` brings it, and a debug probe has to be connected",
    },
    Known {
        tool: LoaderTool::Bossac,
        programs: &["bossac"],
        is_serial: true,
        endings: &["bin"],
        takes: "a `.bin` (`objcopy -O binary` makes one of an ELF)",
        remedy: "the Arduino core `arduino:mbed_nano` brings the one that knows this bootloader (bossac 1.9.1-arduino2)",
    },
    Known {
        tool: LoaderTool::Esptool,
        programs: &["esptool", "esptool.py"],
        is_serial: true,
        endings: &["bin"],
        takes: "a `.bin` (`esptool elf2image` makes one of an ELF)",
        remedy: "`pip install esptool` brings it",
    },
    Known {
        tool: LoaderTool::Svl,
        programs: &["artemis_svl", "svl.py"],
        is_serial: true,
        endings: &["bin"],
        takes: "a `.bin` (`objcopy -O binary` makes one of an ELF)",
        remedy: "the Arduino core `SparkFun:apollo3` brings it",
    },
    Known {
        tool: LoaderTool::Xmodem,
        programs: &["sx", "lrzsz-sx", "lsx"],
        is_serial: true,
        endings: &["img", "bin"],
        takes: "an `.img` or a `.bin`",
        remedy: "`apt-get install lrzsz` brings it",
    },
];

fn known(tool: LoaderTool) -> &'static Known {
    let found = KNOWN.iter().find(|known| known.tool == tool);
    found.expect("every tool of a board file is known")
}

/// One way to put one file onto one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Which tool.
    pub tool: LoaderTool,
    /// Where its program is; `None` where it is not installed.
    pub program: Option<PathBuf>,
    /// What brings it.
    pub remedy: &'static str,
    /// Over which port, or through which debug probe; empty where it finds its own.
    pub port: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What a person does before.
    pub before: Option<String>,
    /// The rate of the line that is opened for it, where it speaks over its standard input and output.
    pub line_baud: Option<u32>,
}

/// Where tools and ports are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Folders of programs, as `PATH` has them.
    pub path: &'a OsStr,
    /// The folder of devices, `/dev`.
    pub devices: &'a Path,
}

impl Load {
    /// Chooses a tool of the board's file and a port: of the tools that take such a file the first that is installed, or else
    /// the first, and the port that is asked for, or the only one there.
    ///
    /// # Errors
    /// [`LoadError`]; a missing tool is none, and a missing port none where `needs_port` is false.
    pub fn plan(
        board: &Board,
        image: &Path,
        tool: Option<LoaderTool>,
        port: Option<&str>,
        needs_port: bool,
        surroundings: &Surroundings<'_>,
    ) -> Result<Load, LoadError> {
        let ending = image.extension().and_then(OsStr::to_str).unwrap_or("");
        let loader = chosen(board, tool, ending, surroundings)?;
        let known = known(loader.tool);
        if !known.endings.contains(&ending) {
            return Err(LoadError::Kind {
                tool: loader.tool.name(),
                takes: known.takes,
                image: image.to_owned(),
            });
        }
        File::open(image).map_err(|source| LoadError::Image {
            image: image.to_owned(),
            source,
        })?;
        let port = match (port, known.is_serial) {
            (Some(port), _) => port.to_owned(),
            (None, false) => String::new(),
            (None, true) => match only_port(surroundings.devices) {
                Err(_) if !needs_port => "PORT".to_owned(),
                found => found?.display().to_string(),
            },
        };
        Ok(Load {
            tool: loader.tool,
            program: program(known, surroundings.path),
            remedy: known.remedy,
            arguments: arguments(loader, image, &port),
            port,
            before: loader.before.clone(),
            line_baud: (loader.tool == LoaderTool::Xmodem)
                .then_some(loader.baud.unwrap_or(115_200)),
        })
    }

    /// The program as it is called, or would be.
    pub fn program_name(&self) -> String {
        match &self.program {
            Some(path) => path.display().to_string(),
            None => known(self.tool).programs[0].to_owned(),
        }
    }

    /// Looks whether the port can be opened, and runs the tool; what it says goes to this process' standard error.
    ///
    /// # Errors
    /// [`LoadError::Missing`], [`LoadError::Port`] or [`LoadError::Failed`].
    pub fn run(&self) -> Result<(), LoadError> {
        let tool = self.tool.name();
        let Some(program) = &self.program else {
            return Err(LoadError::Missing {
                tool,
                remedy: self.remedy,
            });
        };
        let mut command = Command::new(program);
        command.args(&self.arguments).stdin(Stdio::null());
        if known(self.tool).is_serial {
            let port = PathBuf::from(&self.port);
            let opened = match self.line_baud {
                None => File::options().read(true).write(true).open(&port).map(drop),
                Some(baud) => open_serial(&port, baud).and_then(|line| {
                    command.stdout(line.try_clone()?).stdin(line);
                    Ok(())
                }),
            };
            opened.map_err(|source| LoadError::Port { port, source })?;
        }
        if self.line_baud.is_none() {
            command.stdout(std::io::stderr());
        }
        let status = command.status().map_err(|error| LoadError::Failed {
            tool,
            how: format!("cannot be started: {error}"),
        })?;
        match status.success() {
            true => Ok(()),
            false => Err(LoadError::Failed {
                tool,
                how: match status.code() {
                    Some(code) => format!("ended with {code}"),
                    None => "was stopped".to_owned(),
                },
            }),
        }
    }
}

fn chosen<'b>(
    board: &'b Board,
    tool: Option<LoaderTool>,
    ending: &str,
    surroundings: &Surroundings<'_>,
) -> Result<&'b Loader, LoadError> {
    let Some(first) = board.loader.first() else {
        return Err(LoadError::NoLoader {
            board: board.id.clone(),
        });
    };
    if let Some(tool) = tool {
        let found = board.loader.iter().find(|loader| loader.tool == tool);
        return found.ok_or_else(|| {
            let others: Vec<&str> = board.loader.iter().map(|one| one.tool.name()).collect();
            LoadError::OtherTool {
                board: board.id.clone(),
                tool: tool.name(),
                others: others.join(" or "),
            }
        });
    }
    let is_here = |loader: &&Loader| program(known(loader.tool), surroundings.path).is_some();
    let takes = |loader: &&Loader| known(loader.tool).endings.contains(&ending);
    let mut taking = board.loader.iter().filter(takes);
    let first_taking = taking.clone().next();
    // Where none takes it, the first says what it takes.
    Ok(taking.find(is_here).or(first_taking).unwrap_or(first))
}

fn program(known: &Known, path: &OsStr) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let mut names = known.programs.iter();
    names.find_map(|name| {
        let places = folders.iter().map(|folder| folder.join(name));
        places.into_iter().find(|place| place.is_file())
    })
}

/// The ports that boards appear as, in order of their names.
fn ports(devices: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let is_port = |name: &str| {
        ["ttyACM", "ttyUSB", "cu.usbmodem", "cu.usbserial"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_port))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn only_port(devices: &Path) -> Result<PathBuf, LoadError> {
    let mut found = ports(devices);
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(LoadError::NoPort),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            let shown: Vec<String> = found
                .iter()
                .map(|port| port.display().to_string())
                .collect();
            Err(LoadError::ManyPorts {
                ports: shown.join(", "),
            })
        }
    }
}

/// The arguments of a tool, as its own manual has them.
fn arguments(loader: &Loader, image: &Path, port: &str) -> Vec<String> {
    let image_text = image.display().to_string();
    let ending = image.extension().and_then(OsStr::to_str).unwrap_or("");
    let address = format!("0x{:x}", loader.address.unwrap_or(0));
    let baud = |default: u32| loader.baud.unwrap_or(default).to_string();
    let chip = loader.chip.clone().unwrap_or_default();
    let mut all: Vec<String> = Vec::new();
    let mut put = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    match loader.tool {
        LoaderTool::ProbeRs => {
            put(&["download", "--chip", &chip]);
            if !port.is_empty() {
                put(&["--probe", port]);
            }
            match ending {
                "hex" => put(&["--binary-format", "hex"]),
                "bin" => put(&["--binary-format", "bin", "--base-address", &address]),
                _ => {}
            }
            put(&[&image_text]);
        }
        // As the Arduino core calls it: by USB, erase, write, reset.
        LoaderTool::Bossac => {
            let name = port.rsplit('/').next().unwrap_or(port);
            put(&[
                &format!("--port={name}"),
                "-U",
                "-i",
                "-e",
                "-w",
                &image_text,
                "-R",
            ]);
        }
        LoaderTool::Esptool => put(&[
            "--chip",
            &chip,
            "--port",
            port,
            "--baud",
            &baud(460_800),
            "write_flash",
            &address,
            &image_text,
        ]),
        LoaderTool::Svl => put(&[port, "-f", &image_text, "-b", &baud(115_200), "-v"]),
        LoaderTool::Xmodem => put(&["--xmodem", "--binary", &image_text]),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_port_is_taken_and_of_several_none() {
        let folder = tempfile::tempdir().unwrap();
        let devices = folder.path();
        assert!(matches!(only_port(devices), Err(LoadError::NoPort)));
        fs::write(devices.join("ttyS0"), "").unwrap();
        assert!(matches!(only_port(devices), Err(LoadError::NoPort)));
        fs::write(devices.join("ttyUSB1"), "").unwrap();
        assert_eq!(only_port(devices).unwrap(), devices.join("ttyUSB1"));
        fs::write(devices.join("ttyACM0"), "").unwrap();
        let several = only_port(devices).unwrap_err().to_string();
        let shown = |name: &str| devices.join(name).display().to_string();
        assert_eq!(
            several,
            format!(
                "several serial ports are there: {}, {}",
                shown("ttyACM0"),
                shown("ttyUSB1")
            )
        );
    }

    #[test]
    fn every_board_file_that_names_a_tool_leads_to_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            path: OsStr::new(""),
            devices: folder.path(),
        };
        let mut planned = 0;
        for board in tinyops_compile::boards() {
            for loader in &board.loader {
                let ending = known(loader.tool).endings[0];
                let image = folder.path().join(format!("firmware.{ending}"));
                fs::write(&image, "").unwrap();
                let load = Load::plan(board, &image, Some(loader.tool), None, false, &surroundings);
                let load = load.unwrap();
                assert_eq!(load.program, None);
                assert!(
                    load.arguments.contains(&image.display().to_string()),
                    "{load:?}"
                );
                assert!(!load.arguments.contains(&String::new()), "{load:?}");
                planned += 1;
            }
        }
        assert!(planned >= 14, "{planned}");
    }
}
