//! Pictures of the pages, taken in a real browser.

use crate::steps::{Answer, root};
use std::fs;
use std::process::{Command, Stdio};

/// The pages, the height of their picture in pixels, and the file that each goes to.
const PAGES: [(&str, u32, &str); 7] = [
    ("/", 1080, "overview"),
    ("/drift", 1250, "drift"),
    ("/runs", 640, "runs"),
    ("/models", 460, "models"),
    ("/devices", 900, "devices"),
    ("/rollouts", 560, "rollouts"),
    ("/runs/1", 1560, "run"),
];
/// Wide enough for the pages' widest layout.
const WIDTH: u32 = 1360;

/// Takes every page of the server at `url` into `docs/images/`, in the light scheme and the overview in the dark one.
pub(crate) fn screenshots(url: &str) -> Answer {
    let browser = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ]
    .into_iter()
    .find(|path| fs::exists(path).unwrap_or(false))
    .ok_or("needs Chromium: apt-get install chromium")?;
    let url = url.trim_end_matches('/');
    let folder = root().join("docs/images");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (path, height, name) in PAGES {
        let picture = folder.join(format!("{name}.png"));
        take(browser, &format!("{url}{path}"), height, &picture, false)?;
    }
    take(
        browser,
        url,
        PAGES[0].1,
        &folder.join("overview-dark.png"),
        true,
    )
}

fn take(browser: &str, url: &str, height: u32, picture: &std::path::Path, dark: bool) -> Answer {
    let profile = std::env::temp_dir().join(format!("tinyops-screenshots-{}", std::process::id()));
    // The browser ends well without a server, too: only a picture that was not there before tells.
    let taken = profile.with_extension("png");
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg("--hide-scrollbars")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={WIDTH},{height}"))
        .arg(format!("--screenshot={}", taken.display()));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    let status = command
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    drop(fs::remove_dir_all(&profile)); // A leftover profile in the temporary folder does no harm.
    match status {
        Ok(status) if status.success() && taken.is_file() => {
            fs::copy(&taken, picture).map_err(|error| format!("{}: {error}", picture.display()))?;
            drop(fs::remove_file(&taken));
            println!("{}", picture.display());
            Ok(())
        }
        Ok(status) => Err(format!(
            "no picture of {url}: the browser ended with {status}; does the server run?"
        )),
        Err(error) => Err(format!("cannot start {browser}: {error}")),
    }
}
