//! `tinyops flash`: which tool is called and how, and what a person is told who lacks one, or a port.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{
    running::Running,
    workplace::{Answer, Workplace},
};

/// A folder with firmware, a port, and programs that write down what they are called with.
struct Bench {
    place: Workplace,
    path: OsString,
}

impl Bench {
    fn with(programs: &[&str]) -> Bench {
        let place = Workplace::empty();
        for name in ["fw.bin", "fw.elf", "fw.img", "port"] {
            place.write(name, "firmware");
        }
        place.write("tools/.keep", "");
        let tools = place.path("tools");
        for program in programs {
            let script = "#!/bin/sh\necho it says so\nprintf '%s\\n' \"$0\" \"$@\" >> \"$TOLD\"\nexit ${FAILS:-0}\n";
            place.write(&format!("tools/{program}"), script);
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tools.join(program), executable).unwrap();
        }
        Bench {
            path: tools.into_os_string(),
            place,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(&[&["flash"], args].concat());
        command
            .env("PATH", &self.path)
            .env("TOLD", self.place.path("told"));
        command
    }

    #[track_caller]
    fn check(&self, args: &[&str], code: i32) -> Answer {
        ended(self.command(args), code)
    }

    /// What the tool was called with, its own name without the folder first.
    fn told(&self) -> String {
        let told = fs::read_to_string(self.place.path("told")).unwrap();
        let folder = format!("{}/", PathBuf::from(&self.path).display());
        told.replace(&folder, "").trim().replace('\n', " ")
    }
}

#[track_caller]
fn ended(mut command: Command, code: i32) -> Answer {
    let output = command.output().unwrap();
    let answer = Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(answer.code, code, "{}\n{}", answer.stdout, answer.stderr);
    answer
}

#[test]
fn each_board_is_loaded_by_its_tool() {
    for (program, board, firmware, expected) in [
        (
            "bossac",
            "arduino-nano-33-ble-sense",
            "fw.bin",
            "bossac --port=port -U -i -e -w fw.bin -R",
        ),
        (
            "probe-rs",
            "arduino-nano-33-ble-sense",
            "fw.elf",
            "probe-rs download --chip nRF52840_xxAA --probe port fw.elf",
        ),
        (
            "probe-rs",
            "sparkfun-edge-2",
            "fw.bin",
            "probe-rs download --chip AMA3B1KK-KBR --probe port --binary-format bin --base-address 0x10000 fw.bin",
        ),
        (
            "artemis_svl",
            "sparkfun-edge-2",
            "fw.bin",
            "artemis_svl port -f fw.bin -b 115200 -v",
        ),
        (
            "esptool.py",
            "esp-eye",
            "fw.bin",
            "esptool.py --chip esp32 --port port --baud 460800 write_flash 0x10000 fw.bin",
        ),
    ] {
        let bench = Bench::with(&[program]);
        let args = [firmware, "--board", board, "--port", "port", "--json"];
        let said = bench.check(&args, 0);
        assert_eq!(bench.told(), expected);
        let view = said.json();
        assert_eq!(
            (&view["found"], &view["ran"], &view["port"]),
            (&true.into(), &true.into(), &"port".into())
        );
        let command = view["command"].as_array().unwrap();
        assert_eq!(command.len(), expected.split(' ').count());
        assert!(said.stderr.contains("it says so"), "{}", said.stderr);
    }
}

#[test]
fn a_dry_run_shows_the_command_and_what_brings_the_tool() {
    let bench = Bench::with(&[]);
    let args = ["fw.bin", "--board", "esp-eye", "--port", "/dev/ttyUSB7"];
    let shown = bench.check(&[&args[..], &["--dry-run"]].concat(), 0);
    assert_eq!(
        shown.stdout,
        "esptool --chip esp32 --port /dev/ttyUSB7 --baud 460800 write_flash 0x10000 fw.bin\n\
         esptool is not installed: `pip install esptool` brings it\n"
    );
    let missing = bench.check(&args, 3);
    for words in [
        "esptool is not installed",
        "it would be called as `esptool --chip esp32",
        "`pip install esptool` brings it",
    ] {
        assert!(missing.stderr.contains(words), "{}", missing.stderr);
    }
    let view = bench
        .check(&[&args[..], &["--dry-run", "--json"]].concat(), 0)
        .json();
    assert_eq!(
        (&view["tool"], &view["found"], &view["ran"]),
        (&"esptool".into(), &false.into(), &false.into())
    );
}

