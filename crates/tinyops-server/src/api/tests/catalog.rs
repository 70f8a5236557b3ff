//! The catalog and what versions cost, as a client asks for them.

use serde_json::{Value, json};
use tinyops_store::model::{self, NewModel};
use tinyops_store::{Digest, outcome};

use super::{NOW, app, call};
use crate::router;

#[tokio::test]
async fn what_is_found_and_what_is_not_understood() {
    let app = app(None).await;
    let new = NewModel {
        name: "fan".into(),
        project: "fan".into(),
        digest: Digest([7; 32]),
        run: None,
        parent: None,
        metrics: json!({}),
    };
    let tx = app.db().begin("test").await.unwrap();
    model::add(&tx, &new, NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert!(outcome::list(app.db(), 1).await.unwrap().is_empty());
    let router = router(app);
    let get = async |path: &str| call(&router, "GET", path, None, Value::Null).await;
    let (status, found) = get("/api/v1/catalog?q=kind:model%20fan").await;
    assert_eq!(
        (status.as_u16(), &found["total"]),
        (200, &json!(1)),
        "{found}"
    );
    assert_eq!(found["found"][0]["id"], "fan@1");
    for (query, says) in [
        ("kind:robot", "`robot` is no kind"),
        ("metric:acc", "is no comparison with a number"),
        ("%22open", "not closed"),
        ("a%00b", "control characters"),
    ] {
        let (status, problem) = get(&format!("/api/v1/catalog?q={query}")).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (400, &json!("query")),
            "{problem}"
        );
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    let (_, hostile) = get("/api/v1/catalog?q=%27%20OR%201%3D1%20--").await;
    assert_eq!(hostile["total"], 0, "{hostile}");
    // Of the project of a version that was only imported nothing is recorded; an unknown version is unknown.
    let (status, problem) = get("/api/v1/models/fan/1/cost").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("no_settings"))
    );
    let (status, _) = get("/api/v1/models/fan/2/worth").await;
    assert_eq!(status.as_u16(), 404);
    let (status, _) = get("/api/v1/models/fan/1/cost?threshold=high").await;
    assert_eq!(status.as_u16(), 400);
    let (_, costs) = get("/api/v1/costs?days=3").await;
    assert_eq!(costs, json!([]));
}
