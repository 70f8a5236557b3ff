//! An answer of another tracking server, as `tinyops import mlflow` reads it: every record is read or told as unread.
#![no_main]
use libfuzzer_sys::fuzz_target;

use serde_json::Value;
use tinyops_store::tracking::experiment::ExperimentId;

// The module alone, as it stands in `tinyops-pipeline`: that crate would bring training and its tensor library along,
// which take longer to build under sanitizers than all targets together.
#[path = "../../crates/tinyops-pipeline/src/tracking/foreign.rs"]
mod foreign;

/// What the module reads of its neighbour.
mod run {
    pub(super) const CONTEXT_TAG: &str = "mlflow.data.context";
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, text)) = bytes.split_first() else {
        return;
    };
    let Ok(document) = serde_json::from_slice::<Value>(text) else {
        return;
    };
    let here = ExperimentId(1);
    match kind {
        b'e' => check(&document, "experiments", &foreign::experiments(&document)),
        b'r' => check(&document, "runs", &foreign::runs(&document, here)),
        b'l' => check(
            &document,
            "models",
            &foreign::logged_models(&document, here),
        ),
        b'n' => check(&document, "registered_models", &foreign::names(&document)),
        b'v' => {
            let listed = foreign::versions(&document);
            check(&document, "model_versions", &listed);
            assert!(listed.items.iter().all(|version| version.version > 0));
        }
        b'h' => {
            let _ = foreign::history(&document, "24f0");
        }
        _ => {
            let files = foreign::files(&document).unwrap_or_default();
            assert!(files.iter().all(|file| !file.path.is_empty()));
        }
    }
});

fn check<T>(document: &Value, field: &str, listed: &foreign::Listed<T>) {
    let count = document[field].as_array().map_or(0, Vec::len);
    assert_eq!(listed.items.len() + listed.unread.len(), count);
    assert_ne!(listed.next.as_deref(), Some(""));
}
