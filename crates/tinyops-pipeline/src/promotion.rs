//! What a version still lacks before it may be promoted or signed: gates of its run, and approvals by role.

use std::collections::BTreeMap;

use tinyops_store::access::Role;
use tinyops_store::approval::{self, Approval};
use tinyops_store::model::{Model, Stage};
use tinyops_store::{Db, Json, Read, StoreError, Timestamp, audit, project, run};

/// Letters of a reason at most.
const WHY_MAX: usize = 2000;

/// How a version stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// How many approvals of each role its project asks for, by the settings of its newest run.
    pub wanted: BTreeMap<String, u32>,
    /// Those that were given.
    pub approvals: Vec<Approval>,
    /// Why it may not be promoted, one reason a line; none if it may.
    pub reasons: Vec<String>,
}

/// Why an approval was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// Nothing was said.
    #[error("an approval says why, in up to {WHY_MAX} letters")]
    Why,
    /// The version is out for good.
    #[error("{0} was rejected")]
    Rejected(String),
    /// Whoever asked cannot approve anything.
    #[error("a {0} approves nothing")]
    Role(Role),
    /// The records could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a version stands: a gate that failed, or that the project requires and nobody asked, and approvals that are missing
/// keep it from production.
///
/// # Errors
/// When the records cannot be read.
pub async fn standing(on: &impl Read, model: &Model) -> Result<Standing, StoreError> {
    let settings = project::get(on, &model.project).await?;
    let settings = settings.map(|project| project.detail).unwrap_or_default();
    let gates = match model.run {
        Some(id) => run::get(on, id)
            .await?
            .map(|run| run.detail["gates"].clone()),
        None => None,
    };
    let approvals = approval::of(on, &model.name, model.version).await?;
    let wanted = wanted_of(&settings);
    let mut reasons = reasons(
        model.stage,
        &settings,
        &gates.unwrap_or_default(),
        &wanted,
        &approvals,
    );
    reasons.extend(erased(model));
    Ok(Standing {
        wanted,
        approvals,
        reasons,
    })
}

/// Where a version is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To be the one that devices should run.
    Production,
    /// Under a signature, to devices.
    Devices,
}

/// What keeps a version from where it is to go, one reason a line; it may go where there is none.
///
/// A version that was out before may be signed again as ever, for a person offers it: of such a one only what was erased
/// is asked.
///
/// # Errors
/// When the records cannot be read.
pub async fn may_go_out(
    on: &impl Read,
    model: &Model,
    way: Way,
) -> Result<Vec<String>, StoreError> {
    match way {
        Way::Devices if model.stage != Stage::Candidate => Ok(erased(model).into_iter().collect()),
        Way::Devices | Way::Production => Ok(standing(on, model).await?.reasons),
    }
}

fn erased(model: &Model) -> Option<String> {
    let is_erased = crate::erase::is_marked(model);
    is_erased.then(|| "recordings that it was trained on were erased".to_owned())
}

/// Takes one person's word for a version.
///
/// # Errors
/// [`ApprovalError`].
pub async fn approve(
    db: &Db,
    model: &Model,
    actor: &str,
    role: Role,
    why: &str,
    now: Timestamp,
) -> Result<Approval, ApprovalError> {
    let why = why.trim();
    if why.is_empty() || why.chars().count() > WHY_MAX {
        return Err(ApprovalError::Why);
    }
    let subject = format!("{}@{}", model.name, model.version);
    if model.stage == Stage::Rejected {
        return Err(ApprovalError::Rejected(subject));
    }
    if matches!(role, Role::Viewer | Role::Gateway | Role::Recorder) {
        return Err(ApprovalError::Role(role));
    }
    let given = Approval {
        model: model.name.clone(),
        version: model.version,
        actor: actor.to_owned(),
        role,
        why: why.to_owned(),
        at: now,
    };
    let tx = db.begin_audited("approve a model").await?;
    approval::put(&tx, &given).await?;
    let detail = serde_json::json!({ "role": role.word(), "why": why });
    audit::add(&tx, now, actor, "model.approve", &subject, &detail).await?;
    tx.commit().await?;
    Ok(given)
}

fn wanted_of(settings: &Json) -> BTreeMap<String, u32> {
    let wanted = settings["gates"]["approvals"].as_object();
    let count = |(role, count): (&String, &Json)| {
        Some((role.clone(), u32::try_from(count.as_u64()?).ok()?))
    };
    wanted.into_iter().flatten().filter_map(count).collect()
}

fn reasons(
    stage: Stage,
    settings: &Json,
    gates: &Json,
    wanted: &BTreeMap<String, u32>,
    approvals: &[Approval],
) -> Vec<String> {
    let mut reasons = Vec::new();
    if stage == Stage::Rejected {
        reasons.push("it was rejected: it failed a gate, or was taken back".to_owned());
    }
    for gate in gates.as_array().into_iter().flatten() {
        let name = gate["gate"].as_str().unwrap_or_default();
        let why = gate["why"].as_str().unwrap_or_default();
        match gate["passed"].as_bool() {
            Some(true) => {}
            Some(false) => reasons.push(format!("the gate `{name}` failed: {why}")),
            None if name == "smoke" && settings["gates"]["smoke"] == "required" => {
                reasons.push(format!(
                    "the gate `{name}` is required and was not asked: {why}"
                ));
            }
            None => {}
        }
    }
    for (role, count) in wanted {
        let given = approvals
            .iter()
            .filter(|approval| approval.role.word() == role)
            .count();
        if given < *count as usize {
            reasons.push(format!("approvals of role `{role}`: {given} of {count}"));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn approval(actor: &str, role: Role) -> Approval {
        Approval {
            model: "fan".to_owned(),
            version: 1,
            actor: actor.to_owned(),
            role,
            why: "heard it".to_owned(),
            at: Timestamp(0),
        }
    }

    #[track_caller]
    fn check(settings: Json, gates: Json, approvals: &[Approval], expected: &[&str]) {
        let found = reasons(
            Stage::Candidate,
            &settings,
            &gates,
            &wanted_of(&settings),
            approvals,
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn what_keeps_a_version_back() {
        check(
            json!({}),
            json!([{ "gate": "metric", "passed": true, "why": "" }]),
            &[],
            &[],
        );
        check(
            json!({}),
            json!([{ "gate": "slice group=m3", "passed": false, "why": "0.5" }]),
            &[],
            &["the gate `slice group=m3` failed: 0.5"],
        );
        let not_run = json!([{ "gate": "smoke", "passed": null, "why": "no QEMU" }]);
        check(json!({}), not_run.clone(), &[], &[]);
        check(
            json!({ "gates": { "smoke": "required" } }),
            not_run,
            &[],
            &["the gate `smoke` is required and was not asked: no QEMU"],
        );
        let wanted = json!({ "gates": { "approvals": { "releaser": 2, "operator": 1 } } });
        let ana = approval("ana", Role::Releaser);
        check(
            wanted.clone(),
            json!([]),
            std::slice::from_ref(&ana),
            &[
                "approvals of role `operator`: 0 of 1",
                "approvals of role `releaser`: 1 of 2",
            ],
        );
        let all = [
            ana,
            approval("ben", Role::Releaser),
            approval("eva", Role::Operator),
        ];
        check(wanted, json!([]), &all, &[]);
        let rejected = reasons(
            Stage::Rejected,
            &json!({}),
            &json!([]),
            &BTreeMap::new(),
            &[],
        );
        assert_eq!(rejected.len(), 1);
    }
}
