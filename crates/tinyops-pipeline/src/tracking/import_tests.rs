//! What is taken over again: what changed here stays, what changed there follows.

use tinyops_store::model::{self, NewModel};
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::registry as records;
use tinyops_store::tracking::registry::VersionStage;
use tinyops_store::{Db, Digest, Json, Timestamp};

use super::foreign::{ForeignName, ForeignVersion};
use super::import::{FROM_TAG, LeftAlias, STATE_TAG, Taken, TakenName, knows_name, take_name};
use super::registry::{self, By};

const FROM: &str = "http://hall:5000";
const ANA: By<'_> = By {
    actor: "ana",
    now: Timestamp(50),
};
const IMPORTER: By<'_> = By {
    actor: "command line",
    now: Timestamp(60),
};

fn pair(key: &str, value: &str) -> Pair {
    Pair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn name(aliases: &[(&str, u32)], tags: &[Pair], updated_at: i64) -> ForeignName {
    ForeignName {
        name: "pump".to_owned(),
        description: "of there".to_owned(),
        created_at: Timestamp(1),
        updated_at: Timestamp(updated_at),
        tags: tags.to_vec(),
        aliases: aliases
            .iter()
            .map(|(alias, version)| ((*alias).to_owned(), *version))
            .collect(),
    }
}

fn version(number: u32, description: &str, tags: &[Pair]) -> ForeignVersion {
    ForeignVersion {
        name: "pump".to_owned(),
        version: number,
        source: "s3://models/pump".to_owned(),
        run: String::new(),
        logged_model: String::new(),
        run_link: String::new(),
        user: String::new(),
        stage: VersionStage::None,
        description: description.to_owned(),
        created_at: Timestamp(2),
        updated_at: Timestamp(3),
        tags: tags.to_vec(),
        is_ready: true,
    }
}

async fn take(db: &Db, of: &ForeignName, versions: &[ForeignVersion]) -> TakenName {
    let known = knows_name(db, FROM, of, versions).await.unwrap();
    let became = take_name(db, FROM, of, versions, IMPORTER).await.unwrap();
    assert_eq!(became.taken, known, "what is foreseen is what happens");
    became
}

async fn aliases(db: &Db) -> Vec<(String, u32)> {
    let mut found = model::aliases(db, "pump").await.unwrap();
    found.sort();
    found
}

fn words(aliases: &[(&str, u32)]) -> Vec<(String, u32)> {
    aliases
        .iter()
        .map(|(alias, version)| ((*alias).to_owned(), *version))
        .collect()
}

async fn tags(db: &Db) -> Vec<Pair> {
    let found = records::get(db, "pump").await.unwrap().unwrap();
    let tags = records::tags(db, &[found.row]).await.unwrap();
    let mut tags: Vec<Pair> = tags.into_values().flatten().collect();
    tags.retain(|tag| tag.key != FROM_TAG && tag.key != STATE_TAG);
    tags
}

#[tokio::test]
async fn an_alias_that_was_moved_here_stays() {
    let db = Db::open("sqlite::memory:").await.unwrap();
    let versions = [version(1, "", &[]), version(2, "", &[])];
    let first = name(&[("best", 1), ("tried", 1), ("gone", 1)], &[], 10);
    assert_eq!(take(&db, &first, &versions).await.taken, Taken::New);
    assert_eq!(
        aliases(&db).await,
        words(&[("best", 1), ("gone", 1), ("tried", 1)])
    );
    assert_eq!(take(&db, &first, &versions).await.taken, Taken::Known);
    registry::set_alias(&db, "pump", "best", "2", ANA)
        .await
        .unwrap();
    // Nothing changed there: nothing is moved back.
    assert_eq!(take(&db, &first, &versions).await.taken, Taken::Known);
    // One changed there, one went there; that which was moved here is told.
    let second = name(&[("best", 1), ("tried", 2)], &[], 11);
    let became = take(&db, &second, &versions).await;
    let left = LeftAlias {
        alias: "best".to_owned(),
        there: Some(1),
        here: Some(2),
    };
    assert_eq!((became.taken, became.left), (Taken::Renewed, vec![left]));
    assert_eq!(aliases(&db).await, words(&[("best", 2), ("tried", 2)]));
    // Taken away here, it does not come back.
    registry::remove_alias(&db, "pump", "tried", ANA)
        .await
        .unwrap();
    let third = name(&[("tried", 1)], &[], 12);
    let became = take(&db, &third, &versions).await;
    assert_eq!(became.left.len(), 1, "{became:?}");
    assert_eq!(aliases(&db).await, words(&[("best", 2)]));
}

#[tokio::test]
async fn an_alias_of_an_own_version_is_never_moved() {
    let db = Db::open("sqlite::memory:").await.unwrap();
    let versions = [version(1, "", &[]), version(3, "", &[])];
    take(&db, &name(&[], &[], 10), &versions[..1]).await;
    let new = NewModel {
        name: "pump".to_owned(),
        project: "pump".to_owned(),
        digest: Digest([7; 32]),
        run: None,
        parent: None,
        metrics: Json::Null,
    };
    let tx = db.begin("test").await.unwrap();
    let own = model::add(&tx, &new, Timestamp(40)).await.unwrap();
    model::put_alias(&tx, "pump", "production", own.version)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(own.version, 2);
    let there = name(&[("production", 1), ("odd", 2), ("new", 3)], &[], 11);
    let became = take(&db, &there, &versions).await;
    let left: Vec<&str> = became.left.iter().map(|left| &*left.alias).collect();
    assert_eq!(left, ["production", "odd"]);
    assert_eq!(aliases(&db).await, words(&[("new", 3), ("production", 2)]));
}

#[tokio::test]
async fn tags_and_descriptions_that_went_there_go_here() {
    let db = Db::open("sqlite::memory:").await.unwrap();
    let (team, task) = (pair("team", "a"), pair("task", "faults"));
    let first = [version(1, "small", std::slice::from_ref(&task))];
    take(&db, &name(&[], &[team.clone(), task.clone()], 10), &first).await;
    let own = pair("seen", "by ana");
    registry::tag(&db, "pump", own.clone(), ANA).await.unwrap();
    registry::tag_version(&db, "pump", "1", own.clone(), ANA)
        .await
        .unwrap();
    assert_eq!(tags(&db).await, [own.clone(), task.clone(), team]);
    let second = [version(1, "", &[])];
    let became = take(&db, &name(&[], std::slice::from_ref(&task), 11), &second).await;
    assert_eq!(became.taken, Taken::Renewed);
    assert_eq!(tags(&db).await, [own.clone(), task]);
    let found = records::version(&db, "pump", 1).await.unwrap().unwrap();
    let ids = std::slice::from_ref(&found.id);
    let of_version = records::version_tags(&db, ids).await.unwrap();
    let mut of_version: Vec<Pair> = of_version.into_values().flatten().collect();
    of_version.retain(|tag| tag.key != FROM_TAG && tag.key != STATE_TAG);
    assert_eq!(of_version, [own]);
    let notes = records::descriptions(&db, ids).await.unwrap();
    assert_eq!(notes.get(&found.id).map(String::as_str), Some(""));
}
