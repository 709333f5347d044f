//! `telepost prune` as people meet it: what is lost, the question, and what became of it.

use super::arguments::PruneOptions;
use super::ask::{Said, ask};
use super::{Failure, print};
use crate::clock::Clock;
use crate::config::Config;
use crate::ops::prune::Prune;
use crate::state::layout::StateDir;

/// Shows what goes with each session, asks, and removes it.
pub(super) fn run(
    options: &PruneOptions,
    config: &Config,
    state: &StateDir,
    clock: &Clock,
) -> Result<(), Failure> {
    let prune = Prune {
        state,
        config,
        clock,
    };
    let found = prune.find(&options.sessions)?;
    if found.is_empty() {
        return print(
            "Every session that has a folder is in the configuration: nothing to remove.\n",
        );
    }
    for left in &found {
        print(&left.words())?;
    }
    if !options.yes {
        let question = match found.as_slice() {
            [one] => format!("\nRemove session {} for good?", one.id),
            many => format!("\nRemove these {} sessions for good?", many.len()),
        };
        match ask(&question)? {
            Said::Yes => {}
            Said::No => return Err(Failure::NotDone("nothing was removed".to_owned())),
            Said::Nobody => {
                return Err(Failure::NotDone(
                    "nothing was removed: there is no terminal to ask on; run the command again with --yes"
                        .to_owned(),
                ));
            }
        }
    }
    for left in &found {
        prune.remove(left)?;
        print(&format!("Session {} is removed.\n", left.id))?;
    }
    Ok(())
}
