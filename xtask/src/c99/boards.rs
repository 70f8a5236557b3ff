//! The check on emulated boards: the cores of Arm that [`MACHINES`] lists, RISC-V of 32 bits and Xtensa.

use crate::c99::records::Record;
use crate::c99::toolchain::lacks_one_of;
use crate::c99::{folder, sources};
use crate::steps::{Answer, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use tinyops_emulate::{MACHINES, Machine};

/// An emulated board and how programs for it are built.
pub(crate) struct Board {
    /// The name in the matrix.
    pub(crate) id: &'static str,
    compiler: &'static str,
    flags: Vec<String>,
    /// The files of `c/check/board` with its start-up code.
    start_up: &'static [&'static str],
    emulator: &'static str,
    emulator_arguments: Vec<String>,
    /// Where programs, data and records lie: first addresses and bytes.
    flash: (u32, u32),
    ram: (u32, u32),
    loaded: (u32, u32),
    loader_address: u32,
}

/// What one network took on a board.
pub(crate) struct Took {
    /// Cases whose bytes are all equal, of how many.
    pub(crate) equal: usize,
    pub(crate) cases: usize,
    /// The most instructions of a case, to within what the board's timer can tell.
    pub(crate) instructions: u32,
    /// Instructions of loading.
    pub(crate) load: u32,
}

/// Why there is no figure.
pub(crate) enum Absent {
    /// Too little memory for this network.
    TooSmall,
    /// Anything that should not be.
    Fault(String),
}

const MIB: u32 = 1 << 20;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn arm(machine: &'static Machine) -> Board {
    let float = if machine.target.ends_with("hf") {
        "hard"
    } else {
        "soft"
    };
    Board {
        id: machine.id,
        compiler: "arm-none-eabi-gcc",
        flags: words(&format!(
            "-mthumb -mcpu={} -mfloat-abi={float}",
            machine.target_cpu
        )),
        start_up: &["arm.c"],
        emulator: "qemu-system-arm",
        emulator_arguments: words(&format!("-M {}", machine.qemu)),
        flash: (machine.flash.origin, machine.flash.bytes),
        ram: (machine.ram.origin, machine.ram.bytes),
        loaded: (machine.loaded.origin, machine.loaded.bytes),
        loader_address: machine.loader_address,
    }
}

/// Every board, Arm's first.
pub(crate) fn all() -> Vec<Board> {
    let mut boards: Vec<Board> = MACHINES.iter().map(arm).collect();
    boards.push(Board {
        id: "rv32imac",
        compiler: "riscv64-unknown-elf-gcc",
        flags: words(
            "-march=rv32imac -misa-spec=2.2 -mabi=ilp32 -mcmodel=medany --specs=picolibc.specs",
        ),
        start_up: &["riscv32.c"],
        emulator: "qemu-system-riscv32",
        emulator_arguments: words("-M virt -bios none"),
        flash: (0x8000_0000, 8 * MIB),
        ram: (0x8080_0000, 8 * MIB),
        loaded: (0x8200_0000, 8 * MIB),
        loader_address: 0x8200_0000,
    });
    // The reset vector of the core, and the RAM of QEMU's machine for it.
    boards.push(Board {
        id: "lx106",
        compiler: "xtensa-lx106-elf-gcc",
        flags: words("-mlongcalls --specs=/usr/lib/xtensa-lx106-elf/picolibc.specs"),
        start_up: &["xtensa.c", "xtensa_arithmetic.c"],
        emulator: "qemu-system-xtensa",
        emulator_arguments: words("-M sim -cpu lx106"),
        flash: (0x5000_0000, MIB),
        ram: (0x6000_0000, 16 * MIB),
        loaded: (0x6100_0000, 16 * MIB),
        loader_address: 0x6100_0000,
    });
    boards
}

impl Board {
    /// Whether what builds or runs a program is missing here; says so.
    ///
    /// # Errors
    /// Where it is expected.
    pub(crate) fn lacks_a_tool(&self) -> Result<bool, String> {
        lacks_one_of([self.compiler, self.emulator])
    }

    /// Builds the check with more flags than the board's own.
    ///
    /// # Errors
    /// What the compiler says.
    pub(crate) fn build(&self, flags: &[&str], folder: &Path) -> Result<PathBuf, String> {
        self.build_of("main.c", flags, folder)
    }

    /// Builds a program of `c/check/board`.
    ///
    /// # Errors
    /// What the compiler says.
    pub(crate) fn build_of(
        &self,
        main: &str,
        flags: &[&str],
        folder: &Path,
    ) -> Result<PathBuf, String> {
        let script = folder.join("memory.ld");
        std::fs::write(&script, self.linker_script()).map_err(|error| error.to_string())?;
        let program = folder.join("check.elf");
        let mut files = sources(&["c/src"], &[])?;
        files.push(PathBuf::from("c/check/cases.c"));
        files.push(Path::new("c/check/board").join(main));
        let start_up = self.start_up.iter();
        files.extend(start_up.map(|file| Path::new("c/check/board").join(file)));
        run(Command::new(self.compiler)
            .args(&self.flags)
            .args(["-std=gnu99", "-ffreestanding", "-fno-builtin-printf"])
            .args([
                "-ffp-contract=off",
                "-ffunction-sections",
                "-fdata-sections",
            ])
            .args(flags)
            .arg(format!("-DTINYOPS_LOADED={:#x}u", self.loaded.0))
            .args(["-nostartfiles", "-Wl,--gc-sections"])
            .arg(format!("-T{}", script.display()))
            .args(files)
            .args(["-lc", "-lgcc", "-o"])
            .arg(&program))?;
        Ok(program)
    }

