//! A model version as a person names it.

use std::{convert::Infallible, fmt, str::FromStr};

use tinyops_store::{
    Db,
    model::{self, Model, Stage},
};

use crate::{context::Context, failure::Failure};

/// `fan@3`, `fan@production`, or `fan`: its production version, else its newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelRef {
    name: String,
    which: Option<String>,
}

impl FromStr for ModelRef {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (name, which) = match text.split_once('@') {
            Some((name, which)) => (name, Some(which.to_owned())),
            None => (text, None),
        };
        Ok(Self {
            name: name.to_owned(),
            which,
        })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Some(which) => write!(f, "{}@{which}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl ModelRef {
    /// The version it names.
    pub(crate) async fn resolve(&self, db: &Db) -> Result<Model, Failure> {
        let name = &self.name;
        let found = match self.which.as_deref() {
            None => newest_of(db, name).await,
            Some(which) => match (which.parse::<u32>(), Stage::of_word(which)) {
                (Ok(version), _) => model::get(db, name, version).await,
                (_, Some(stage)) => model::in_stage(db, name, stage).await,
                _ => model::by_alias(db, name, which).await,
            },
        };
        found?.ok_or_else(|| {
            Failure::question(format!("model `{self}` is not registered"))
                .hint("`tinyops models ls` lists those that are; `tinyops run` makes one")
        })
    }
}

/// The version that was asked for; without a wish, that of the project in the folder.
pub(crate) async fn chosen(
    context: &Context,
    db: &Db,
    wish: Option<&ModelRef>,
) -> Result<Model, Failure> {
    match wish {
        Some(wish) => wish.resolve(db).await,
        None => {
            let project = context.project()?;
            let own = ModelRef {
                name: project.project.name,
                which: None,
            };
            own.resolve(db).await
        }
    }
}

async fn newest_of(db: &Db, name: &str) -> Result<Option<Model>, tinyops_store::StoreError> {
    match model::in_stage(db, name, Stage::Production).await? {
        Some(model) => Ok(Some(model)),
        None => model::latest(db, name).await,
    }
}

/// `fan@3`
pub(crate) fn title(model: &Model) -> String {
    format!("{}@{}", model.name, model.version)
}
