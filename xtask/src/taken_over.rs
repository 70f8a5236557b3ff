//! Recordings of a repository that the stock DVC made, taken over, and shared through a bucket of another make that checks
//! every signature.

use std::process::Command;

use crate::peer;
use crate::server::target;
use crate::steps::{Answer, run};

/// DVC, and a server that answers as Amazon's does.
const PACKAGES: [&str; 2] = ["dvc>=3,<4", "moto[server]>=5,<6"];
const IMPORTS: &str = "dvc, moto.server, boto3";
/// A DVC of before version 3, which has another measure of texts, and what it still runs with.
const OLD_PACKAGES: [&str; 3] = ["dvc>=2,<3", "pathspec<0.12", "dulwich<0.22"];
const OLD_IMPORTS: &str = "dvc; assert dvc.__version__.startswith('2.')";
const SCRIPT: &str = include_str!("taken_over.py");

/// Makes the repository, takes it over, pushes, pulls, repairs and erases.
pub(crate) fn check() -> Answer {
    peer::check_with("taken-over", &PACKAGES, IMPORTS, |python, binary| {
        let folder = target().join("taken-over");
        let old = peer::python(&folder.join("dvc-2"), &OLD_PACKAGES, OLD_IMPORTS);
        let old = old.inspect_err(|why| println!("skipped DVC 2: {why}")).ok();
        run(Command::new(python)
            .args(["-c", SCRIPT])
            .arg(binary)
            .arg(folder.join("place"))
            .args(old))
    })
}
