//! The ingestion service without a socket: every file of three public sets, signatures, and what is turned away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tinyops_fleet::Keyring;
use tinyops_fleet::enrol::Entropy;
use tinyops_pipeline::{Project, Shelf, Workshop};
use tinyops_store::access::Role as Access;
use tinyops_store::{Artifacts, Db, Digest, upload};
use tower::ServiceExt as _;

use crate::access::Door;
use crate::api::tests::NOW;
use crate::serve::{Config, assemble};
use crate::{App, router};

const PLAIN: &str =
    "[data.window]\nlen = 20\n[[data.source]]\nroot = \"uploads\"\nuploads = true\n";
const SIGNED: &str =
    "[[data.source]]\nroot = \"uploads\"\nuploads = true\nhmac_key_file = \".hmac.key\"\n";
const ADMIN: &str = "0123456789abcdef0123456789abcdef";
/// `{"protected":…}` with two readings of one sensor.
const MESSAGE: &str = r#"{"protected":{"ver":"v1","alg":"none","exp":0},"signature":"00","payload":{"device_name":"ac:87","device_type":"DISCO","interval_ms":10,"sensors":[{"name":"accX","units":"m/s2"}],"values":[1.5,2]}}"#;

/// A project in a folder of its own, and a server on it.
struct Site {
    folder: TempDir,
    app: App,
    router: Router,
}

impl Site {
    async fn new(project: &str, admin: Option<&str>) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Workshop {
            root: folder.path().to_owned(),
            project: Project::parse(project, Path::new("tinyops.toml")).unwrap(),
            db: Db::open("sqlite::memory:").await.unwrap(),
            artifacts: Artifacts::open("memory:").await.unwrap(),
            now: Arc::new(|| NOW),
        };
        let door = Door {
            is_open_here: admin.is_none(),
            admin: admin.map(|token| Digest::of(token.as_bytes())),
            is_tls: false,
        };
        let config = Config::of(workshop, Keyring::from_seed(&[7; 32]));
        let app = assemble(&config, door).0;
        Site {
            router: router(app.clone()),
            folder,
            app,
        }
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
        let mut request = Request::builder().method("POST").uri(path);
        request = request.header(header::HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.into()).unwrap())
    }

    /// One message as the body.
    async fn data(&self, name: &str, more: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let mut headers = vec![("x-file-name", name), ("content-type", "application/json")];
        headers.extend(more);
        self.send("/api/training/data", &headers, body.to_vec())
            .await
    }

    /// Some files as a form.
    async fn files(&self, category: &str, files: &[(&str, &[u8])]) -> (u16, Value) {
        let kind = ("content-type", "multipart/form-data; boundary=xXx");
        let path = format!("/api/{category}/files");
        let (status, text) = self.send(&path, &[kind], form(files)).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    fn project(&self) -> &str {
        &self.app.workshop().project.project.name
    }

    fn kept(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("uploads").join(path)).unwrap()
    }

    /// The names of everything that lies in the folder, hidden files too.
    fn names(&self) -> Vec<String> {
        fn below(folder: &Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => below(&path, names),
                    false => names.push(path.to_string_lossy().into_owned()),
                }
            }
        }
        let mut names = Vec::new();
        below(self.folder.path(), &mut names);
        let root = format!("{}/", self.folder.path().display());
        let mut names: Vec<String> = names.iter().map(|name| name.replace(&root, "")).collect();
        names.sort();
        names
    }
}

fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--xXx\r\nContent-Disposition: form-data; name=\"data\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.as_bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--xXx--\r\n");
    body
}

fn error_of(answer: &(u16, String)) -> String {
    let problem: Value = serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(problem["success"], false, "{answer:?}");
    problem["error"].as_str().unwrap().to_owned()
}

#[track_caller]
fn check_refused(answer: &(u16, String), status: u16, word: &str) {
    let error = error_of(answer);
    assert!(answer.0 == status && error.contains(word), "{answer:?}");
    for word in ["/tmp", "SELECT", "panicked"] {
        assert!(!error.contains(word), "{error}");
    }
}

