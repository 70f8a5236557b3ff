//! What lets devices in, and what was answered to them.

use tinyops_store::class_token::{self, ClassToken};
use tinyops_store::enrolment::{self, Enrolment};
use tinyops_store::{DeviceId, Digest, StoreError, Timestamp, claim};
use tinyops_wire::enrolment::{TokenId, TokenKey};

use crate::backend::on_every_backend;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn class_tokens() {
    on_every_backend(|db, _| async move {
        let token = ClassToken {
            id: TokenId(u64::MAX),
            key: TokenKey([7; 32]),
            board: "esp-eye".to_owned(),
            cohort: "hall-1".to_owned(),
            tags: vec!["site=north".to_owned()],
            uses_max: 2,
            use_count: 0,
            created_at: NOW,
            created_by: "ana".to_owned(),
            expires_at: Some(NOW.plus_ms(9)),
            revoked_at: None,
        };
        let tx = db.begin("test").await.unwrap();
        class_token::add(&tx, &token).await.unwrap();
        let again = class_token::add(&tx, &token).await.unwrap_err();
        assert!(matches!(again, StoreError::Exists { .. }), "{again:?}");
        tx.commit().await.unwrap();
        let tx = db.begin("test").await.unwrap();
        class_token::count_use(&tx, token.id).await.unwrap();
        class_token::count_use(&tx, token.id).await.unwrap();
        let more = class_token::count_use(&tx, token.id).await.unwrap_err();
        assert!(more.is_conflict(), "{more:?}");
        class_token::revoke(&tx, token.id, NOW).await.unwrap();
        let again = class_token::revoke(&tx, token.id, NOW.plus_ms(1)).await;
        assert!(again.unwrap_err().is_conflict());
        tx.commit().await.unwrap();
        let expected = ClassToken {
            use_count: 2,
            revoked_at: Some(NOW),
            ..token
        };
        let found = class_token::get(&db, expected.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&expected));
        assert_eq!(class_token::list(&db).await.unwrap(), [expected]);
        assert_eq!(class_token::get(&db, TokenId(1)).await.unwrap(), None);
    });
}

#[test]
fn claims_and_their_authorities() {
    on_every_backend(|db, _| async move {
        let plant = claim::Authority {
            name: "plant-2".to_owned(),
            public: [9; 32],
            created_at: NOW,
            created_by: "ana".to_owned(),
            revoked_at: None,
        };
        let tx = db.begin("test").await.unwrap();
        claim::add_authority(&tx, &plant).await.unwrap();
        let again = claim::add_authority(&tx, &plant).await.unwrap_err();
        assert!(matches!(again, StoreError::Exists { .. }), "{again:?}");
        tx.commit().await.unwrap();
        assert_eq!(claim::get(&db, "S-1").await.unwrap(), None);
        let tx = db.begin("test").await.unwrap();
        claim::count_use(&tx, "S-1", NOW).await.unwrap();
        claim::count_use(&tx, "S-1", NOW.plus_ms(5)).await.unwrap();
        claim::revoke(&tx, "S-1", NOW.plus_ms(6)).await.unwrap();
        claim::revoke(&tx, "S-2", NOW).await.unwrap();
        let again = claim::revoke(&tx, "S-2", NOW).await.unwrap_err();
        assert!(again.is_conflict(), "{again:?}");
        claim::revoke_authority(&tx, "plant-2", NOW).await.unwrap();
        let again = claim::revoke_authority(&tx, "plant-2", NOW).await;
        assert!(again.unwrap_err().is_conflict());
        tx.commit().await.unwrap();
        let expected = [
            claim::Claim {
                serial: "S-1".to_owned(),
                use_count: 2,
                used_at: Some(NOW.plus_ms(5)),
                revoked_at: Some(NOW.plus_ms(6)),
            },
            claim::Claim {
                serial: "S-2".to_owned(),
                use_count: 0,
                used_at: None,
                revoked_at: Some(NOW),
            },
        ];
        assert_eq!(claim::list(&db).await.unwrap(), expected);
        let authorities = claim::authorities(&db).await.unwrap();
        assert_eq!(authorities[0].revoked_at, Some(NOW));
    });
}

#[test]
fn enrolments_and_permits() {
    on_every_backend(|db, _| async move {
        let of = |key: u8, at: i64| Enrolment {
            public: [key; 32],
            request: Digest::of(&[key]),
            device: DeviceId(u64::MAX - 1),
            answer: vec![key, 2, 3],
            proof: "claim S-1".to_owned(),
            at: NOW.plus_ms(at),
        };
        let (first, second) = (of(1, 0), of(2, 1));
        let tx = db.begin("test").await.unwrap();
        enrolment::add(&tx, &first).await.unwrap();
        enrolment::add(&tx, &second).await.unwrap();
        let again = enrolment::add(&tx, &first).await.unwrap_err();
        assert!(matches!(again, StoreError::Exists { .. }), "{again:?}");
        tx.commit().await.unwrap();
        let found = enrolment::of_key(&db, &[1; 32]).await.unwrap();
        assert_eq!(found.as_ref(), Some(&first));
        let newest = enrolment::of_device(&db, first.device).await.unwrap();
        assert_eq!(newest, Some(second));
        assert_eq!(enrolment::of_key(&db, &[3; 32]).await.unwrap(), None);

        let device = first.device;
        let until = async || enrolment::permitted_until(&db, device).await.unwrap();
        assert_eq!(until().await, None);
        for later in [5, 9] {
            let tx = db.begin("test").await.unwrap();
            enrolment::permit(&tx, device, NOW.plus_ms(later))
                .await
                .unwrap();
            tx.commit().await.unwrap();
            assert_eq!(until().await, Some(NOW.plus_ms(later)));
        }
        let tx = db.begin("test").await.unwrap();
        enrolment::end_permit(&tx, device).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(until().await, None);
    });
}
