//! The MCP side: what an agent's calls do.
//!
//! [`server`] is the only module that knows rmcp; [`tools`] has the parameters and results,
//! [`conversation`] the memory of what an agent was shown (pure), [`seen`] the marks that it has surely
//! got that, [`holder`] who an agent is,
//! [`mailbox`] the calls themselves, as read-decide-write steps under the session lock (`desk` shows,
//! `commit` accepts), [`attach`] which files may be sent and the copies of them, and [`page`] how much of it fits into a result.
//!
//! On disk: `conversations/<holder>.json`, `seen/<holder>.<show>` and `agents/<pid>-<start>.json`. Nothing that matters is
//! in memory only: kill the process between two calls and nothing changes.

pub mod attach;
mod commit;
pub mod conversation;
mod desk;
pub mod holder;
pub mod late;
pub mod mailbox;
pub mod page;
pub mod seen;
pub mod server;
pub mod told;
pub mod tools;
mod trouble;
