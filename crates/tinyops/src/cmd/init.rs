use std::{fs, io::Write as _};

use serde::Serialize;
use tinyops_pipeline::FILE_NAME;

use crate::{context::Context, failure::Failure};

/// Write a commented `tinyops.toml` to start a project from
///
/// An existing file is left alone.
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
                .because("it is there already")
                .hint("`--project DIR` writes it elsewhere"),
            _ => failure.cause(&error),
        }
    };
    fs::create_dir_all(&context.root).map_err(refused)?;
    let mut file = fs::File::create_new(&path).map_err(refused)?;
    file.write_all(args.template.text().as_bytes())
        .map_err(refused)?;
    let view = View {
        written: path.display().to_string(),
        template: args.template,
    };
    context.terminal.answer(&view, || {
        format!(
            "Wrote {}\nPut recordings under {} and say `tinyops run`\n",
            path.display(),
            context.root.join("data").display()
        )
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use std::path::Path;
    use tinyops_pipeline::Project;

    use super::Template;

    #[test]
    fn every_template_is_a_project() {
        for template in Template::value_variants() {
            let project = Project::parse(template.text(), Path::new("tinyops.toml")).unwrap();
            assert!(!project.data.source.is_empty(), "{template:?}");
        }
    }
}