/// The files of a set, by name; none where it is not there.
fn set(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = std::env::var("TINYOPS_DATA").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|kind| kind == "json" || kind == "cbor")
        {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn key() -> Option<Vec<u8>> {
    let root = std::env::var("TINYOPS_DATA").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    std::fs::read(root.join("ei-gestures/resigned/HMAC_KEY.txt")).ok()
}

/// A project whose samples are signed with the key of the public set.
async fn signed_site(key: &[u8]) -> Site {
    let site = Site::new(SIGNED, None).await;
    std::fs::create_dir(site.folder.path().join("uploads")).unwrap();
    std::fs::write(site.folder.path().join("uploads/.hmac.key"), key).unwrap();
    site
}

#[tokio::test]
async fn every_file_of_the_public_sets_comes_in_and_is_a_recording() {
    for folder in [
        "ei-gestures/training",
        "ei-gestures/resigned",
        "ei-arm-activities/training",
        "ei-motionsense-esp/training",
    ] {
        let files = set(folder);
        let site = Site::new(PLAIN, None).await;
        // One by one, and as forms of many.
        let (some, others) = files.split_at(files.len() / 3);
        for (name, bytes) in some {
            let answer = site.data(name, &[], bytes).await;
            assert_eq!(answer, (200, name.clone()));
        }
        for batch in others.chunks(50) {
            let batch: Vec<(&str, &[u8])> = batch
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
                .collect();
            let (status, kept) = site.files("testing", &batch).await;
            assert!(status == 200 && kept["success"] == true, "{kept}");
            assert_eq!(kept["files"].as_array().unwrap().len(), batch.len());
        }
        let uploads = upload::list(site.app.db(), site.project(), 1000)
            .await
            .unwrap();
        assert_eq!(uploads.len(), files.len());
        for upload in &uploads {
            let name = upload.new.path.rsplit('/').next().unwrap();
            let (_, sent) = files.iter().find(|(sent, _)| sent == name).unwrap();
            assert_eq!(site.kept(&upload.new.path), *sent, "the bytes that came");
            assert_eq!(upload.new.digest, Digest::of(sent));
            assert!(upload.new.device.is_some() && !upload.new.is_signed);
        }
        // What a run will read.
        let project = Project::parse(PLAIN, Path::new("tinyops.toml")).unwrap();
        let shelf = Shelf::list(site.folder.path(), &project.data).unwrap();
        let (dataset, report) = shelf.decoded();
        assert!(!report.has_errors(), "{report}");
        assert_eq!(dataset.samples.len(), files.len());
        let testing = dataset
            .samples
            .iter()
            .filter(|sample| sample.role.is_some());
        assert_eq!(testing.count(), others.len());
        for sample in &dataset.samples {
            let name = sample.name.rsplit('/').next().unwrap();
            let label = name.split('.').next().unwrap();
            assert_eq!(
                sample.label.classes().next(),
                Some(label),
                "{}",
                sample.name
            );
        }
    }
}

#[tokio::test]
async fn signed_messages_are_verified_over_their_very_bytes() {
    let Some(key) = key() else {
        return;
    };
    let site = signed_site(&key).await;
    for (name, bytes) in set("ei-gestures/resigned") {
        let answer = site.data(&name, &[], &bytes).await;
        if name.contains("alg-none") {
            check_refused(&answer, 400, "signed with `none`");
            continue;
        }
        assert_eq!(answer, (200, name.clone()));
        // Any bit of any part: the readings, the head, the signature itself.
        for place in [60, bytes.len() / 2, bytes.len() - 20] {
            for bit in [0x01, 0x40] {
                let mut flipped = bytes.clone();
                flipped[place] ^= bit;
                let answer = site.data("flipped", &[], &flipped).await;
                assert_eq!(answer.0, 400, "{name}, byte {place}");
            }
        }
        let text = b"\"signature\"";
        let found = bytes.windows(11).rposition(|window| window == text);
        if let Some(place) = found {
            let mut flipped = bytes.clone();
            flipped[place + 20] ^= 1;
            check_refused(&site.data("flipped", &[], &flipped).await, 400, "signature");
        }
    }
    let uploads = upload::list(site.app.db(), site.project(), 100)
        .await
        .unwrap();
    assert!(uploads.len() == 24 && uploads.iter().all(|upload| upload.new.is_signed));
    assert!(!site.names().iter().any(|name| name.contains("flipped")));
    // One whose key is elsewhere refuses what it cannot check, and says no path of this machine.
    let lost = Site::new(SIGNED, None).await;
    let (name, bytes) = set("ei-gestures/resigned").remove(0);
    check_refused(&lost.data(&name, &[], &bytes).await, 400, ".hmac.key");
}

#[tokio::test]
async fn headers_say_label_name_metadata_and_what_to_do_with_duplicates() {
    let site = Site::new(PLAIN, None).await;
    let of = async |name: &str, more: &[(&str, &str)]| {
        let answer = site.data(name, more, MESSAGE.as_bytes()).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        let uploads = upload::list(site.app.db(), site.project(), 1)
            .await
            .unwrap();
        (answer.1, uploads[0].new.path.clone())
    };
    let kept = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    assert_eq!(
        of("idle.01", &[]).await,
        kept("idle.01.json", "training/idle/ac:87/idle.01.json")
    );
    assert_eq!(
        of("m%C3%BCde.1", &[("x-label", "hand%20up")]).await,
        kept("müde.1.json", "training/hand up/ac:87/müde.1.json")
    );
    assert_eq!(
        of("idle.01", &[("x-no-label", "1")]).await,
        kept("idle.01.json", "training/_/ac:87/idle.01.json")
    );
    assert_eq!(
        of("idle", &[("x-add-date-id", "1")]).await.0,
        "idle.20261122T191409000.json"
    );
    let about = [("x-metadata", r#"{"site":"north","take":3}"#)];
    let _ = of("idle.02", &about).await;
    let newest = upload::list(site.app.db(), site.project(), 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(newest.new.metadata, json!({ "site": "north", "take": "3" }));
    let project = Project::parse(PLAIN, Path::new("tinyops.toml")).unwrap();
    let shelf = Shelf::list(site.folder.path(), &project.data).unwrap();
    let samples = &shelf.decoded().0.samples;
    let told = samples
        .iter()
        .find(|sample| sample.name.ends_with("idle.02.json"));
    assert_eq!(told.unwrap().metadata["site"], "north");
    assert_eq!(
        (
            newest.new.device.as_deref(),
            newest.new.device_type.as_deref()
        ),
        (Some("ac:87"), Some("DISCO"))
    );

    // The same name again: the same bytes are one recording, others another.
    let count = async || {
        upload::list(site.app.db(), site.project(), 100)
            .await
            .unwrap()
            .len()
    };
    let before = count().await;
    let again = site.data("idle.01", &[], MESSAGE.as_bytes()).await;
    assert_eq!(again, (200, "idle.01.json".to_owned()));
    assert_eq!(count().await, before);
    let other = MESSAGE.replace("1.5", "2.5");
    let (status, name) = site.data("idle.01", &[], other.as_bytes()).await;
    assert!(
        status == 200 && name.starts_with("idle.01.") && name.len() == 21,
        "{name}"
    );
    for word in ["1", "true"] {
        let strict = [("x-disallow-duplicates", word)];
        let twice = site.data("another", &strict, MESSAGE.as_bytes()).await;
        check_refused(&twice, 409, "An item with this hash already exists");
    }
    assert!(!site.names().iter().any(|name| name.contains("another")));

    let devices = upload::devices(site.app.db(), site.project())
        .await
        .unwrap();
    assert_eq!((devices.len(), devices[0].device.as_str()), (1, "ac:87"));
    let form = form(&[("up.7", MESSAGE.as_bytes())]);
    let kind = ("content-type", "multipart/form-data; boundary=xXx");
    let answer = site.send("/api/anomaly/data", &[kind], form).await;
    assert_eq!(answer, (200, "up.7.json".to_owned()));
}

#[tokio::test]
async fn what_is_no_recording_is_turned_away_and_leaves_nothing() {
    let site = Site::new(PLAIN, None).await;
    let values = "\"values\":[1.5,2]";
    let wrong = |with: &str| MESSAGE.replace(values, with);
    let bodies = [
        (String::new(), "empty"),
        ("{".to_owned(), "not a sample"),
        ("[1]".to_owned(), "neither its name nor its bytes"),
        ("\u{a1}".to_owned(), "neither"),
        ("{\"payload\":{".repeat(1000), "not a sample"),
        (wrong("\"values\":\"x\""), "not a sample"),
        (wrong("\"values\":[null]"), "not a number"),
        (wrong("\"values\":[[1,2]]"), "1 sensors"),
        (wrong("\"values\":[]"), "no values"),
        (MESSAGE.replace("10,", "0,"), "no rate"),
        (MESSAGE.replace("ac:87", "../../etc"), "device_name"),
    ];
    for (body, word) in &bodies {
        check_refused(&site.data("a", &[], body.as_bytes()).await, 400, word);
    }
    check_refused(
        &site.data("a", &[], b"\xa1\x67payload").await,
        400,
        "truncated",
    );
    check_refused(
        &site.data("a.wav", &[], b"RIFF\xff\xff\xff\xff").await,
        400,
        "a.wav",
    );
    let long = "l".repeat(200);
    for label in [
        "../up",
        "a/b",
        ".up",
        "a\\b",
        "{x}",
        "%00",
        "_",
        long.as_str(),
    ] {
        let answer = site
            .data("a", &[("x-label", label)], MESSAGE.as_bytes())
            .await;
        assert_eq!(answer.0, 400, "{label}: {answer:?}");
        let _ = error_of(&answer);
    }
    for (name, value, word) in [
        ("x-metadata", "[1]", "no JSON object"),
        ("x-metadata", "{\"a\":{}}", "no text"),
        ("x-no-label", "perhaps", "x-no-label"),
    ] {
        let answer = site.data("a", &[(name, value)], MESSAGE.as_bytes()).await;
        check_refused(&answer, 400, word);
    }
    let unnamed = site.send("/api/training/data", &[], MESSAGE.into()).await;
    check_refused(&unnamed, 422, "x-file-name");
    let kind = ("content-type", "multipart/form-data; boundary=xXx");
    let none = site.send("/api/testing/files", &[kind], form(&[])).await;
    check_refused(&none, 400, "`data`");
    let plain = site.send("/api/testing/files", &[], MESSAGE.into()).await;
    assert_eq!(plain.0, 400, "{plain:?}");
    let cut = form(&[("a", MESSAGE.as_bytes())]);
    let cut = site
        .send("/api/testing/files", &[kind], cut[..200].to_vec())
        .await;
    assert_eq!(cut.0, 400, "{cut:?}");
    for path in [
        "/api/validation/data",
        "/api/training",
        "/api/training/data/x",
    ] {
        assert_eq!(site.send(path, &[], MESSAGE.into()).await.0, 404, "{path}");
    }
    assert_eq!(site.names(), Vec::<String>::new());
    assert!(
        upload::list(site.app.db(), site.project(), 9)
            .await
            .unwrap()
            .is_empty()
    );

    // One of several: the others come in, and each is told of.
    let files: [(&str, &[u8]); 3] = [
        ("up.1", MESSAGE.as_bytes()),
        ("up.2.json", b"{"),
        ("../up.3", MESSAGE.as_bytes()),
    ];
    let (status, kept) = site.files("training", &files).await;
    assert!(status == 200 && kept["success"] == false, "{kept}");
    let of = |index: usize| {
        (
            &kept["files"][index]["success"],
            &kept["files"][index]["fileName"],
        )
    };
    assert_eq!(of(0), (&json!(true), &json!("up.1.json")));
    assert_eq!(of(1), (&json!(false), &json!("up.2.json")));
    assert_eq!(of(2), (&json!(true), &json!("up.3.json")));
    assert_eq!(kept["files"][0]["projectId"], 1);
    assert!(kept["files"][0]["sampleId"].is_i64() && kept["files"][1]["error"].is_string());
    assert_eq!(site.files("training", &files[1..2]).await.0, 400);
}

#[tokio::test]
async fn a_recording_that_is_too_long_is_not_kept() {
    let site = Site::new(PLAIN, None).await;
    let long = vec![b'1'; (tinyops_pipeline::upload::BYTES_MAX + 1) as usize];
    check_refused(&site.data("a.csv", &[], &long).await, 413, "128 MiB");
    assert_eq!(site.names(), Vec::<String>::new());
}

#[tokio::test]
async fn only_who_may_sends_recordings() {
    let site = Site::new(PLAIN, Some(ADMIN)).await;
    let body = MESSAGE.as_bytes();
    check_refused(&site.data("a", &[], body).await, 401, "x-api-key");
    check_refused(
        &site.data("a", &[("x-api-key", "ei_1")], body).await,
        401,
        "Invalid API key",
    );
    check_refused(
        &site.data("a", &[("x-api-key", "a.b")], body).await,
        401,
        "Invalid API key",
    );
    for (number, role) in Access::ALL.iter().enumerate() {
        let entropy = Entropy([number as u8; 40]);
        let fleet = site.app.fleet();
        let made = fleet.make_access_token(role.word(), *role, None, entropy, "test", NOW);
        let token = made.await.unwrap().1;
        let answer = site.data(role.word(), &[("x-api-key", &token)], body).await;
        match role {
            Access::Viewer => check_refused(&answer, 403, "may not"),
            _ => assert_eq!(answer.0, 200, "{answer:?}"),
        }
    }
    let newest = upload::list(site.app.db(), site.project(), 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(newest.new.actor, "recorder");
    let nothing = Site::new("[[data.source]]\nfiles = [\"*.csv\"]\n", None).await;
    check_refused(&nothing.data("a", &[], body).await, 409, "uploads = true");
    let classes = format!("[data]\nclasses = [\"idle\"]\n{PLAIN}");
    let classes = Site::new(&classes, None).await;
    check_refused(
        &classes.data("up.1", &[], body).await,
        400,
        "none of the project's classes",
    );
    assert_eq!(classes.data("idle.1", &[], body).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_recording_is_there_before_it() {
    let site = Site::new(PLAIN, None).await;
    let folder = site.folder.path().join("uploads/training/up/ac:87");
    let count = 40;
    // Whoever looks in between, as a run may, or what is left by a crash.
    let watching = std::thread::spawn(move || {
        for number in 0..count {
            while !folder.join(format!("up.{number}.json")).exists() {
                std::thread::yield_now();
            }
            let beside = folder.join(format!(".up.{number}.json.metadata.json"));
            assert!(beside.exists(), "recording {number} was there alone");
        }
    });
    for number in 0..count {
        let told = [("x-metadata", r#"{"site":"north"}"#)];
        let name = format!("up.{number}");
        let answer = site.data(&name, &told, MESSAGE.as_bytes()).await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    watching.join().unwrap();
}