/// A board that two tools load is loaded by the one that takes the file, installed or not.
#[test]
fn the_file_says_which_tool_takes_it() {
    let nano = ["--board", "arduino-nano-33-ble-sense", "--dry-run"];
    for installed in ["bossac", "probe-rs"] {
        let bench = Bench::with(&[installed]);
        for (firmware, tool) in [("fw.bin", "bossac"), ("fw.elf", "probe-rs")] {
            let port = [firmware, "--port", "/dev/ttyACM0", "--json"];
            let view = bench.check(&[&port[..], &nano].concat(), 0).json();
            // Both take a `.bin`: the one that is there does it.
            let expected = match firmware {
                "fw.bin" => installed,
                _ => tool,
            };
            assert_eq!(view["tool"], expected, "{installed}, {firmware}");
            assert_eq!(view["found"], installed == expected, "{view}");
        }
    }
}

/// A bootloader that takes XMODEM, played by `rx` at the other end of a line.
#[test]
fn firmware_comes_through_a_serial_loader_as_it_is() {
    let is_here = |program| Command::new(program).arg("--version").output().is_ok();
    if !is_here("sx") || !is_here("rx") {
        eprintln!("skipped: `sx` and `rx` are missing: `apt-get install lrzsz` brings them");
        return;
    }
    let place = Workplace::empty();
    // Whole blocks of 128 bytes, all values among them, for XMODEM pads the last one.
    let firmware: Vec<u8> = (0..128 * 40_u32)
        .map(|at| ((at * 7919) >> 3) as u8)
        .collect();
    fs::write(place.path("fw.img"), &firmware).unwrap();
    let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let name = ptsname(&board, Vec::new()).unwrap();
    let args = ["flash", "fw.img", "--board", "himax-we-i-plus", "--port"];
    let flash = Running::start(&place, &[&args[..], &[name.to_str().unwrap()]].concat());
    flash.note("Give your local XMODEM receive command now");
    let mut receives = Command::new("rx")
        .args(["--binary", "got.img"])
        .current_dir(place.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let board = fs::File::from(board);
    pump(board.try_clone().unwrap(), receives.stdin.take().unwrap());
    pump(receives.stdout.take().unwrap(), board);
    assert!(receives.wait().unwrap().success());
    flash.wait();
    assert!(fs::read(place.path("got.img")).unwrap() == firmware);
}

/// Carries bytes from one end to the other as they come.
fn pump(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    thread::spawn(move || {
        let mut chunk = [0; 256];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if to
                .write_all(&chunk[..count])
                .and_then(|()| to.flush())
                .is_err()
            {
                return;
            }
        }
    });
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::with(&["esptool"]);
    let esp = ["--board", "esp-eye"];
    let port = ["--port", "/dev/no-such-port"];
    let said = bench.check(&[&["fw.bin"], &esp[..], &port].concat(), 3);
    assert!(
        said.stderr.contains("cannot open `/dev/no-such-port`"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("is the board connected?"),
        "{}",
        said.stderr
    );
    let said = bench.check(&[&["none.bin"], &esp[..], &port].concat(), 2);
    assert!(
        said.stderr.contains("cannot read `none.bin`"),
        "{}",
        said.stderr
    );
    let said = bench.check(&[&["fw.elf"], &esp[..], &port].concat(), 2);
    assert!(
        said.stderr.contains("esptool takes a `.bin`"),
        "{}",
        said.stderr
    );
    let said = bench.check(
        &[&["fw.bin", "--tool", "bossac"], &esp[..], &port].concat(),
        2,
    );
    assert!(
        said.stderr
            .contains("is not loaded by bossac, but by esptool"),
        "{}",
        said.stderr
    );
    let said = bench.check(&["fw.bin", "--board", "ensemble-e7"], 2);
    assert!(
        said.stderr.contains("has no `[[loader]]`"),
        "{}",
        said.stderr
    );

    let mut fails = bench.command(&[&["fw.bin"], &esp[..], &["--port", "port"]].concat());
    fails.env("FAILS", "7");
    let said = ended(fails, 3);
    assert!(
        said.stderr.contains("esptool ended with 7"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_project_with_one_target_says_for_which_board() {
    let bench = Bench::with(&["esptool"]);
    bench
        .place
        .write("tinyops.toml", "[boards]\ntargets = [\"esp-eye\"]\n");
    bench.check(&["fw.bin", "--port", "port"], 0);
    assert!(bench.told().starts_with("esptool --chip esp32"));
    bench.place.write(
        "tinyops.toml",
        "[boards]\ntargets = [\"esp-eye\", \"sparkfun-edge-2\"]\n",
    );
    let said = bench.check(&["fw.bin", "--port", "port"], 2);
    assert!(
        said.stderr.contains("names several boards"),
        "{}",
        said.stderr
    );
}
