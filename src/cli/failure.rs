//! Why a command fails, and the exit code that says so.

use std::io;

use super::install::InstallFailure;
use crate::config::ConfigError;
use crate::gateway::GatewayError;
use crate::gateway::singleton::SingletonError;
use crate::ops::OpsError;
use crate::store::StateError;
use crate::store::lock::LockError;

/// How the program ends, besides clap's 2 for a command line that it does not understand. The numbers
/// are public.
pub(super) mod exit {
    pub(in crate::cli) const NOT_DONE: u8 = 1;
    pub(in crate::cli) const USAGE: u8 = 2;
    pub(in crate::cli) const CONFIG: u8 = 3;
    pub(in crate::cli) const ALREADY_RUNNING: u8 = 4;
    pub(in crate::cli) const STORAGE: u8 = 5;
    pub(in crate::cli) const TELEGRAM: u8 = 6;
    pub(in crate::cli) const CLIENT: u8 = 7;
    pub(in crate::cli) const NO_DELIVERY: u8 = 8;
    pub(in crate::cli) const BUG: u8 = 70;
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Singleton(#[from] SingletonError),
    #[error(transparent)]
    Ops(#[from] OpsError),
    #[error(transparent)]
    Install(#[from] InstallFailure),
    #[error("cannot {operation}")]
    Io {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    /// A gateway in the background did not start.
    #[error("{message}")]
    NotStarted { message: String, code: u8 },
    /// The command has printed what is off.
    #[error("")]
    Reported(u8),
}

impl<E: Into<StateError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Ops(OpsError::State(error.into()))
    }
}

impl Failure {
    /// The command was refused, and changed nothing more.
    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Ops(OpsError::Refused(words.into()))
    }

    /// For `map_err`: the operating system refused an operation.
    pub(super) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Gateway(GatewayError::NoTokens(_)) => exit::CONFIG,
            Self::Singleton(error) | Self::Gateway(GatewayError::Singleton(error)) => match error {
                SingletonError::SameState { .. }
                | SingletonError::SameBot { .. }
                | SingletonError::WillNotStop { .. }
                | SingletonError::Unknown(_) => exit::ALREADY_RUNNING,
                SingletonError::Folder { .. } | SingletonError::Store(_) => exit::STORAGE,
            },
            Self::Ops(
                OpsError::Refused(_) | OpsError::State(StateError::Lock(LockError::Held { .. })),
            ) => exit::NOT_DONE,
            Self::Ops(OpsError::NoDelivery(_)) => exit::NO_DELIVERY,
            Self::Gateway(GatewayError::Store(_) | GatewayError::Read(_))
            | Self::Ops(OpsError::State(_))
            | Self::Io { .. } => exit::STORAGE,
            Self::Install(InstallFailure::Usage(_)) => exit::USAGE,
            Self::Install(InstallFailure::Files(_) | InstallFailure::Declined) => exit::CLIENT,
            Self::Gateway(GatewayError::Client(_)) => exit::TELEGRAM,
            Self::Gateway(GatewayError::TaskEnded(_)) => exit::BUG,
            Self::NotStarted { code, .. } | Self::Reported(code) => *code,
        }
    }
}
