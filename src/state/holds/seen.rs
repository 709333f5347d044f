//! Marks that a result has gone out: an empty file `seen/<holder>.<show>` for each result that showed
//! something, until the holder's conversation says so itself.
//!
//! A file of its own, because it is made while the client waits for the last byte of its result: making
//! an empty file needs no lock and nothing to be synced, and takes a fraction of the time in which the
//! conversation could be replaced. Lost with the power, it only means that messages are shown once more.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::holds::{Conversation, ShowId};
use crate::state::layout::SessionDir;
use crate::store::StoreError;
use crate::store::atomic;
use crate::store::crash_points::Step;
use crate::store::format;

/// The marks of a session that conversations may not have taken over yet.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<String, BTreeSet<ShowId>>);

impl Marks {
    /// The marks of now. Read before the conversations: what a conversation has taken over is not
    /// marked any more.
    pub fn read(dir: &SessionDir) -> Result<Self, StoreError> {
        let mut marks: BTreeMap<String, BTreeSet<ShowId>> = BTreeMap::new();
        for name in atomic::list_names(&dir.seen())? {
            if let Some((holder, show)) = parse(&name) {
                marks.entry(holder.to_owned()).or_default().insert(show);
            }
        }
        Ok(Self(marks))
    }

    /// Takes over what concerns a conversation.
    pub fn apply(&self, conversation: &mut Conversation) {
        if let Some(shows) = self.0.get(&conversation.holder) {
            conversation.went_out(shows);
        }
    }

    /// Removes those that nobody needs: of one holder what its conversation, as it is on disk now, has
    /// taken over, and all of holders that have no conversation any more. The caller holds the session
    /// lock.
    pub fn clear(
        &mut self,
        dir: &SessionDir,
        mine: &Conversation,
        others: &BTreeSet<&str>,
    ) -> Result<(), StoreError> {
        for (holder, shows) in &mut self.0 {
            let mut gone = BTreeSet::new();
            if *holder == mine.holder {
                let needed: BTreeSet<ShowId> = mine.shows().collect();
                gone.extend(shows.difference(&needed).copied());
            } else if !others.contains(holder.as_str()) {
                gone.clone_from(shows);
            }
            for show in gone {
                atomic::remove_file(&dir.seen().join(name(holder, show)), Step::Release)?;
                shows.remove(&show);
            }
        }
        Ok(())
    }
}

/// The name of a result, which no other one has.
pub fn new_show() -> ShowId {
    // As many bits as every reader of JSON keeps.
    ShowId(fastrand::u64(..1 << 53))
}

/// Marks that a result has gone out to the client.
pub fn mark(dir: &SessionDir, holder: &str, show: ShowId) -> Result<(), StoreError> {
    atomic::create_empty(&dir.seen().join(name(holder, show)), Step::Seen)
}

/// A conversation as it stands, if it can be read; what is wrong with one is for the agents to report.
pub fn peek(dir: &SessionDir, holder: &str) -> Option<Conversation> {
    let marks = Marks::read(dir).unwrap_or_default();
    let mut conversation: Conversation =
        format::peek(&dir.conversations().join(format!("{holder}.json")))?;
    marks.apply(&mut conversation);
    Some(conversation)
}

/// All conversations that can be read.
pub fn peek_all(dir: &SessionDir) -> Result<Vec<Conversation>, StoreError> {
    let marks = Marks::read(dir)?;
    let mut all = Vec::new();
    for name in atomic::list_names(&dir.conversations())? {
        let conversation: Option<Conversation> = format::peek(&dir.conversations().join(name));
        all.extend(conversation.map(|mut conversation| {
            marks.apply(&mut conversation);
            conversation
        }));
    }
    Ok(all)
}

/// Whose mark a file in `seen/` is.
pub fn holder_of(name: &str) -> Option<&str> {
    parse(name).map(|(holder, _)| holder)
}

fn name(holder: &str, show: ShowId) -> String {
    format!("{holder}.{}", show.0)
}

fn parse(name: &str) -> Option<(&str, ShowId)> {
    let (holder, show) = name.rsplit_once('.')?;
    Some((holder, ShowId(show.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_holder_and_its_show() {
        let show = ShowId(9_007_199_254_740_991);
        let name = name("process-27261-1104296b95b79c96", show);
        assert_eq!(parse(&name), Some(("process-27261-1104296b95b79c96", show)));
        for other in ["", "7", "process-1-2.", "process-1-2.x", "notes.txt"] {
            assert_eq!(holder_of(other), None, "{other}");
        }
    }
}
