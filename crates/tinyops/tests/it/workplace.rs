//! A small project in a temporary folder, and the binary at work in it.

use std::{
    f32::consts::TAU,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;
use tinyops_fleet::KeyFolder;
use tinyops_server::{hex, unhex};
use tinyops_wire::{
    DeviceId, DeviceKey,
    enrolment::{EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request, open},
};

pub(crate) const SETTINGS: &str = r#"
[project]
name = "fan"
goal = "Tell which fault a fan has"
metric = "accuracy"
threshold = 0.8
slices = ["group"]

[[data.source]]
root = "data"
files = ["{group}/{label}/*.csv"]
rate_hz = 100.0
units = ["g"]

[data.window]
len = 64

[data.split]
validation = 0.2
hold_out = ["m4", "m5"]

[train]
epochs = 200

[train.front_end]
kind = "spectral"
bands = 6

[train.network]
kind = "dense"
hidden = [8]

[boards]
targets = ["esp-eye"]

[gates]
smoke = "off"
"#;

/// What a command answered.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The one document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.stdout, self.stderr))
    }
}

pub(crate) struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// A device's own key, and the request in hex that an operator brings for it.
    pub(crate) fn request(&self, device: Option<DeviceId>) -> (EnrolmentSecret, String) {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let secret = EnrolmentSecret::from_bytes([number; 32]);
        let request = Request {
            key_set: 1,
            device,
            public: secret.public(),
            nonce: [number; 16],
            board: "esp-eye",
        };
        let mut bytes = [0; REQUEST_BYTES_MAX];
        let written = request.encode(Proof::Operator, &mut bytes).unwrap();
        (secret, hex(&bytes[..written]))
    }

    /// A device that an operator has enrolled, and its key as the device itself comes to it.
    pub(crate) fn enrolled(&self) -> (DeviceId, DeviceKey) {
        let (secret, request) = self.request(None);
        let args = ["devices", "add", "--request", &request, "--json"];
        let added = self.check(&args, 0).json();
        self.opened(&secret, &request, &added)
    }

    /// What the device makes of what `devices add` answered.
    pub(crate) fn opened(
        &self,
        secret: &EnrolmentSecret,
        request: &str,
        added: &Value,
    ) -> (DeviceId, DeviceKey) {
        let trust = KeyFolder::new(&self.path(".tinyops")).trust().unwrap();
        let trust = trust.unwrap();
        let answer = unhex(added["answer"].as_str().unwrap()).unwrap();
        let request = unhex(request).unwrap();
        let opened = open(secret, &request, &answer, &trust.roots, &trust.keys).unwrap();
        assert_eq!(added["device"], opened.device.to_string());
        (opened.device, opened.key)
    }

    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A project with six machines and three conditions, four windows of each.
    pub(crate) fn fans() -> Self {
        let place = Self::empty();
        place.write("tinyops.toml", SETTINGS);
        for machine in 0..6 {
            for (condition, hz) in [("bearing", 30.0), ("blade", 18.0), ("normal", 7.0)] {
                place.write(
                    &format!("data/m{machine}/{condition}/0.csv"),
                    &recording(machine as f32, hz),
                );
            }
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs the binary in the folder; the settings of this machine do not count.
    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        self.answer(self.command(args))
    }

    /// The verbs below a verb, or below none, as its help lists them; none of a verb that does something itself.
    pub(crate) fn verbs(&self, under: &[&str]) -> Vec<String> {
        let help = self.check(&[under, &["--help"]].concat(), 0).stdout;
        help.lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|verb| *verb != "help")
            .map(str::to_owned)
            .collect()
    }

    /// The binary with arguments, to be started in the folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.here(env!("CARGO_BIN_EXE_tinyops"));
        command.args(args);
        command
    }

    /// Runs a shell script in the folder; `$0` is the binary.
    pub(crate) fn shell(&self, script: &str) -> Answer {
        let mut command = self.here("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_tinyops")]);
        self.answer(command)
    }

    fn here(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.root())
            .env("XDG_CONFIG_HOME", self.root())
            .env_remove("TINYOPS_DB")
            .env_remove("TINYOPS_ARTIFACTS")
            .env("NO_COLOR", "1");
        command
    }

    fn answer(&self, mut command: Command) -> Answer {
        let output = command.output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must end with `code`.
    #[track_caller]
    pub(crate) fn check(&self, args: &[&str], code: i32) -> Answer {
        let answer = self.run(args);
        assert_eq!(
            answer.code,
            code,
            "tinyops {}\n{}\n{}",
            args.join(" "),
            answer.stdout,
            answer.stderr
        );
        answer
    }
}

/// Four windows of three axes: a tone by the condition, its phase and size by the machine, and a little of everything else.
pub(crate) fn recording(machine: f32, hz: f32) -> String {
    let mut text = "x,y,z\n".to_owned();
    for index in 0..256 {
        let at = index as f32 / 100.0;
        let tone = (TAU * hz * at + machine).sin() * (1.0 + 0.05 * machine);
        let hum = (TAU * 3.1 * at + machine).cos() * 0.1;
        let rough = ((index * 7919 + machine as i32 * 104_729) % 997) as f32 / 997.0 - 0.5;
        let _ = writeln!(
            text,
            "{:.4},{:.4},{:.4}",
            tone + hum,
            0.5 * tone + 0.1 * rough,
            hum + 0.1 * rough
        );
    }
    text
}
