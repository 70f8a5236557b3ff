use crate::golden_dsp::check_file;
use crate::tally::Tally;
use std::path::PathBuf;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn every_reference_output_is_met() {
    let data = std::env::var_os("TINYOPS_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(data.join("dsp-golden")) else {
        eprintln!(
            "skipped: no dsp-golden under {} (set TINYOPS_DATA)",
            data.display()
        );
        return;
    };
    let mut tally = Tally::default();
    for file in files {
        let path = file.expect("the folder can be listed").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            check_file(&path, &mut tally).expect("the file can be read");
        }
    }
    assert!(
        tally.checked > 250,
        "only {} operations found",
        tally.checked
    );
    assert!(
        tally.differences.is_empty(),
        "{}",
        tally.differences.join("\n")
    );
}
