//! Changes in the folders of a session that concern the sender, as a watch reports them.

use std::path::{Path, PathBuf};

use crate::ids::SessionId;
use crate::state::SessionDir;
use crate::state::outbox::DeliveryId;
use crate::store::watch::Interest;

/// A new name in the folder of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChange {
    /// The session.
    pub session: SessionId,
    /// The file with that name.
    pub file: ChangedFile,
}

/// A file that is new, or has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedFile {
    /// A delivery was accepted.
    Accepted(DeliveryId),
    /// A person has asked to drop a delivery.
    Drop(DeliveryId),
    /// The holds of this agent.
    Holds(String),
}

impl SessionChange {
    /// The folders in which deliveries and requests to drop them appear.
    pub fn folders_of_deliveries(dir: &SessionDir) -> [PathBuf; 2] {
        [dir.outbox(), dir.drops()]
    }

    /// The folder with the holds of the agents.
    pub fn folder_of_holds(dir: &SessionDir) -> PathBuf {
        dir.conversations()
    }

    /// The change that a path such as `…/sessions/ONE/outbox/<name>` stands for, if it is one.
    pub fn at(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let file = match folder.file_name()?.to_str()? {
            "outbox" => ChangedFile::Accepted(DeliveryId::parse(stem)?),
            "drops" => ChangedFile::Drop(DeliveryId::parse(stem)?),
            "conversations" => ChangedFile::Holds(stem.to_owned()),
            _ => return None,
        };
        let session = SessionId::new(folder.parent()?.file_name()?.to_str()?).ok()?;
        Some(Self { session, file })
    }

    /// How much a changed path in these folders matters to the sender. Its own records do not matter.
    pub fn interest(path: &Path, is_gone: bool) -> Interest {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let change = Self::at(path);
        let is_hold =
            matches!(&change, Some(change) if matches!(change.file, ChangedFile::Holds(_)));
        if name.starts_with('.') || name.ends_with(".progress.json") || (is_gone && !is_hold) {
            Interest::None
        } else if change.is_some() {
            Interest::Name
        } else {
            Interest::All
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: &str = "1700000000000-0123456789abcdef0123456789abcdef";

    #[test]
    fn only_deliveries_requests_to_drop_them_and_holds_are_changes() {
        let id = DeliveryId::parse(DELIVERY).unwrap();
        for (path, expected) in [
            (
                format!("outbox/{DELIVERY}.json"),
                Some(ChangedFile::Accepted(id.clone())),
            ),
            (
                format!("drops/{DELIVERY}.json"),
                Some(ChangedFile::Drop(id)),
            ),
            (
                "conversations/a.json".to_owned(),
                Some(ChangedFile::Holds("a".to_owned())),
            ),
            (format!("sent/{DELIVERY}.json"), None),
            (format!("outbox/{DELIVERY}.progress.json"), None),
            (format!("outbox/{DELIVERY}"), None),
        ] {
            let change = SessionChange::at(&PathBuf::from(format!("/state/sessions/ONE/{path}")));
            let session = change
                .as_ref()
                .map(|change| change.session.as_str().to_owned());
            assert_eq!(
                session,
                expected.as_ref().map(|_| "ONE".to_owned()),
                "{path}"
            );
            assert_eq!(change.map(|change| change.file), expected, "{path}");
        }
    }

    #[test]
    fn a_record_of_the_sender_is_of_no_interest_and_an_unknown_name_asks_for_a_scan() {
        for (name, interest) in [
            (format!("{DELIVERY}.json"), Interest::Name),
            (format!("{DELIVERY}.progress.json"), Interest::None),
            (format!(".{DELIVERY}.json.tmp"), Interest::None),
            ("other".to_owned(), Interest::All),
        ] {
            let path = PathBuf::from("/state/sessions/ONE/outbox").join(&name);
            assert_eq!(SessionChange::interest(&path, false), interest, "{name}");
            assert_eq!(
                SessionChange::interest(&path, true),
                Interest::None,
                "{name}"
            );
        }
    }
}
