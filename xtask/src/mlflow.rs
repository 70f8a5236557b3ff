//! The stock MLflow client against our server: `examples/mlflow/track.py`, as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer;
use crate::server::{Server, fresh_project};
use crate::steps::{Answer, root, run};

/// What the example imports: the client without a server, and what it logs. Of Keras' backends the smallest that trains.
const PACKAGES: [&str; 6] = [
    "mlflow-skinny>=3,<4",
    "scikit-learn",
    "skops",
    "pandas",
    "keras>=3,<4",
    "jax",
];
const IMPORTS: &str = "mlflow, sklearn, skops.io, pandas, jax, importlib.util; assert importlib.util.find_spec('keras')";

/// Runs the example, which checks all that it logs.
pub(crate) fn check() -> Answer {
    peer::check_with("mlflow-client", &PACKAGES, IMPORTS, example)
}

fn example(python: &Path, binary: &Path) -> Answer {
    let project = trained_project(binary, "mlflow-client-project")?;
    let server = Server::start(binary, &project, &[])?;
    let script = root().join("examples/mlflow/track.py");
    let done = run(Command::new(python)
        .arg(script)
        .env("MLFLOW_TRACKING_URI", format!("http://{}", server.http))
        .env("TINYOPS_EXAMPLE_PROJECT", "fan")
        .env("KERAS_BACKEND", "jax")
        .env("PYTHONWARNINGS", "ignore")
        .env("MLFLOW_DISABLE_TELEMETRY", "true"));
    drop(server);
    done
}

/// A project that trains within seconds: two tones on four machines.
const PROJECT: &str = r#"
[project]
name = "fan"
goal = "Says whether a blade is loose"
threshold = 0.6

[[data.source]]
root = "data"
files = ["{group}/{label}/*.csv"]
rate_hz = 100.0

[data.window]
len = 64

[data.split]
validation = 0.2
hold_out = ["m3"]

[train]
epochs = 60

[train.front_end]
kind = "spectral"
bands = 6

[train.network]
kind = "dense"
hidden = [8]

[boards]
targets = ["esp-eye"]

[gates]
quantization_loss_max = 0.2
smoke = "off"
"#;

/// A fresh project of that name, and one run of it.
pub(crate) fn trained_project(binary: &Path, name: &str) -> Result<PathBuf, String> {
    let project = fresh_project(binary, name)?;
    record(&project).map_err(|error| format!("{}: {error}", project.display()))?;
    run(Command::new(binary)
        .args(["run", "--quiet", "--project"])
        .arg(&project))?;
    Ok(project)
}

/// Writes the project and its recordings.
fn record(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join("tinyops.toml"), PROJECT)?;
    for machine in 0..4_u8 {
        for (label, hz) in [("blade", 18.0_f32), ("normal", 7.0)] {
            let at = folder.join(format!("data/m{machine}/{label}"));
            fs::create_dir_all(&at)?;
            let reading = |index: u16| {
                let seconds = f32::from(index) / 100.0;
                let value = (std::f32::consts::TAU * hz * seconds + f32::from(machine)).sin();
                format!("{value:.4}\n")
            };
            let rows: String = (0..512).map(reading).collect();
            fs::write(at.join("0.csv"), format!("x\n{rows}"))?;
        }
    }
    Ok(())
}
