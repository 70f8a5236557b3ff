//! The stock MLflow client against our server: `examples/mlflow/track.py`, as a user runs it.

use std::path::PathBuf;
use std::process::Command;

use crate::peer;
use crate::server::{Server, fresh_project, target};
use crate::steps::{Answer, cargo, root, run};

/// What the example imports: the client without a server, and what it logs.
const PACKAGES: [&str; 4] = ["mlflow-skinny>=3,<4", "scikit-learn", "skops", "pandas"];

/// Runs the example, which checks all that it logs.
pub(crate) fn check() -> Answer {
    let python = match peer::python(&folder(), &PACKAGES, "mlflow, sklearn, skops.io, pandas") {
        Ok(python) => python,
        Err(why) => {
            println!(
                "skipped: {why}; `pip install {}` brings them",
                PACKAGES.join(" ")
            );
            return Ok(());
        }
    };
    cargo(&["build", "--quiet", "--package", "tinyops"])?;
    let binary = target().join("debug/tinyops");
    let project = fresh_project(&binary, "mlflow-client-project")?;
    let server = Server::start(&binary, &project, &[])?;
    let script = root().join("examples/mlflow/track.py");
    let done = run(Command::new(python)
        .arg(script)
        .env("MLFLOW_TRACKING_URI", format!("http://{}", server.http))
        .env("PYTHONWARNINGS", "ignore")
        .env("MLFLOW_DISABLE_TELEMETRY", "true"));
    drop(server);
    done
}

fn folder() -> PathBuf {
    target().join("mlflow-client")
}
