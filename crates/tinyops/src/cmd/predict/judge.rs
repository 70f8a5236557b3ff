//! What judges: a registered version, or a file with a model, a network or a plan.

use std::{fs, path::Path};

use serde::Serialize;
use tinyops_compile::model_of;
use tinyops_data::dataset::Dataset;
use tinyops_model::{Decision, Model, Task, tflite};
use tinyops_nn::{Plan, record::OpCode};
use tinyops_train::{Predictor, Scores};

use crate::{
    cmd::import::refused,
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
};

/// A model that is ready to predict, and how its scores are read.
pub(super) struct Judge {
    /// `fan@3`, or the file.
    pub(super) title: String,
    pub(super) labels: Vec<String>,
    pub(super) predictor: Predictor,
    task: Task,
    decision: Decision,
}

/// What a window is said to be.
#[derive(Clone, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// One of the labels.
    Class {
        class: String,
        confidence: f32,
        /// Whether the confidence is what the model asks for.
        is_sure: bool,
    },
    /// A quantity.
    Value { value: f32 },
    /// Several quantities: all that a network without labels puts out.
    Values { values: Vec<f32> },
    /// How strange it is.
    Anomaly { score: f32, is_alarm: bool },
}

impl Judge {
    /// The version or the file that was asked for; without a wish, the project's.
    pub(super) async fn find(context: &Context, wish: Option<&str>) -> Result<Self, Failure> {
        if let Some(path) = wish.map(Path::new).filter(|path| path.is_file()) {
            return Self::of_file(path);
        }
        if let Some(path) =
            wish.filter(|wish| wish.contains(['/', '\\']) || wish.ends_with(".tflite"))
        {
            return Err(Failure::question(format!("there is no file `{path}`")));
        }
        let wish: Option<ModelRef> = wish.map(|wish| {
            let Ok(wish) = wish.parse();
            wish
        });
        let (db, artifacts) = context.existing_store().await?;
        let row = chosen(context, &db, wish.as_ref()).await?;
        let model = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
            Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
        })?;
        Self::of_model(title(&row), &model)
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let bytes = fs::read(path)
            .map_err(|error| Failure::question(format!("cannot read `{file}`")).cause(&error))?;
        if bytes.starts_with(&tinyops_nn::record::MAGIC) {
            return Self::of_plan(file, bytes);
        }
        if path
            .extension()
            .is_some_and(|extension| extension == "tflite")
        {
            let graph = tflite::import(&bytes).map_err(|error| refused(&file, &error))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let model = model_of(&name, graph).map_err(|error| Failure::of(Exit::No, &error))?;
            return Self::of_model(file, &model);
        }
        let model = Model::decode(&bytes).map_err(|error| {
            Failure::question(format!("`{file}` is no model"))
                .cause(&error)
                .hint("give a registered name, or a .tflite file, a model or a plan as `tinyops import` writes them")
        })?;
        Self::of_model(file, &model)
    }

    fn of_model(title: String, model: &Model) -> Result<Self, Failure> {
        let predictor =
            Predictor::new(model).map_err(|error| Failure::of(Exit::Question, &error))?;
        Ok(Self {
            title,
            labels: model.labels.clone(),
            predictor,
            task: model.task,
            decision: model.decision,
        })
    }

    /// A plan has no labels: a softmax at its end says that its outputs are classes.
    fn of_plan(file: String, bytes: Vec<u8>) -> Result<Self, Failure> {
        let wrong = |error: tinyops_nn::PlanError| {
            Failure::question(format!("`{file}` is no plan")).cause(&error)
        };
        let plan = Plan::load(&bytes).map_err(wrong)?;
        let last = plan
            .op_count()
            .checked_sub(1)
            .and_then(|last| plan.op(last));
        let is_share = last.is_some_and(|op| op.code == OpCode::Softmax);
        let labels = (0..plan.output().len).map(|index| index.to_string());
        let labels = labels.collect();
        let predictor =
            Predictor::of_program(bytes).map_err(|error| Failure::of(Exit::Question, &error))?;
        Ok(Self {
            title: file,
            labels,
            predictor,
            task: if is_share {
                Task::Classify
            } else {
                Task::Regress
            },
            decision: Decision {
                threshold: 0.0,
                min_confidence: 0.0,
            },
        })
    }

    /// Whether the model takes readings without asking how fast they came.
    pub(super) fn is_timeless(&self) -> bool {
        self.predictor.front_end().rate_hz == 0.0
    }

    /// A model judges only what is measured as its training data was.
    pub(super) fn check(&self, dataset: &Dataset) -> Result<(), Failure> {
        let front_end = self.predictor.front_end();
        let Some(first) = dataset.samples.first() else {
            return Err(Failure::question("there is no recording to judge"));
        };
        let channels = first.channels.len();
        if channels != usize::from(front_end.channel_count) {
            let names: Vec<&str> = first.channels.iter().map(|c| c.name.as_str()).collect();
            return Err(Failure::question(format!(
                "`{}` has {channels} channels ({}), the model takes {}",
                first.name,
                names.join(", "),
                front_end.channel_count
            ))
            .hint("`channels` of the source chooses columns; `--lines` reads one window a line"));
        }
        let rate_hz = first.rate_hz;
        let is_other = (rate_hz / front_end.rate_hz - 1.0).abs() > 0.02;
        if rate_hz > 0.0 && front_end.rate_hz > 0.0 && is_other {
            return Err(Failure::question(format!(
                "`{}` has {rate_hz} readings a second, the model takes {}",
                first.name, front_end.rate_hz
            ))
            .hint("`resample_hz` of the source brings it to the model's rate"));
        }
        Ok(())
    }

    /// Decides as the device does.
    pub(super) fn answer(&self, scores: &Scores, index: usize) -> Answer {
        let row = scores.row(index);
        match self.task {
            Task::Regress if row.len() > 1 => Answer::Values {
                values: row.to_vec(),
            },
            Task::Regress => Answer::Value { value: row[0] },
            Task::Anomaly => Answer::Anomaly {
                score: row[0],
                is_alarm: row[0] > self.decision.threshold,
            },
            Task::Classify => {
                let class = scores.given(index, self.decision.threshold);
                let confidence = row[class].clamp(0.0, 1.0);
                Answer::Class {
                    class: self.labels.get(class).cloned().unwrap_or_default(),
                    confidence,
                    is_sure: confidence >= self.decision.min_confidence,
                }
            }
        }
    }
}

impl Answer {
    /// The word for people, and the number behind it.
    pub(super) fn words(&self) -> (String, f32) {
        match self {
            Self::Class {
                class,
                confidence,
                is_sure,
            } => {
                let doubt = if *is_sure { "" } else { " (unsure)" };
                (format!("{class}{doubt}"), *confidence)
            }
            Self::Value { value } => ("value".to_owned(), *value),
            Self::Values { values } => {
                let greatest = values.iter().copied().fold(f32::MIN, f32::max);
                (format!("{} values, the greatest", values.len()), greatest)
            }
            Self::Anomaly { score, is_alarm } => {
                let word = if *is_alarm { "ALARM" } else { "normal" };
                (word.to_owned(), *score)
            }
        }
    }
}
