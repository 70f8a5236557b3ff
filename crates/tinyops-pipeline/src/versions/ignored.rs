//! `.tinyopsignore`: what is no recording, in the grammar of `.gitignore`.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::VersionError;

/// The file's name.
pub(super) const IGNORE_FILE: &str = ".tinyopsignore";

/// The rules of a folder and of those above it, the nearest last.
#[derive(Default)]
pub(super) struct Rules(Vec<Gitignore>);

impl Rules {
    /// The rules of the project's folder and of those down to `folder`, without its own.
    pub(super) fn above(root: &Path, folder: &Path) -> Result<Rules, VersionError> {
        let mut rules = Rules::default();
        let mut above: Vec<&Path> = folder.ancestors().skip(1).collect();
        above.retain(|above| above.starts_with(root));
        for folder in above.into_iter().rev() {
            rules.enter(folder)?;
        }
        Ok(rules)
    }

    /// Adds the rules of a folder, if it has some; whether it has.
    pub(super) fn enter(&mut self, folder: &Path) -> Result<bool, VersionError> {
        let path = folder.join(IGNORE_FILE);
        if !path.is_file() {
            return Ok(false);
        }
        let explain = |error: ignore::Error| VersionError::Ignore {
            path: path.display().to_string(),
            message: error.to_string(),
        };
        let mut builder = GitignoreBuilder::new(folder);
        if let Some(error) = builder.add(&path) {
            return Err(explain(error));
        }
        self.0.push(builder.build().map_err(explain)?);
        Ok(true)
    }

    /// Takes the rules of the folder away that was entered last.
    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// Whether a file or folder is left out.
    pub(super) fn leave_out(&self, path: &Path, is_folder: bool) -> bool {
        for rules in self.0.iter().rev() {
            match rules.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}
