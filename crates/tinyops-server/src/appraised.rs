//! What versions cost and are worth, kept while nothing changes that it follows from: the sums draw a thousand times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tinyops_pipeline::Project;
use tinyops_pipeline::worth::{
    Appraisal, Bill, WorthError, appraise, bill, previous_of, project_of,
};
use tinyops_store::Digest;
use tinyops_store::model::Model;

use crate::app::App;

/// Versions that are remembered at most; the one that was asked for longest ago goes first.
const KEPT_MAX: usize = 64;

/// What one version costs on its test windows, and is worth.
#[derive(Debug)]
pub(crate) struct Appraised {
    pub bill: Bill,
    pub appraisal: Appraisal,
    /// The settings that it was judged by.
    pub project: Project,
}

/// Those of the versions that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Appraisals(Mutex<VecDeque<(Key, Arc<Appraised>)>>);

/// What an appraisal follows from: two versions, whose predictions never change, and the project's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    model: (String, u32, Digest),
    previous: Option<(u32, Digest)>,
    settings: Digest,
}

/// What a version is worth against the one before it.
///
/// # Errors
/// [`WorthError`].
pub(crate) async fn appraised(app: &App, model: &Model) -> Result<Arc<Appraised>, WorthError> {
    let (db, artifacts) = (app.db(), &app.fleet().artifacts);
    let project = project_of(db, model, Some(&app.workshop().project)).await?;
    let previous = previous_of(db, model).await?;
    let settings = serde_json::to_vec(&project).unwrap_or_default();
    let key = Key {
        model: (model.name.clone(), model.version, model.digest),
        previous: previous.as_ref().map(|of| (of.version, of.digest)),
        settings: Digest::of(&settings),
    };
    let kept = &app.inner().appraisals;
    if let Some(known) = kept.find(&key) {
        return Ok(known);
    }
    let made = Arc::new(Appraised {
        bill: bill(db, artifacts, model, &project.train.costs, None).await?,
        appraisal: appraise(db, artifacts, model, previous.as_ref(), &project).await?,
        project,
    });
    kept.keep(key, Arc::clone(&made));
    Ok(made)
}

impl Appraisals {
    fn find(&self, key: &Key) -> Option<Arc<Appraised>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == key)?;
        let found = kept.remove(place)?;
        let made = Arc::clone(&found.1);
        kept.push_back(found);
        Some(made)
    }

    fn keep(&self, key: Key, made: Arc<Appraised>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_back((key, made));
        while kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }
}
