//! A model that is handed on, checked by those who get it: the stock `model_signing` on our signature and the other way
//! round, and CycloneDX's own schema on our bill of materials.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::mlflow::trained_project;
use crate::peer;
use crate::steps::{Answer, run};

/// The signer of OpenSSF Model Signing, what its command forgets to ask for, and CycloneDX with its schema.
const PACKAGES: [&str; 3] = [
    "model-signing>=1.1,<2",
    "pyOpenSSL",
    "cyclonedx-python-lib[json-validation]>=9,<12",
];
const IMPORTS: &str = "model_signing, OpenSSL, cyclonedx.validation.json, jsonschema";

/// Prints what is wrong with a bill of materials, and ends with 1 if anything is.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
print(wrong or 'a bill of materials by the schema of CycloneDX 1.6')
sys.exit(1 if wrong else 0)
";

/// Exports a version and has it checked.
pub(crate) fn check() -> Answer {
    peer::check_with("handed-on", &PACKAGES, IMPORTS, exported)
}

fn exported(python: &Path, binary: &Path) -> Answer {
    let project = trained_project(binary, "handed-on-project")?;
    let own = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.arg("--quiet").arg("--project").arg(&project);
        command.args(arguments);
        command
    };
    let folder = project.join("fan-1");
    run(own(&["models", "export", "fan@1", "--folder"]).arg(&folder))?;
    let public = project.join(".tinyops/model-signing.pub");
    let stock = |verb: &[&str], folder: &Path, signature: &Path| {
        let mut command = Command::new(python);
        command
            .args(["-m", "model_signing"])
            .args(verb)
            .arg(folder)
            .arg("--signature")
            .arg(signature);
        command
    };
    let signature = folder.join("model.sig");
    run(stock(&["verify", "key"], &folder, &signature)
        .arg("--public_key")
        .arg(&public))?;
    run(Command::new(python)
        .args(["-c", VALIDATE])
        .arg(folder.join("bom.cdx.json")))?;
    // What the stock tool signs is believed here.
    let theirs = project.join("theirs.sig");
    let private = project.join(".tinyops/model-signing.key");
    fs::remove_file(&signature).map_err(|error| error.to_string())?;
    run(stock(&["sign", "key"], &folder, &theirs)
        .arg("--private_key")
        .arg(&private))?;
    let verify = || {
        let mut command = own(&["models", "verify"]);
        command.arg(&folder).arg("--signature").arg(&theirs);
        command
    };
    run(&mut verify())?;
    // One changed byte is seen by both.
    let card = folder.join("MODEL_CARD.md");
    let mut text = fs::read(&card).map_err(|error| error.to_string())?;
    text.push(b'!');
    fs::write(&card, text).map_err(|error| error.to_string())?;
    let mut checks = [verify(), {
        let mut command = stock(&["verify", "key"], &folder, &theirs);
        command.arg("--public_key").arg(&public);
        command
    }];
    for check in &mut checks {
        let status = check.stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.map_err(|error| error.to_string())?.code() {
            Some(1) => {}
            other => {
                return Err(format!(
                    "a changed file ends {check:?} with {other:?}, not with 1"
                ));
            }
        }
    }
    Ok(())
}
