//! Likely wrong labels: every figure of cleanlab's reference, and the processor time of its filters beside cleanlab's.

use crate::figure::Row;
use crate::golden_labels::{check_folder, issues_of};
use crate::peer;
use crate::processor::own_seconds;
use crate::server::target;
use crate::steps::{data, root};
use crate::tally::Tally;
use std::process::Command;

/// From PyPI; the references are of this version.
const CLEANLAB: &str = "cleanlab==2.9.0";
const GOLDEN: &str = "labels-golden";
/// How often ours is repeated: the system counts processor time in hundredths of a second.
const TIMES: u32 = 100;

/// Holds what we find against what cleanlab found, and times both.
pub(super) fn labels() -> Result<Vec<Row>, String> {
    const NAME: &str = "likely wrong labels: figures that differ from cleanlab's";
    let folder = data(GOLDEN);
    if !folder.is_dir() {
        let why = format!("{} is not there; set TINYOPS_DATA", folder.display());
        return Ok(vec![Row::skipped(NAME, &why)]);
    }
    let mut tally = Tally::default();
    check_folder(&folder, &mut tally)?;
    let find = issues_of(&folder)?;
    let begun = own_seconds()?;
    for _ in 0..TIMES {
        std::hint::black_box(find());
    }
    let seconds = (own_seconds()? - begun) / f64::from(TIMES);
    let peer = of_cleanlab().map_or_else(
        |why| format!("cleanlab skipped: {why}"),
        |seconds| format!("cleanlab {seconds:.3} CPU-s"),
    );
    Ok(vec![Row {
        name: NAME,
        goal: "0".to_owned(),
        own: format!(
            "{} of {}; all filters {seconds:.4} CPU-s",
            tally.differences.len(),
            tally.checked
        ),
        peer,
        holds: tally.differences.is_empty() && tally.checked > 0,
    }])
}

/// Processor time of the same filters on the same labels.
fn of_cleanlab() -> Result<f64, String> {
    let folder = target().join("bench-manage/cleanlab");
    let python = peer::python(&folder, &[CLEANLAB], "cleanlab")?;
    let output = Command::new(python)
        .arg(root().join("xtask/peers/label_issues.py"))
        .arg(data(GOLDEN))
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.lines().last().and_then(|line| line.parse().ok());
    seconds.ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        why.lines().last().unwrap_or("it told no time").to_owned()
    })
}
