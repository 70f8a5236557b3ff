//! The page of doubted labels over a project in a folder: what is shown, who may decide, and what is written down.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::json;
use tempfile::TempDir;
use tinyops_fleet::Keyring;
use tinyops_pipeline::{Project, Workshop, labelling};
use tinyops_store::{Artifacts, Db, audit};
use tower::ServiceExt as _;

use crate::access::Door;
use crate::api::tests::NOW;
use crate::router;
use crate::serve::{Config, assemble};

const OWN: (&str, &str) = ("origin", "http://localhost:8420");

struct Desk {
    folder: TempDir,
    router: Router,
    db: Db,
}

impl Desk {
    /// Two recordings, each with a doubt.
    async fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, last) in [("calm/a.csv", 9), ("worn/<b>.csv", 4)] {
            let path = root.join("data").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("x\n1\n2\n3\n{last}\n");
            std::fs::write(path, text).unwrap();
        }
        let issue = |number: usize, recording: &str, label: &str, likely: &str, is_whole: bool| {
            json!({
                "issue": number, "recording": recording, "file": recording, "readings": [1, 3], "is_whole": is_whole,
                "windows": 2, "label": label, "likely": likely, "score": 0.04,
            })
        };
        let list = json!({
            "at_ms": NOW.0 - 60_000, "folds": 5, "windows": 40,
            "issues": [
                issue(1, "calm/a.csv", "calm", "worn", true),
                issue(2, "worn/<b>.csv", "worn", "calm", false),
            ],
        });
        std::fs::create_dir(root.join(".tinyops")).unwrap();
        std::fs::write(root.join(".tinyops/label-issues.json"), list.to_string()).unwrap();
        let project =
            "[[data.source]]\nroot = \"data\"\nfiles = [\"{label}/*.csv\"]\nrate_hz = 2\n";
        let workshop = Workshop {
            root: root.to_owned(),
            project: Project::parse(project, Path::new("tinyops.toml")).unwrap(),
            db: Db::open("sqlite::memory:").await.unwrap(),
            artifacts: Artifacts::open("memory:").await.unwrap(),
            now: Arc::new(|| NOW),
        };
        let door = Door {
            is_open_here: true,
            ..Door::default()
        };
        let db = workshop.db.clone();
        let config = Config::of(workshop, Keyring::from_seed(&[7; 32]));
        Desk {
            router: router(assemble(&config, door).0),
            folder,
            db,
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn say(&self, path: &str, form: &str, origin: (&str, &str)) -> u16 {
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "localhost:8420")
            .header(origin.0, origin.1);
        let request = request.body(Body::from(form.to_owned())).unwrap();
        self.send(request).await.0
    }

    async fn send(&self, request: Request<Body>) -> (u16, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.into()).unwrap())
    }

    fn history(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("labels.tsv")).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_person_looks_decides_and_takes_back() {
    let desk = Desk::new().await;
    let at = NOW.0 - 60_000;
    let (_, page) = desk.get("/labels").await;
    for words in [
        "calm/a.csv",
        "worn/&lt;b&gt;.csv",
        "readings 1 to 3",
        "It is worn",
        "calm is right",
        "0.04",
        "action=\"/labels/1\"",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let (status, picture) = desk.get(&format!("/labels/1/picture?at={at}")).await;
    assert!(
        status == 200 && picture.starts_with("<svg") && picture.contains(">9<"),
        "{picture}"
    );
    assert!(!picture.contains("class=\"mark\""));
    let (_, part) = desk.get(&format!("/labels/2/picture?at={at}")).await;
    assert!(part.contains("class=\"mark\" x=\"160\""), "{part}");
    // Of a list that another look has replaced, there is none: the number is another recording's by now.
    let (old, _) = desk.get(&format!("/labels/1/picture?at={}", at - 1)).await;
    let (none, _) = desk.get(&format!("/labels/9/picture?at={at}")).await;
    let (unsaid, _) = desk.get("/labels/1/picture").await;
    assert_eq!((old, none, unsaid), (404, 404, 400));

    let form = |say: &str, more: &str| format!("word=&at={at}&say={say}{more}");
    let accept = form("accept", "&why=bearing+%3Cwas%3E+new");
    assert_eq!(desk.say("/labels/1", &accept, OWN).await, 303);
    let history = desk.history();
    assert!(
        history.contains("\tlocal\tset\tcalm/a.csv\tworn\tbearing <was> new\n"),
        "{history}"
    );
    let (_, page) = desk.get("/labels").await;
    assert!(page.contains("bearing &lt;was&gt; new") && !page.contains("calm is right"));
    assert_eq!(
        desk.say("/labels/1", &form("reject", ""), OWN).await,
        409,
        "decided before"
    );
    assert_eq!(desk.say("/labels/2", &form("reject", ""), OWN).await, 303);
    assert!(desk.history().contains("\tkeep\tworn/<b>.csv\tworn\t\n"));
    assert!(
        desk.get("/labels")
            .await
            .1
            .contains("All of them are decided")
    );

    let standing = labelling::standing(desk.folder.path()).unwrap().unwrap();
    let entry = &standing.decided[0].entry;
    let number = standing.decided[0].issue.issue;
    let path = format!("/labels/{number}");
    assert_eq!(
        desk.say(&path, &form("undo", "&entry=00000000"), OWN).await,
        409
    );
    assert_eq!(
        desk.say(&path, &form("undo", &format!("&entry={entry}")), OWN)
            .await,
        303
    );
    assert_eq!(desk.history().lines().count(), 4);
    let audited = audit::list(&desk.db, 9).await.unwrap();
    let audited: Vec<_> = audited
        .iter()
        .map(|entry| (entry.actor.as_str(), entry.action.as_str()))
        .collect();
    assert_eq!(
        audited,
        [
            ("local", "label.undo"),
            ("local", "label.keep"),
            ("local", "label.set")
        ],
        "what was refused is not there"
    );
    assert!(
        desk.get("/labels")
            .await
            .1
            .contains(&format!("action=\"{path}\""))
    );
}

#[tokio::test]
async fn what_is_not_ours_or_out_of_date_changes_nothing() {
    let desk = Desk::new().await;
    let at = NOW.0 - 60_000;
    let long = format!("word=&at={at}&say=accept&why={}", "x".repeat(501));
    let evil = ("origin", "http://evil.example");
    let accept = format!("word=&at={at}&say=accept");
    for (path, form, origin, status) in [
        ("/labels/1", accept.as_str(), evil, 303),
        ("/labels/1", &accept.replace("word=", "word=x"), OWN, 403),
        ("/labels/1", &accept.replace("accept", "delete"), OWN, 409),
        ("/labels/1", &accept.replace(&at.to_string(), "7"), OWN, 409),
        ("/labels/9", &accept, OWN, 404),
        ("/labels/1", &long, OWN, 409),
        ("/labels/1", "word=", OWN, 422),
        ("/labels/x", &accept, OWN, 400),
        ("/labels", "word=x", OWN, 403),
        ("/labels", "word=", evil, 303),
    ] {
        assert_eq!(desk.say(path, form, origin).await, status, "{path} {form}");
    }
    assert_eq!(desk.history(), "");
    std::fs::write(desk.folder.path().join("labels.tsv"), "nonsense").unwrap();
    // That is nobody's fault who asks.
    assert_eq!(desk.say("/labels/1", &accept, OWN).await, 500);
    assert_eq!(desk.get("/labels").await.0, 500);
    assert_eq!(desk.history(), "nonsense");
}

#[tokio::test]
async fn a_look_that_cannot_be_had_says_why() {
    let desk = Desk::new().await;
    assert_eq!(desk.say("/labels", "word=", OWN).await, 303);
    // Two recordings are too few to leave one out in five turns.
    for _ in 0..600 {
        let page = desk.get("/labels").await.1;
        if page.contains("at least 5 are needed") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{}", desk.get("/labels").await.1);
}
