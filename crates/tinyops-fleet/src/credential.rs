//! What lets devices in: class tokens, and the authorities that sign claim certificates.

use tinyops_store::class_token::{self, ClassToken};
use tinyops_store::{Timestamp, claim};
use tinyops_wire::VerifyingKey;
use tinyops_wire::enrolment::{self, TokenId};

use crate::again::again;
use crate::enrol::{Entropy, check_name, note};
use crate::{Fleet, FleetError};

/// A class token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// The board of the devices that it enrols.
    pub board: String,
    /// The cohort that they join.
    pub cohort: String,
    /// Further words to choose them by.
    pub tags: Vec<String>,
    /// Most devices that it enrols.
    pub uses: u32,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Fleet {
    /// Makes a class token: whoever knows it may enrol so many devices of one board into one cohort.
    ///
    /// What is kept proves it and does not show it; the token is returned this once.
    ///
    /// # Errors
    /// [`FleetError::Name`]; [`FleetError::Uses`] for none; [`FleetError::TokenEnds`] if it would never be valid.
    pub async fn make_class_token(
        &self,
        new: &NewToken,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<(ClassToken, enrolment::ClassToken), FleetError> {
        check_name(&new.board)?;
        check_name(&new.cohort)?;
        if new.uses == 0 {
            return Err(FleetError::Uses);
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(FleetError::TokenEnds);
        }
        let (secret, id) = entropy.parts();
        let token = enrolment::ClassToken::new(TokenId(id), secret);
        let row = ClassToken {
            id: token.id,
            key: token.key(),
            board: new.board.clone(),
            cohort: new.cohort.clone(),
            tags: new.tags.clone(),
            uses_max: new.uses,
            use_count: 0,
            created_at: now,
            created_by: actor.to_owned(),
            expires_at: new.expires_at,
            revoked_at: None,
        };
        again!({
            let tx = self.db.begin_audited("make a class token").await?;
            class_token::add(&tx, &row).await?;
            let detail = serde_json::json!({
                "board": row.board, "cohort": row.cohort, "tags": row.tags, "uses": row.uses_max,
                "expires_at_ms": row.expires_at.map(|at| at.0),
            });
            note(&tx, now, actor, "class_token.make", row.id, &detail).await?;
            tx.commit().await?;
            Ok((row.clone(), token.clone()))
        })
    }

    /// Ends a class token: it enrols nobody any more. Devices that it enrolled stay.
    ///
    /// # Errors
    /// [`FleetError::NoClassToken`]; [`FleetError::TokenRevoked`] if that was done before.
    pub async fn revoke_class_token(
        &self,
        id: TokenId,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!({
            let tx = self.db.begin_audited("revoke a class token").await?;
            let token = class_token::get(&tx, id)
                .await?
                .ok_or(FleetError::NoClassToken(id))?;
            if token.revoked_at.is_some() {
                return Err(FleetError::TokenRevoked(id.to_string()));
            }
            class_token::revoke(&tx, id, now).await?;
            let detail = serde_json::json!({ "uses": token.use_count });
            note(&tx, now, actor, "class_token.revoke", id, &detail).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Lets the claim certificates of an authority count from now on.
    ///
    /// # Errors
    /// [`FleetError::Name`]; [`tinyops_store::StoreError::Exists`] if the name was ever given.
    pub async fn trust_authority(
        &self,
        name: &str,
        public: &VerifyingKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        check_name(name)?;
        again!({
            let tx = self.db.begin_audited("trust a claim authority").await?;
            let row = claim::Authority {
                name: name.to_owned(),
                public: public.to_bytes(),
                created_at: now,
                created_by: actor.to_owned(),
                revoked_at: None,
            };
            claim::add_authority(&tx, &row).await?;
            let detail = serde_json::json!({ "key": public.id().to_string() });
            note(&tx, now, actor, "claim_authority.trust", name, &detail).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Lets nothing that an authority signed count any more. Devices that it let in stay.
    ///
    /// # Errors
    /// [`FleetError::NoAuthority`] if none of this name counts.
    pub async fn distrust_authority(
        &self,
        name: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!({
            let tx = self.db.begin_audited("distrust a claim authority").await?;
            let known = claim::authorities(&tx).await?;
            let counts =
                |found: &claim::Authority| found.name == name && found.revoked_at.is_none();
            if !known.iter().any(counts) {
                return Err(FleetError::NoAuthority(name.to_owned()));
            }
            claim::revoke_authority(&tx, name, now).await?;
            let nothing = tinyops_store::Json::Null;
            note(&tx, now, actor, "claim_authority.distrust", name, &nothing).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Ends a claim certificate, whether it was ever used or not. Devices that it let in stay.
    ///
    /// # Errors
    /// [`FleetError::Serial`] for a text that is no serial; [`FleetError::TokenRevoked`] if that was done before.
    pub async fn revoke_claim(
        &self,
        serial: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        if serial.is_empty() || serial.len() > tinyops_wire::manifest::TEXT_BYTES_MAX {
            return Err(FleetError::Serial(serial.chars().take(60).collect()));
        }
        again!({
            let tx = self.db.begin_audited("revoke a claim").await?;
            let known = claim::get(&tx, serial).await?;
            if known
                .as_ref()
                .is_some_and(|claim| claim.revoked_at.is_some())
            {
                return Err(FleetError::TokenRevoked(serial.to_owned()));
            }
            claim::revoke(&tx, serial, now).await?;
            let uses = known.map_or(0, |claim| claim.use_count);
            let detail = serde_json::json!({ "uses": uses });
            note(&tx, now, actor, "claim.revoke", serial, &detail).await?;
            tx.commit().await?;
            Ok(())
        })
    }
}
