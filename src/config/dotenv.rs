//! The file `.env` beside `sessions.json`: one `NAME=value` per line, as shells and dotenv read it.
//!
//! If a name appears twice, the last value counts. A line that cannot be read is a mistake if it may concern one
//! of our variables, else a warning: the file may serve other programs too. No message ever repeats a line, for it
//! may hold a token.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::error::{ConfigError, Problem};
use super::file::{FileFault, read_file};

const UNREADABLE: &str = "make it a text file that you may read (chmod 600), or delete it and set the variables elsewhere";

/// The values that `.env` has for the requested variables.
#[derive(Default)]
pub(super) struct Dotenv {
    values: BTreeMap<String, String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Dotenv {
    /// Reads `file` for `variables`; no such file is an empty one.
    pub(super) fn read(file: &Path, variables: &BTreeSet<&str>) -> Result<Self, ConfigError> {
        let (bytes, mode) = match read_file(file) {
            Ok(read) => read,
            Err(FileFault::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(FileFault::Refused(what, instead)) => {
                return Err(ConfigError::unreadable(file, &what, &instead));
            }
            Err(FileFault::Io(error)) => {
                return Err(ConfigError::unreadable(
                    file,
                    &error.kind().to_string(),
                    UNREADABLE,
                ));
            }
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| ConfigError::unreadable(file, "it is not UTF-8", UNREADABLE))?;
        // The last line needs a line break.
        let text = format!("{}\n", text.trim_start_matches('\u{feff}'));
        let mut dotenv = Self::parse(&text, file, variables);
        if mode & 0o077 != 0 {
            let file = file.display();
            let warning = format!("{file} can be read by others; run: chmod 600 {file}");
            dotenv.warnings.insert(0, warning);
        }
        Ok(dotenv)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn parse(text: &str, file: &Path, variables: &BTreeSet<&str>) -> Self {
        let mut dotenv = Self::default();
        for entry in dotenvy::from_read_iter(text.as_bytes()) {
            match entry {
                Ok((name, value)) if variables.contains(name.as_str()) => {
                    if dotenv.get(&name).is_some_and(|earlier| earlier != value) {
                        let file = file.display();
                        dotenv.warnings.push(format!(
                            "{name} appears twice in {file} with different values; the last one is used"
                        ));
                    }
                    dotenv.values.insert(name, value);
                }
                Err(dotenvy::Error::LineParse(rest, _)) => {
                    dotenv.unreadable(text, &rest, file, variables);
                }
                // A variable of another program; reading from memory has no other errors.
                Ok(_) | Err(_) => {}
            }
        }
        dotenv
    }

    /// `rest` is the line, or what follows its `=`, or everything from an opening quote on.
    fn unreadable(&mut self, text: &str, rest: &str, file: &Path, variables: &BTreeSet<&str>) {
        let first = rest.lines().next().unwrap_or_default().trim();
        let found = text.lines().enumerate().find(|(_, line)| {
            !line.trim_start().starts_with('#') && line.trim_end().ends_with(first)
        });
        let (number, line) = found.map_or((1, ""), |(index, line)| (index + 1, line));
        let concerned = variables
            .iter()
            .find(|name| line.contains(*name) || rest.contains(*name));
        let file = file.display();
        match concerned {
            Some(name) => self.problems.push(Problem::new(
                &format!("line {number} of {file}"),
                format!("cannot be read, and it may be the one for {name}"),
                format!(
                    "write {name}=, then the token, on a line of its own, without spaces and quotes"
                ),
            )),
            None => self.warnings.push(format!(
                "line {number} of {file} cannot be read and is skipped"
            )),
        }
    }
}
