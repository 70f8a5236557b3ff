//! Who is told of alerts, and what is remembered of labelled errors.

use tinyops_store::error_stream::{self, ErrorStream};
use tinyops_store::webhook::{self, DeliveryState, Webhook, WebhookKind};
use tinyops_store::{Json, ModelId, StoreError, Timestamp};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn webhooks_and_what_they_are_owed() {
    on_every_backend(|db, _| async move {
        let hook = Webhook {
            name: "pager".to_owned(),
            url: "https://pager.example/hook".to_owned(),
            secret: "0123".to_owned(),
            authorities: String::new(),
            created_at: NOW,
            created_by: "ana".to_owned(),
            kind: WebhookKind::Alerts,
            about: Json::Null,
        };
        let tx = db.begin("test").await.unwrap();
        webhook::add(&tx, &hook).await.unwrap();
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        let twice = webhook::add(&tx, &hook).await;
        assert!(matches!(twice, Err(StoreError::Exists { .. })));
        drop(tx);
        let tx = db.begin("test").await.unwrap();
        let later = NOW.plus_ms(1);
        let first = webhook::owe(&tx, "pager", "alert.raise", "{}", NOW)
            .await
            .unwrap();
        let second = webhook::owe(&tx, "pager", "alert.mute", "{}", later)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            webhook::list(&db).await.unwrap(),
            std::slice::from_ref(&hook)
        );
        let mut of_registry = Webhook {
            name: "wh-1".to_owned(),
            kind: WebhookKind::Registry,
            about: Json::from("seen"),
            ..hook.clone()
        };
        let tx = db.begin("test").await.unwrap();
        webhook::add(&tx, &of_registry).await.unwrap();
        of_registry.about = Json::from("changed");
        webhook::change(&tx, &of_registry).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            webhook::list(&db).await.unwrap(),
            std::slice::from_ref(&hook)
        );
        assert_eq!(webhook::receivers(&db).await.unwrap(), [hook, of_registry]);
        let due = webhook::due(&db, NOW, 9).await.unwrap();
        assert_eq!(due, std::slice::from_ref(&first));
        let both = [first.clone(), second.clone()];
        assert_eq!(webhook::due(&db, later, 9).await.unwrap(), both);
        let mut done = first.clone();
        done.state = DeliveryState::Delivered;
        done.attempt_count = 1;
        done.answer = "204".to_owned();
        let tx = db.begin("test").await.unwrap();
        webhook::put(&tx, &done, 0).await.unwrap();
        let stale = webhook::put(&tx, &done, 0).await;
        assert!(matches!(stale, Err(StoreError::Conflict { .. })));
        tx.commit().await.unwrap();
        assert_eq!(
            webhook::delivery(&db, first.id).await.unwrap(),
            Some(done.clone())
        );
        assert_eq!(webhook::due(&db, later, 9).await.unwrap(), [second]);
        let tx = db.begin("test").await.unwrap();
        webhook::forget(&tx, NOW).await.unwrap();
        assert_eq!(webhook::deliveries(&tx, 9).await.unwrap().len(), 2);
        assert!(webhook::remove(&tx, "pager").await.unwrap());
        assert!(!webhook::remove(&tx, "pager").await.unwrap());
        assert_eq!(
            webhook::deliveries(&tx, 9).await.unwrap(),
            [done],
            "the log stays"
        );
        webhook::forget(&tx, later).await.unwrap();
        assert!(webhook::deliveries(&tx, 9).await.unwrap().is_empty());
        tx.commit().await.unwrap();
    });
}

#[test]
fn labelled_errors_are_remembered_by_cohort_and_model() {
    on_every_backend(|db, _| async move {
        let stream = |state: u8| ErrorStream {
            cohort: "hall-1".to_owned(),
            model: ModelId(7),
            state: vec![state],
            updated_at: NOW,
        };
        let tx = db.begin("test").await.unwrap();
        error_stream::put_many(&tx, &[stream(1)]).await.unwrap();
        error_stream::put_many(&tx, &[stream(2)]).await.unwrap();
        tx.commit().await.unwrap();
        let found = error_stream::get(&db, "hall-1", ModelId(7)).await.unwrap();
        assert_eq!(found, Some(stream(2)));
        let other = error_stream::get(&db, "hall-1", ModelId(8)).await.unwrap();
        assert_eq!(other, None);
    });
}
