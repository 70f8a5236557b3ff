//! Recordings of a repository that the stock DVC made, taken over, and shared through a bucket of another make that checks
//! every signature.

use std::process::Command;

use crate::peer;
use crate::server::target;
use crate::steps::{Answer, run};

/// DVC, and a server that answers as Amazon's does.
const PACKAGES: [&str; 2] = ["dvc>=3,<4", "moto[server]>=5,<6"];
const IMPORTS: &str = "dvc, moto.server, boto3";
const SCRIPT: &str = include_str!("taken_over.py");

/// Makes the repository, takes it over, pushes, pulls, repairs and erases.
pub(crate) fn check() -> Answer {
    peer::check_with("taken-over", &PACKAGES, IMPORTS, |python, binary| {
        run(Command::new(python)
            .args(["-c", SCRIPT])
            .arg(binary)
            .arg(target().join("taken-over/place")))
    })
}
