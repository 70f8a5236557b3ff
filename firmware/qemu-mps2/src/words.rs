//! Words of the command line: where the flash is, and what is to go wrong where a test wants it.
//!
//! ```text
//! cut=N        the power goes in the middle of the operation of the flash with this number, counted from switching on
//! fades=N      bits of a word that is cut that do not fall any more
//! dead=PAGE    a page that is not erased
//! stuck=AT     a word that is not written; the offset in the file
//! hangs=ID     the program hangs at the first reading that the model with this id takes
//! flash=FILE   the last word: where the flash is; it may hold blanks
//! ```

use tinyops_wire::ModelId;

use crate::flash::Faults;

/// What the command line says.
pub struct Words<'a> {
    /// The file that the flash is.
    pub flash: &'a str,
    /// What is wrong with it.
    pub faults: Faults,
    /// The model that the program hangs with.
    pub hangs: Option<ModelId>,
}

impl Words<'_> {
    /// `None` for a word that is not known, and where none says where the flash is.
    pub fn read(line: &str) -> Option<Words<'_>> {
        let (before, flash) = line.split_once("flash=")?;
        let mut words = Words {
            flash,
            faults: Faults::default(),
            hangs: None,
        };
        for word in before.split_ascii_whitespace() {
            // The first is the program's own name.
            let Some((what, number)) = word.split_once('=') else {
                continue;
            };
            let number = number.parse().ok()?;
            match what {
                "cut" => words.faults.cut = Some(number),
                "fades" => words.faults.fades = number,
                "dead" => words.faults.dead = Some(number),
                "stuck" => words.faults.stuck = Some(number),
                "hangs" => words.hangs = Some(ModelId(number)),
                _ => return None,
            }
        }
        Some(words)
    }
}
