//! The choice of the session that an MCP server serves.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::env::Env;
use super::error::{ConfigError, Problem};
use super::paths::{canonical, variable};
use super::sessions::no_such_session;
use super::{Config, Session};
use crate::ids::SessionId;

const SESSION_VARIABLE: &str = "TG_SESSION_ID";

/// The reason for the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// `--session`.
    #[serde(rename = "--session")]
    Flag,
    /// `TG_SESSION_ID`.
    #[serde(rename = "TG_SESSION_ID")]
    Environment,
    /// The working directory, by `cwd` of the session.
    #[serde(rename = "cwd")]
    WorkingDirectory,
    /// Nothing else: `default`.
    #[serde(rename = "default")]
    Default,
}

impl Binding {
    /// Whether this very session was chosen, so that it may be woken before its first call.
    pub fn is_explicit(self) -> bool {
        self != Self::Default
    }

    /// The place that named the session.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "--session",
            Self::Environment => SESSION_VARIABLE,
            Self::WorkingDirectory => "cwd",
            Self::Default => "default",
        }
    }
}

impl Config {
    /// The session to serve: `flag` (`--session`), else `TG_SESSION_ID`, else the session with the
    /// longest `cwd` that contains the working directory `cwd`, else `default`.
    pub fn serving(
        &self,
        flag: Option<&str>,
        env: &Env,
        cwd: Option<&Path>,
    ) -> Result<(&Session, Binding), ConfigError> {
        if let Some(id) = flag {
            return Ok((self.named(id, "--session")?, Binding::Flag));
        }
        if let Some(id) = env.get(SESSION_VARIABLE) {
            let session = self.named(id, &variable(SESSION_VARIABLE))?;
            return Ok((session, Binding::Environment));
        }
        if let Some(session) = cwd.and_then(|cwd| self.containing(cwd)) {
            return Ok((session, Binding::WorkingDirectory));
        }
        let session = self.named(self.default.as_str(), "default")?;
        Ok((session, Binding::Default))
    }

    fn named(&self, id: &str, place: &str) -> Result<&Session, ConfigError> {
        self.sessions.get(id).ok_or_else(|| {
            let unknown = no_such_session(id, self.sessions.keys().map(SessionId::as_str));
            let file = self.path.display();
            let headline = format!("it is not clear which session of {file} to serve:");
            ConfigError::new(&headline, Problem::from_violation(place, unknown))
        })
    }

    /// Compares whole components, as written and without links, so that the way of reaching a folder does not
    /// matter.
    fn containing(&self, cwd: &Path) -> Option<&Session> {
        let real = canonical(cwd);
        let depth = |session: &Session| {
            let folder = session.cwd.as_deref()?;
            let real_folder = canonical(folder);
            let contains = real.starts_with(&real_folder) || cwd.starts_with(folder);
            contains.then(|| real_folder.components().count())
        };
        self.sessions
            .values()
            .filter_map(|session| Some((depth(session)?, session)))
            .max_by_key(|&(depth, _)| depth)
            .map(|(_, session)| session)
    }
}
