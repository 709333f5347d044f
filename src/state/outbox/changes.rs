//! Changes in the outboxes, as a watch reports them.

use std::path::{Path, PathBuf};

use crate::ids::SessionId;
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::watch::Interest;

const OUTBOX: &str = "outbox";
const DROPS: &str = "drops";

/// A new name in the outbox of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxChange {
    /// The session.
    pub session: SessionId,
    /// The delivery.
    pub id: DeliveryId,
    /// Whether a person has asked to drop it; else it was accepted.
    pub is_drop: bool,
}

impl OutboxChange {
    /// The change that a path such as `…/sessions/ONE/outbox/<name>` stands for, if it is one.
    pub fn at(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        let is_drop = match folder.file_name()?.to_str()? {
            OUTBOX => false,
            DROPS => true,
            _ => return None,
        };
        Some(Self {
            session: SessionId::new(folder.parent()?.file_name()?.to_str()?).ok()?,
            id: delivery_id(path)?,
            is_drop,
        })
    }
}

impl Outbox {
    /// The folders whose new names are [changes](OutboxChange).
    pub fn watched_folders(&self) -> [PathBuf; 2] {
        [self.dir.outbox(), self.dir.drops()]
    }
}

/// How much a changed path in these folders matters to the sender. Its own records do not matter.
pub fn classify_change(path: &Path, is_gone: bool) -> Interest {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_record = |stem: &std::ffi::OsStr| stem.to_string_lossy().ends_with(".progress");
    if is_gone || name.starts_with('.') || path.file_stem().is_some_and(is_record) {
        Interest::None
    } else if delivery_id(path).is_some() {
        Interest::Name
    } else {
        Interest::All
    }
}

fn delivery_id(path: &Path) -> Option<DeliveryId> {
    let name = path.file_name()?.to_str()?;
    DeliveryId::parse(name.strip_suffix(".json")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: &str = "1700000000000-0123456789abcdef0123456789abcdef";

    #[test]
    fn only_deliveries_and_requests_to_drop_them_are_changes() {
        let at =
            |path: &str| OutboxChange::at(&PathBuf::from(format!("/state/sessions/ONE/{path}")));
        for (folder, is_drop) in [("outbox", false), ("drops", true)] {
            let change = at(&format!("{folder}/{DELIVERY}.json")).unwrap();
            assert_eq!((change.session.as_str(), change.is_drop), ("ONE", is_drop));
            assert_eq!(change.id.to_string(), DELIVERY);
        }
        for other in [
            format!("sent/{DELIVERY}.json"),
            format!("outbox/{DELIVERY}.progress.json"),
            format!("outbox/{DELIVERY}"),
        ] {
            assert_eq!(at(&other), None, "{other}");
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
            assert_eq!(classify_change(&path, false), interest, "{name}");
            assert_eq!(classify_change(&path, true), Interest::None, "{name}");
        }
    }
}
