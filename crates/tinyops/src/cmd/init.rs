use std::fs;

use serde::Serialize;
use tinyops_pipeline::FILE_NAME;
use tinyops_store::{Readers, write_new};

use crate::{context::Context, failure::Failure};

/// Write a commented `tinyops.toml` to start a project from
///
/// It says where recordings go, and which choices there are. An existing file is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops init --template vibration --project fan")]
pub(crate) struct Init {
    /// What the recordings are of
    #[arg(long, value_enum, default_value = "vibration")]
    template: Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Template {
    /// Machines, by accelerometer
    Vibration,
    /// People and gestures, by accelerometer and gyroscope
    Motion,
    /// Words and sounds, by microphone
    Audio,
    /// Pictures
    Image,
}

impl Template {
    fn text(self) -> &'static str {
        match self {
            Self::Vibration => include_str!("../../templates/vibration.toml"),
            Self::Motion => include_str!("../../templates/motion.toml"),
            Self::Audio => include_str!("../../templates/audio.toml"),
            Self::Image => include_str!("../../templates/image.toml"),
        }
    }

    /// Where the template looks for recordings, as a person would say it.
    fn place(self) -> &'static str {
        match self {
            Self::Vibration => "data/MACHINE/CONDITION/*.csv",
            Self::Motion => "data/PERSON/ACTIVITY/*.csv",
            Self::Audio => "data/SPEAKER/WORD/*.wav",
            Self::Image => "data/*images*",
        }
    }
}

#[derive(Serialize)]
struct View {
    written: String,
    template: Template,
}

pub(crate) fn run(context: &Context, args: &Init) -> Result<(), Failure> {
    let path = context.root.join(FILE_NAME);
    let refused = |error: std::io::Error| {
        let failure = Failure::question(format!("cannot write `{}`", path.display()));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => failure
                .because("it is there already, and is left as it is")
                .hint("`--project DIR` begins a project in another folder"),
            _ => failure.cause(&error),
        }
    };
    fs::create_dir_all(&context.root).map_err(refused)?;
    write_new(&path, Readers::Usual, args.template.text().as_bytes()).map_err(refused)?;
    let view = View {
        written: path.display().to_string(),
        template: args.template,
    };
    context.terminal.answer(&view, || {
        format!(
            "Wrote {}: read it, it says what can be set\n\
             Put recordings into {}, then `tinyops data validate` and `tinyops run`\n",
            path.display(),
            context.root.join(args.template.place()).display()
        )
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use std::path::Path;
    use tinyops_data::pattern::Pattern;
    use tinyops_pipeline::{Project, RetrainRollout};

    use super::Template;

    #[test]
    fn every_template_is_a_project() {
        for template in Template::value_variants() {
            let project = Project::parse(template.text(), Path::new("tinyops.toml")).unwrap();
            assert!(!project.data.source.is_empty(), "{template:?}");
        }
    }

    #[test]
    fn what_templates_offer_at_their_end_can_be_switched_on() {
        for template in Template::value_variants() {
            let (before, offered) = template.text().split_once("[repair]").unwrap();
            let on = format!("{before}[repair]{}", offered.replace("\n# ", "\n"));
            let project = Project::parse(&on, Path::new("tinyops.toml")).unwrap();
            let (repair, retrain) = (project.repair, project.retrain);
            assert!(repair.personal_head && repair.restandardize > 0.0);
            assert!(retrain.schedule.is_some() && retrain.new_labelled.is_some());
            assert_ne!(retrain.rollout, RetrainRollout::None);
        }
    }

    #[test]
    fn templates_take_whole_labels_from_the_places_that_init_names() {
        for template in Template::value_variants() {
            let project = Project::parse(template.text(), Path::new("tinyops.toml")).unwrap();
            let source = &project.data.source[0];
            let place = template.place().replace("*.", "yes_01.").replace('*', "-");
            let path = place.strip_prefix("data/").unwrap();
            let pattern = Pattern::new(&source.files[0]).unwrap();
            let captures = pattern.matches(path).unwrap_or_else(|| panic!("{path}"));
            if source.label_file.is_none() {
                let folders: Vec<&str> = path.split('/').collect();
                assert_eq!(captures["group"], folders[0], "{template:?}");
                assert_eq!(captures["label"], folders[1], "{template:?}");
            }
        }
    }
}
