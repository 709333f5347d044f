//! An error and its causes as one readable line: `a: b: c`.
//!
//! The only place that walks sources; no error repeats its source in its own words.

use std::error::Error;
use std::fmt;

/// Shows an error with all its causes.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let words = error.to_string();
            // A transparent error has the words of its source; once is enough.
            if words != said {
                write!(f, ": {words}")?;
            }
            said = words;
            source = error.source();
        }
        Ok(())
    }
}
