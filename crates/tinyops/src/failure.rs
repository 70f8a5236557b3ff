//! What a person is told when a command cannot do what was asked, and the exit code that says so.

use std::error::Error;

use serde::Serialize;

/// How a command ends when it does not end well. 0 is "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The answer is no: a gate failed, a model does not fit, the fleet did not recover.
    No = 1,
    /// The question was wrong: arguments, settings or data.
    Question = 2,
    /// The environment lacks something, and the hint says how to get it.
    Environment = 3,
}

/// An error at the edge: what, why, and a way out.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    /// The question was wrong.
    pub(crate) fn question(message: impl Into<String>) -> Self {
        Self::new(Exit::Question, message)
    }

    /// The environment lacks something.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// A chain of errors, the first as the message, the others as its causes.
    pub(crate) fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, error.to_string()).chain(error.source())
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    fn chain(mut self, mut source: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(error) = source {
            self.causes.push(error.to_string());
            source = error.source();
        }
        self
    }

    /// Adds an error, and what lies under it, as causes.
    #[must_use]
    pub(crate) fn cause(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.push(error.to_string());
        self.chain(error.source())
    }

    /// Adds a cause in words.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        self.exit as u8
    }

    /// What a person reads.
    pub(crate) fn render(&self, color: bool) -> String {
        let (red, dim, reset) = if color {
            ("\x1b[1;31m", "\x1b[2m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!("{red}error:{reset} {}\n", self.message);
        for cause in &self.causes {
            text += &format!("  {dim}cause:{reset} {cause}\n");
        }
        if let Some(hint) = &self.hint {
            text += &format!("  {dim}hint:{reset} {hint}\n");
        }
        text
    }

    /// What a program reads: `{"error": {"code", "message", "causes", "hint"}}`.
    pub(crate) fn json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct View<'a> {
            code: u8,
            message: &'a str,
            causes: &'a [String],
            hint: Option<&'a str>,
        }
        let view = View {
            code: self.code(),
            message: &self.message,
            causes: &self.causes,
            hint: self.hint.as_deref(),
        };
        serde_json::json!({ "error": view })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_the_style_page_says() {
        let failure = Failure::no("model `gesture@7` does not fit board `nucleo-l432kc`")
            .cause(&std::io::Error::other(
                "arena needs 72912 bytes, board leaves 49152",
            ))
            .hint("`tinyops boards` lists larger ones");
        assert_eq!(
            failure.render(false),
            "error: model `gesture@7` does not fit board `nucleo-l432kc`\n  \
             cause: arena needs 72912 bytes, board leaves 49152\n  \
             hint: `tinyops boards` lists larger ones\n"
        );
        assert_eq!(failure.code(), 1);
        assert_eq!(failure.json()["error"]["code"], 1);
    }
}
