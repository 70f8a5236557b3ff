//! Targets, actions and classes of the DDI keep what they are given.

use serde_json::json;
use tinyops_store::access::AccessTokenId;
use tinyops_store::ddi::{self, ActionState, Class, NewAction, Packing, Target};
use tinyops_store::rollout::RolloutId;
use tinyops_store::{DeviceId, Digest, Json, ModelId, StoreError, Timestamp};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn targets_actions_and_classes() {
    on_every_backend(|db, _| async move {
        let tx = db.begin("test").await.unwrap();
        let mut target = Target {
            device: DeviceId(1),
            controller: "press-7".to_owned(),
            token: Some(Digest::of(b"t")),
            packing: Packing::Swu,
            asks_consent: true,
            auto_confirm: Json::Null,
            wants_config: true,
            counted_at: None,
            revision: 0,
        };
        ddi::set_target(&tx, &target).await.unwrap();
        let other = Target {
            device: DeviceId(2),
            ..target.clone()
        };
        let taken = ddi::set_target(&tx, &other).await.unwrap_err();
        assert!(matches!(taken, StoreError::Exists { .. }), "{taken}");
        target.wants_config = false;
        target.counted_at = Some(NOW);
        let mut old = target.clone();
        ddi::put_target(&tx, &mut target).await.unwrap();
        assert!(
            ddi::put_target(&tx, &mut old)
                .await
                .unwrap_err()
                .is_conflict()
        );
        let new = NewAction {
            device: DeviceId(1),
            rollout: RolloutId(3),
            model: ModelId(7),
            state: ActionState::Open,
            statement: vec![1, 2],
            detail: json!({}),
        };
        let mut action = ddi::add_action(&tx, &new, NOW).await.unwrap();
        assert_eq!(
            ddi::standing(&tx, DeviceId(1)).await.unwrap(),
            Some(action.clone())
        );
        action.state = ActionState::Finished;
        let mut late = action.clone();
        ddi::put_action(&tx, &mut action).await.unwrap();
        assert!(
            ddi::put_action(&tx, &mut late)
                .await
                .unwrap_err()
                .is_conflict()
        );
        let class = Class {
            token: AccessTokenId(5),
            board: "esp-eye".to_owned(),
            cohort: "hall".to_owned(),
            packing: Packing::Files,
        };
        ddi::put_class(&tx, &class).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            ddi::get(&db, "press-7").await.unwrap(),
            Some(target.clone())
        );
        assert_eq!(
            ddi::of_device(&db, DeviceId(1)).await.unwrap(),
            Some(target)
        );
        assert_eq!(ddi::of_device(&db, DeviceId(2)).await.unwrap(), None);
        assert_eq!(ddi::standing(&db, DeviceId(1)).await.unwrap(), None);
        for found in [
            ddi::action(&db, action.id).await.unwrap(),
            ddi::installed(&db, DeviceId(1)).await.unwrap(),
            ddi::newest(&db, DeviceId(1)).await.unwrap(),
        ] {
            assert_eq!(found.as_ref(), Some(&action));
        }
        assert_eq!(
            ddi::class_of(&db, class.token).await.unwrap(),
            Some(class.clone())
        );
        assert_eq!(ddi::classes(&db).await.unwrap(), [class]);
        // A device has one action that stands at most.
        let tx = db.begin("test").await.unwrap();
        ddi::add_action(&tx, &new, NOW).await.unwrap();
        assert!(ddi::add_action(&tx, &new, NOW).await.is_err());
    });
}
