//! A full disk: said to be full, and the file that was there before stays whole.

use std::{fs, process::Command};

use crate::workplace::Workplace;

#[test]
fn a_plan_that_does_not_fit_the_disk_leaves_the_old_one() {
    let place = Workplace::empty();
    let network = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../testdata/golden/tflite/depthwise_multiplier.tflite"
    );
    // A file system of 16 pages, 15 of them taken; the plan needs one, its model more than that.
    let script = "mount -t tmpfs -o size=64k tinyops \"$1\" || exit 77
        echo old > \"$1/net.model\"; head -c 61440 /dev/zero > \"$1/ballast\" 2> \"$1/../log\"
        \"$2\" import \"$3\" --out \"$1/net.model\"; code=$?
        echo \"left: $(cat \"$1/net.model\"), $(ls -A \"$1\" | tr '\\n' ' ')\"; exit $code";
    fs::create_dir(place.path("disk")).expect("the folder is ours");
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(place.path("disk"))
        .args([env!("CARGO_BIN_EXE_tinyops"), network])
        .output();
    let ran = match ran {
        Ok(ran) if ran.status.code() == Some(3) => ran,
        Ok(ran)
            if ran.status.code() != Some(77)
                && !ran.status.success()
                && !is_denied(&ran.stderr) =>
        {
            panic!("{ran:?}")
        }
        other => {
            #[expect(clippy::print_stderr, reason = "a skipped test must show")]
            {
                eprintln!(
                    "full disk skipped: a small file system cannot be mounted here ({other:?})"
                );
            }
            return;
        }
    };
    let (told, left) = (
        String::from_utf8_lossy(&ran.stderr),
        String::from_utf8_lossy(&ran.stdout),
    );
    assert!(told.contains("No space left on device"), "{told}");
    assert!(left.contains("left: old, ballast net.model "), "{left}");
}

/// Whether it was `unshare` that was refused.
fn is_denied(told: &[u8]) -> bool {
    String::from_utf8_lossy(told).contains("unshare")
}
