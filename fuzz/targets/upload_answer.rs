//! A leader's answer to an upload: any status, any media type, any body. One fate for each report, or a reason that a
//! terminal can show.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_fleet::dap::{Fate, PROBLEM_TYPE, Problem, ReportId, UPLOAD_ERRORS_TYPE, read_upload};

const TYPES: [Option<&str>; 4] = [
    None,
    Some(UPLOAD_ERRORS_TYPE),
    Some(PROBLEM_TYPE),
    Some("text/html"),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[pick, high, low], body)) = bytes.split_first_chunk() else {
        return;
    };
    let kind = TYPES[usize::from(pick & 3)];
    // Seeds spell reports' ids with letters, so that mutations meet them.
    let ids: Vec<ReportId> = (0..pick >> 2 & 7)
        .map(|id| ReportId([b'a' + id; 16]))
        .collect();
    let status = u16::from(high) << 8 | u16::from(low);
    match read_upload((status, kind, body), &ids) {
        Ok(fates) => {
            assert_eq!(fates.len(), ids.len());
            let told = fates.iter().filter(|fate| **fate != Fate::Stored).count();
            assert_eq!(told * 17, body.len());
        }
        Err(problem) => {
            let said = problem.to_string();
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }
    let problem = Problem::read(body).to_string();
    assert!(problem.chars().count() <= 3 * 240 + 4, "{problem}");
});
