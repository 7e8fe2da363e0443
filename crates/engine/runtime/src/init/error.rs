//! Why an init gave up, in a form that fits a message.

use std::fmt;

/// A sentence and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct InitError {
    /// 127 when the program is not there, 126 when it cannot be executed, else 1.
    pub code: u8,
    message: String,
}

impl InitError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    pub fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says what was being done when the kernel refused.
pub(crate) fn failed<E: fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> InitError {
    let doing = doing.into();
    move |error| InitError::new(format!("{doing}: {error}"))
}
