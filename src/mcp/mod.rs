//! The MCP server: the calls of one agent.
//!
//! [`server`] is the only module that knows rmcp; [`tools`] has the parameters and results, [`forms`] the
//! forms in which parameters are taken, [`call`] the calls themselves, as read-decide-write steps under the
//! session lock, [`attach`] the files that may be sent and their copies, `long_text` the texts that go as a
//! document, and [`page`] how much fits into a result.
//!
//! Nothing that matters is in memory only: kill the process between two calls and nothing changes.

pub(crate) mod attach;
pub mod call;
pub(crate) mod forms;
mod long_text;
pub mod page;
pub(crate) mod server;
pub mod tools;
