//! The files that came with messages: fetched by the gateway, shown to the agent as paths.
//!
//! On disk: `files/<update_id>/` has the file under a name of ours and `state.json`, which says how it
//! stands; the folder gets its name when both are in it and safe, so it is there as a whole or not at
//! all. What is missing is derived: a pending entry with a file and without a `state.json` is to be
//! fetched. So nothing else has to survive a kill, and whatever is lost here is fetched again.
//!
//! [`state`] is that file with the names and words of ours, [`verdict`] what a failure means (both
//! pure), [`disk`] the store and its quota, [`fetcher`] the tasks that fetch, [`notice`] what the
//! person is told of a file that no bot can fetch.

pub mod disk;
pub mod fetcher;
pub mod notice;
pub mod state;
pub mod verdict;
