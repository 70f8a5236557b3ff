//! Who may do what: access tokens, their roles, and the one table of rights.

use tinyops_store::access::{self, AccessToken, NewAccessToken, Role};
use tinyops_store::ddi::Packing;
use tinyops_store::{Digest, Timestamp};

use crate::again::again;
use crate::enrol::{Entropy, check_name, hex, note};
use crate::{Fleet, FleetError};

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See anything: devices, models, runs, the audit log.
    Read,
    /// Keep the fleet running: devices, alerts, rounds, runs; hold a rollout, or take it back.
    Operate,
    /// Send a model to devices.
    Release,
    /// Make and revoke access tokens.
    Administer,
    /// Bring the envelopes of devices, and take what is for them.
    Carry,
    /// Send recordings in.
    Ingest,
}

impl Right {
    /// Every right, in the order of the table.
    pub const ALL: [Right; 6] = [
        Right::Read,
        Right::Operate,
        Right::Release,
        Right::Administer,
        Right::Carry,
        Right::Ingest,
    ];

    /// Its name, as errors and the API's document say it.
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Operate => "operate",
            Right::Release => "release",
            Right::Administer => "administer",
            Right::Carry => "carry",
            Right::Ingest => "ingest",
        }
    }
}

/// The table of rights; `docs/guide/access.md` shows the same to people.
pub fn may(role: Role, right: Right) -> bool {
    use Right::{Administer, Carry, Ingest, Operate, Read, Release};
    match role {
        Role::Viewer => matches!(right, Read),
        Role::Operator => matches!(right, Read | Operate | Ingest),
        Role::Releaser => matches!(right, Read | Operate | Release | Ingest),
        Role::Admin => matches!(
            right,
            Read | Operate | Release | Administer | Carry | Ingest
        ),
        Role::Gateway => matches!(right, Carry | Ingest),
        Role::Recorder => matches!(right, Ingest),
    }
}

/// What access tokens begin with, so that one is known where it should not be.
pub const TOKEN_PREFIX: &str = "tinyops_";

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was never made here.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

impl Fleet {
    /// Makes an access token. Only its digest is kept; the token is returned this once.
    ///
    /// # Errors
    /// [`FleetError::Name`]; [`FleetError::TokenEnds`] if it would never be valid;
    /// [`tinyops_store::StoreError::Exists`] if the name was ever given.
    pub async fn make_access_token(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<(AccessToken, String), FleetError> {
        self.make_token_of(name, role, None, expires_at, entropy, actor, now)
            .await
    }

    /// Makes an access token, and notes the class of devices that its holder speaks for, if it does.
    #[expect(clippy::too_many_arguments, reason = "a token with each of its parts")]
    pub(crate) async fn make_token_of(
        &self,
        name: &str,
        role: Role,
        class: Option<(&str, &str, Packing)>,
        expires_at: Option<Timestamp>,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<(AccessToken, String), FleetError> {
        check_name(name)?;
        if expires_at.is_some_and(|at| at <= now) {
            return Err(FleetError::TokenEnds);
        }
        let text = format!("{TOKEN_PREFIX}{}", hex(&entropy.0[..32]));
        let new = NewAccessToken {
            name: name.to_owned(),
            role,
            digest: Digest::of(text.as_bytes()),
            created_by: actor.to_owned(),
            expires_at,
        };
        again!({
            let tx = self.db.begin_audited("make an access token").await?;
            let token = access::add(&tx, &new, now).await?;
            if let Some(class) = class {
                self.note_class(&tx, token.id, class).await?;
            }
            let detail = serde_json::json!({
                "role": role.word(), "expires_at_ms": expires_at.map(|at| at.0),
                "class": class.map(|(board, cohort, _)| format!("{board}/{cohort}")),
            });
            note(&tx, now, actor, "token.make", name, &detail).await?;
            tx.commit().await?;
            Ok((token, text.clone()))
        })
    }

    /// Ends an access token: its next call is refused.
    ///
    /// # Errors
    /// [`FleetError::NoToken`]; [`FleetError::TokenRevoked`] if that was done before.
    pub async fn revoke_access_token(
        &self,
        name: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!({
            let tx = self.db.begin_audited("revoke an access token").await?;
            let token = access::named(&tx, name)
                .await?
                .ok_or_else(|| FleetError::NoToken(name.to_owned()))?;
            if token.revoked_at.is_some() {
                return Err(FleetError::TokenRevoked(name.to_owned()));
            }
            access::revoke(&tx, token.id, now).await?;
            let detail = serde_json::json!({ "role": token.role.word() });
            note(&tx, now, actor, "token.revoke", name, &detail).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// The token that has this digest, if it still opens anything.
    pub async fn access_token(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Result<AccessToken, Refused>, FleetError> {
        let Some(token) = access::get(&self.db, digest).await? else {
            return Ok(Err(Refused::Unknown));
        };
        Ok(if token.revoked_at.is_some() {
            Err(Refused::Revoked)
        } else if token.expires_at.is_some_and(|at| at <= now) {
            Err(Refused::Expired)
        } else {
            Ok(token)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that people read is the table that is kept to.
    #[test]
    fn the_table_in_the_guide_is_this_one() {
        let guide = include_str!("../../../docs/guide/access.md");
        for right in Right::ALL {
            let row = guide
                .lines()
                .find(|line| line.starts_with(&format!("| {} |", right.word())))
                .unwrap_or_else(|| panic!("no row for {}", right.word()));
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let roles = [
                Role::Viewer,
                Role::Operator,
                Role::Releaser,
                Role::Admin,
                Role::Gateway,
                Role::Recorder,
            ];
            for (index, role) in roles.into_iter().enumerate() {
                let said = cells[3 + index] == "yes";
                assert_eq!(said, may(role, right), "{role} {}", right.word());
            }
        }
    }
}
