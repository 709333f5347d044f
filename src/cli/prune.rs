//! `telepost prune`: shows the data of each leftover session, asks, and removes it.

use super::arguments::PruneOptions;
use super::failure::Failure;
use super::setup::Setup;
use super::terminal::{Confirmation, confirm, print};
use crate::ops::prune::{LeftoverSession, SessionPruner};

pub(super) fn run(setup: &Setup, options: &PruneOptions) -> Result<(), Failure> {
    let pruner = SessionPruner {
        state: &setup.state,
        config: &setup.config,
        clock: &setup.clock,
    };
    let leftovers = pruner.find(&options.sessions)?;
    if leftovers.is_empty() {
        return print(
            "Every session that has a folder is in the configuration: nothing to remove.\n",
        );
    }
    for leftover in &leftovers {
        print(&describe(leftover))?;
    }
    if !options.yes {
        let question = match leftovers.as_slice() {
            [one] => format!("\nRemove session {} for good?", one.id),
            many => format!("\nRemove these {} sessions for good?", many.len()),
        };
        match confirm(&question)? {
            Confirmation::Yes => {}
            Confirmation::No => return Err(Failure::refused("nothing was removed")),
            Confirmation::NoTerminal => {
                return Err(Failure::refused(
                    "nothing was removed: there is no terminal to ask for confirmation; run the command again with --yes",
                ));
            }
        }
    }
    for leftover in &leftovers {
        pruner.remove(leftover)?;
        print(&format!("Session {} was removed.\n", leftover.id))?;
    }
    Ok(())
}

fn describe(session: &LeftoverSession) -> String {
    format!(
        "Session {} is not in the configuration. Removing it permanently deletes:\n  waiting messages: {}\n  answers that are waiting to be sent: {}\n  answers that could not be delivered: {}\n  its history of the last days, and files received with messages\n  ({})\n",
        session.id,
        session.pending,
        session.outbox,
        session.failed,
        session.folder.display(),
    )
}
