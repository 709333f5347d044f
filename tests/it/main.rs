//! The product as people and agents see it: the real binary over real pipes, against the strict
//! simulator. One file per behaviour.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    unused_crate_dependencies,
    reason = "a test fails by panicking, and makes its own files and times"
)]

mod support;

mod absence;
mod architecture;
mod attachments;
mod autostart;
mod cancel;
mod check;
mod cli;
mod closed_topics;
mod commands;
mod compat;
mod crash;
mod crowd;
mod damage;
mod damaged_notes;
mod dead_chats;
mod disk_full;
mod documents;
mod failing_writes;
mod failures;
mod fairness;
mod files_out;
mod files_refused;
mod flipped;
mod flood;
mod foreign;
mod forms;
mod gateway;
mod growth;
mod healing;
mod holders;
mod hooks;
mod hostile;
mod inbound;
mod inbox_command;
mod install;
mod install_sessions;
mod intruders;
mod jumped_clock;
mod keep_open;
mod kinds;
mod late_files;
mod layers;
mod leaks;
mod lines;
mod long_queue;
mod long_replies;
mod lossy;
mod many_waiting;
mod markdown;
mod mentions;
mod message;
mod migration;
mod migration_inbound;
mod missing;
mod missing_bots;
mod news;
mod odd_answers;
mod operator;
mod outbound;
mod outbox;
mod paging;
#[cfg(target_os = "linux")]
mod places;
mod poll;
mod power;
mod progress;
mod proxies;
mod prune;
mod random;
mod react;
mod read_only;
mod receipts;
mod repairs;
mod repeat;
mod reply;
mod round_trip;
mod schema;
mod seeds;
mod startup;
mod status;
mod storm;
mod strangers;
mod texts;
mod tmux;
mod trouble;
mod typing;
mod unanswered;
mod uninstall;
mod vocabulary;
mod wake;
