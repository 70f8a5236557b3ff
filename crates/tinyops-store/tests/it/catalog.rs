//! The catalog: the same hits in the same order over every engine, whatever is typed.

use tinyops_store::catalog::{Hit, Kind, Search, Term, search};
use tinyops_store::dataset::{self, Dataset};
use tinyops_store::device::{self, Device, DeviceState};
use tinyops_store::model::{self, NewModel};
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::experiment;
use tinyops_store::tracking::metric::{self, Point, Sample};
use tinyops_store::tracking::registry::{self, NewVersion};
use tinyops_store::tracking::run::{self, NewTrackedRun, Status};
use tinyops_store::tracking::search::Comparison;
use tinyops_store::{Db, DeviceId, DeviceKey, Digest, Timestamp};

use crate::backend::on_every_backend;

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + 1000 * seconds)
}

fn pair(key: &str, value: &str) -> Pair {
    Pair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Two datasets, a model of a pipeline and one handed in, three runs of two people, three devices.
async fn fill(db: &Db) {
    let tx = db.begin("fill").await.unwrap();
    for (number, project, class) in [(1, "fan", "worn"), (2, "pump", "dry")] {
        let row = Dataset {
            digest: Digest([number; 32]),
            project: project.to_owned(),
            sample_count: 10,
            detail: serde_json::json!({
                "classes": ["calm", class], "groups": ["hall-1"], "pointers": [{ "path": "rec" }],
            }),
            created_at: at(i64::from(number)),
        };
        dataset::put(&tx, &row).await.unwrap();
    }
    let sound = experiment::add(&tx, "sound", "", at(3)).await.unwrap();
    for (number, (user, accuracy)) in [("ana", 0.8), ("ben", 0.95), ("ana", 0.97)]
        .into_iter()
        .enumerate()
    {
        let new = NewTrackedRun {
            id: format!("r{number}"),
            experiment: sound.id,
            name: format!("fan {number} 50%_off"),
            user: user.to_owned(),
            status: Status::Finished,
            started_at: at(10 + number as i64),
        };
        let made = run::add(&tx, &new).await.unwrap();
        let site = if number == 0 { "hall 1" } else { "hall 2" };
        run::tag(&tx, made.row, &[pair("site", site)])
            .await
            .unwrap();
        let point = Point {
            at: 1,
            step: 0,
            value: accuracy,
        };
        let sample = Sample {
            key: "accuracy".to_owned(),
            point,
        };
        metric::add(&tx, made.row, &[sample]).await.unwrap();
    }
    let new = NewModel {
        name: "fan".to_owned(),
        project: "fan".to_owned(),
        digest: Digest([7; 32]),
        run: None,
        parent: None,
        metrics: serde_json::json!({}),
    };
    model::add(&tx, &new, at(20)).await.unwrap();
    let handed = NewVersion {
        name: "siren".to_owned(),
        source: "mlflow-artifacts:/x".to_owned(),
        run: "r2".to_owned(),
        logged_model: String::new(),
        run_link: String::new(),
        user: String::new(),
    };
    registry::add(&tx, "siren", "finds sirens", at(21))
        .await
        .unwrap();
    let version = registry::add_version(&tx, &handed, at(21)).await.unwrap();
    registry::tag_version(&tx, &version, &[pair("team", "sound")])
        .await
        .unwrap();
    for (id, cohort, tags) in [
        (0xfe, "hall-1", &["site=hall-1"][..]),
        (0x2a, "hall-1", &["site=hall-1"]),
        (0x2b, "roof", &["lab", "site=roof"]),
    ] {
        let row = Device {
            id: DeviceId(id),
            key: DeviceKey([1; 32]),
            board: "esp-eye".to_owned(),
            cohort: cohort.to_owned(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            state: DeviceState::Active,
            enrolled_at: at(30),
            revision: 0,
        };
        device::add(&tx, &row).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn find(db: &Db, kinds: &[Kind], terms: &[Term]) -> Vec<Hit> {
    let asked = Search {
        terms: terms.to_vec(),
        kinds: kinds.to_vec(),
        offset: 0,
        limit: 100,
    };
    let (hits, total) = search(db, &asked).await.unwrap();
    assert_eq!(total, hits.len() as u64);
    hits
}

async fn titles(db: &Db, kinds: &[Kind], terms: &[Term]) -> Vec<String> {
    let hits = find(db, kinds, terms).await;
    hits.into_iter().map(|hit| hit.title).collect()
}

fn text(text: &str) -> Term {
    Term::Text(text.to_owned())
}

fn tag(key: &str, value: Option<&str>) -> Term {
    Term::Tag {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    }
}

fn accuracy(comparison: Comparison, number: f64) -> Term {
    Term::Metric {
        key: "accuracy".to_owned(),
        comparison,
        number,
    }
}

#[test]
fn each_term_finds_what_has_it() {
    on_every_backend(|db, _| async move {
        fill(&db).await;
        let db = &db;
        let fans = titles(db, &[], &[text("FAN")]).await;
        let expected = [
            "fan",
            "fan@1",
            "fan 2 50%_off",
            "fan 1 50%_off",
            "fan 0 50%_off",
        ];
        assert_eq!(
            fans, expected,
            "called so, then begins so, the newest first"
        );
        let good = accuracy(Comparison::Greater, 0.9);
        let found = titles(db, &[], std::slice::from_ref(&good)).await;
        assert_eq!(found, ["siren@1", "fan 2 50%_off", "fan 1 50%_off"]);
        let anas = Term::Owner("Ana".to_owned());
        let found = titles(db, &[Kind::Run], &[anas.clone(), good]).await;
        assert_eq!(found, ["fan 2 50%_off"]);
        let found = titles(db, &[], std::slice::from_ref(&anas)).await;
        assert_eq!(found, ["siren@1", "fan 2 50%_off", "fan 0 50%_off"]);
        let found = titles(db, &[], &[Term::Label("worn".to_owned())]).await;
        assert_eq!(found, ["fan"]);
        let found = titles(db, &[], &[Term::Label("wor".to_owned())]).await;
        assert!(found.is_empty(), "a part of a class is none");
        for other in ["hall-1", "classes", "path", "rec", "b", ",", ""] {
            let found = titles(db, &[], &[Term::Label(other.to_owned())]).await;
            assert!(found.is_empty(), "`{other}` is another text of the details");
        }
        let found = titles(db, &[], &[tag("site", Some("hall 1"))]).await;
        assert_eq!(found, ["fan 0 50%_off"]);
        let found = find(db, &[], &[tag("site", Some("hall-1"))]).await;
        let ids: Vec<&str> = found.iter().map(|hit| hit.key.as_str()).collect();
        assert_eq!(ids, ["254", "42"]);
        let of_key = find(db, &[Kind::Device], &[tag("site", None)]).await;
        assert_eq!(of_key.len(), 3);
        for (key, value) in [
            ("sit", None),
            ("ite", None),
            ("SITE", None),
            ("site=roof", Some("")),
            ("site", Some("hall")),
            ("site", Some("all-1")),
            ("site", Some("")),
        ] {
            let found = find(db, &[], &[tag(key, value)]).await;
            assert!(found.is_empty(), "`{key}` {value:?} is a part of a tag");
        }
        let marked = find(db, &[], &[tag("lab", None)]).await;
        assert_eq!(marked[0].key, "43", "a tag without a value");
        let found = titles(db, &[], &[tag("team", None)]).await;
        assert_eq!(found, ["siren@1"]);
        let found = titles(db, &[Kind::Cohort], &[text("hall")]).await;
        assert_eq!(found, ["hall-1"]);
        let found = find(db, &[], &[text("000000000000002B")]).await;
        assert_eq!(found[0].key, "43");
        let found = titles(db, &[], &[text("sirens")]).await;
        assert_eq!(found, ["siren@1"], "by its description");
        let found = titles(db, &[Kind::Experiment], &[text("sound")]).await;
        assert_eq!(found, ["sound"]);
        let data = find(db, &[Kind::Data], &[]).await;
        assert_eq!(data[0].digest, Some(Digest([2; 32])));

        // Names that the text of the details writes otherwise, and details that are of no list.
        let tx = db.begin("odd").await.unwrap();
        for (number, classes) in [
            (3, serde_json::json!(["a,\"b\\", "nul\0"])),
            (4, serde_json::json!({ "worn": 1 })),
            (5, serde_json::json!(["a,\"B\\", 7])),
        ] {
            let row = Dataset {
                digest: Digest([number; 32]),
                project: format!("odd {number}"),
                sample_count: 1,
                detail: serde_json::json!({ "classes": classes }),
                created_at: at(1),
            };
            dataset::put(&tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let found = titles(db, &[], &[Term::Label("A,\"B\\".to_owned())]).await;
        assert!(found.contains(&"odd 5".to_owned()), "{found:?}");
        let found = titles(db, &[], &[Term::Label("worn".to_owned())]).await;
        assert_eq!(found, ["fan"], "a name of an object is no class");
    });
}

#[test]
fn pages_follow_each_other_and_tell_the_total() {
    on_every_backend(|db, _| async move {
        fill(&db).await;
        let all = find(&db, &[], &[]).await;
        // Two datasets, two versions, three runs, two experiments with the default one, three devices, two cohorts.
        assert_eq!(all.len(), 14);
        let mut paged = Vec::new();
        for offset in (0..16).step_by(4) {
            let asked = Search {
                offset,
                limit: 4,
                ..Search::default()
            };
            let (hits, total) = search(&db, &asked).await.unwrap();
            assert_eq!(total, 14, "also past the end");
            paged.extend(hits);
        }
        assert_eq!(paged, all);
    });
}

#[test]
fn what_is_typed_is_never_a_part_of_a_statement() {
    on_every_backend(|db, _| async move {
        fill(&db).await;
        for typed in [
            "' OR 1=1 --",
            "'; DROP TABLE devices; --",
            "%",
            "_",
            "\\",
            "\\%",
            "$1",
            "?1",
            "fan' UNION SELECT 1,2,3,4,5,6,7 --",
        ] {
            for term in [
                text(typed),
                tag(typed, Some(typed)),
                tag(typed, None),
                Term::Owner(typed.to_owned()),
                Term::Label(typed.to_owned()),
                Term::Metric {
                    key: typed.to_owned(),
                    comparison: Comparison::Unequal,
                    number: 0.0,
                },
            ] {
                let found = titles(&db, &[], &[term]).await;
                // Wildcards are characters: only what has them is found.
                let has_it = |title: &&String| title.contains(typed);
                assert_eq!(found.iter().filter(has_it).count(), found.len(), "{typed}");
            }
        }
        let runs = titles(&db, &[], &[text("50%_o")]).await;
        assert_eq!(runs.len(), 3);
        assert_eq!(find(&db, &[Kind::Device], &[]).await.len(), 3);
    });
}