    /// Where the linker puts what.
    fn linker_script(&self) -> String {
        let (flash, flash_bytes) = self.flash;
        let (ram, ram_bytes) = self.ram;
        format!(
            "MEMORY {{
  FLASH (rx) : ORIGIN = {flash:#x}, LENGTH = {flash_bytes}
  RAM (rwx) : ORIGIN = {ram:#x}, LENGTH = {ram_bytes}
}}
ENTRY(tinyops_board_start)
SECTIONS {{
  .text : {{ KEEP(*(.reset)) KEEP(*(.start .start.*)) *(.literal .literal.*) *(.text .text.*) *(.rodata .rodata.*) *(.srodata .srodata.*) . = ALIGN(16); }} > FLASH
  .ARM.exidx : {{ *(.ARM.exidx*) }} > FLASH
  .data : {{ . = ALIGN(16); tinyops_board_data = .; *(.data .data.*) __global_pointer$ = . + 0x800; *(.sdata .sdata.*) . = ALIGN(16); tinyops_board_data_end = .; }} > RAM AT > FLASH
  tinyops_board_data_load = LOADADDR(.data);
  .bss (NOLOAD) : {{ tinyops_board_bss = .; *(.sbss .sbss.*) *(.bss .bss.*) *(COMMON) . = ALIGN(16); tinyops_board_bss_end = .; }} > RAM
  tinyops_board_free = ALIGN(16);
  tinyops_board_stack_top = {ram:#x} + {ram_bytes};
  tinyops_board_free_end = tinyops_board_stack_top - 4096;
  /DISCARD/ : {{ *(.comment) *(.note*) *(.eh_frame*) *(.xtensa.info) *(.xt.*) }}
}}
"
        )
    }

    /// Runs a record.
    ///
    /// # Errors
    /// [`Absent`].
    pub(crate) fn run(&self, program: &Path, record: &Record) -> Result<Took, Absent> {
        let bytes = record.to_bytes();
        if bytes.len() > self.loaded.1 as usize {
            return Err(Absent::TooSmall);
        }
        let said = self.emulate(program, &bytes).map_err(Absent::Fault)?;
        self.parse(&said)
    }

    /// What a program says over a record that lies in memory.
    ///
    /// # Errors
    /// When the emulator does not start.
    pub(crate) fn emulate(&self, program: &Path, record: &[u8]) -> Result<String, String> {
        let folder = folder()?;
        let file = folder.path().join("record");
        std::fs::write(&file, record).map_err(|error| error.to_string())?;
        let output = Command::new("timeout")
            .arg("300")
            .arg(self.emulator)
            .args(&self.emulator_arguments)
            .args(["-icount", "shift=0", "-display", "none", "-monitor", "none"])
            .args(["-serial", "stdio", "-semihosting-config"])
            .arg("enable=on,target=native")
            .arg("-kernel")
            .arg(program)
            .arg("-device")
            .arg(format!(
                "loader,file={},addr={:#x},force-raw=on",
                file.display(),
                self.loader_address
            ))
            .output()
            .map_err(|error| error.to_string())?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn parse(&self, said: &str) -> Result<Took, Absent> {
        let mut took = Took {
            equal: 0,
            cases: 0,
            instructions: 0,
            load: 0,
        };
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["load", count] => took.load = count.parse().unwrap_or(0),
                ["run", count] => {
                    took.cases += 1;
                    took.instructions = took.instructions.max(count.parse().unwrap_or(0));
                }
                ["wrong", "0"] => took.equal += 1,
                ["lacks", ..] => return Err(Absent::TooSmall),
                ["end"] if took.cases > 0 => return Ok(took),
                _ => {}
            }
        }
        let tail: Vec<&str> = said.lines().rev().take(6).collect();
        Err(Absent::Fault(format!("{}: no end: {tail:?}", self.id)))
    }
}

/// Asks the C runtime for kernels of the DSP extension.
const DSP: &str = "-DTINYOPS_ARM_DSP";

impl Board {
    /// The flags of each form in which the runtime is built, with what is added to the name.
    pub(crate) fn forms(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut forms = vec![("", vec!["-O2"])];
        let has_dsp = ["m4f", "m7", "m33", "m55"].contains(&self.id);
        if has_dsp {
            forms.push((", DSP", vec!["-O2", DSP]));
        }
        forms
    }
}

/// A row of the matrix for each board and form.
pub(crate) fn matrix(networks: &[Record], wrong: &mut Vec<String>) -> Answer {
    for board in all() {
        if board.lacks_a_tool()? {
            continue;
        }
        for (form, flags) in board.forms() {
            let folder = folder()?;
            let program = board.build(&flags, folder.path())?;
            let mut row = Vec::new();
            for record in networks {
                match board.run(&program, record) {
                    Ok(took) => {
                        row.push(format!("{} of {}", took.equal, took.cases));
                        if took.equal != record.cases.len() {
                            wrong.push(format!("{}{form} {}", board.id, record.name));
                        }
                    }
                    Err(Absent::TooSmall) => row.push("too large".to_owned()),
                    Err(Absent::Fault(why)) => return Err(why),
                }
            }
            println!("| {}{form} | {} |", board.id, row.join(" | "));
        }
    }
    Ok(())
}
