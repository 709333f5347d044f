//! The inbox of a session as the intake sees it: its newest name, and the events of its chats that wait for the next
//! message. Pure.

use crate::ids::Address;
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::{Entry, EntryName};
use crate::state::inbox::view::CONTEXT_MOST;
use crate::telegram::update::{self, Body};

/// How many events of a session wait for the next message.
const EVENTS_MOST: usize = 64;

#[derive(Debug)]
pub(super) struct SessionInbox {
    pub(super) inbox: Inbox,
    /// The newest name.
    pub(super) last_received: i64,
    /// The events that wait for the next message, oldest first.
    pub(super) events: Vec<WaitingEvent>,
    /// The events that a message has taken along, or that are too many.
    pub(super) taken: Vec<EntryName>,
}

impl SessionInbox {
    /// Adds an event; beyond a number the oldest is settled.
    pub(super) fn add_event(&mut self, event: WaitingEvent) {
        self.events.push(event);
        let beyond = self.events.len().saturating_sub(EVENTS_MOST);
        let old = self.events.drain(..beyond);
        self.taken.extend(old.map(|event| event.name));
    }

    /// Takes the events that belong to a message of this address: those of its topic, and those of the whole chat.
    pub(super) fn take_events(&mut self, address: Address) -> Vec<String> {
        let belongs = |event: &mut WaitingEvent| {
            let whole_chat = Address {
                topic_id: None,
                ..address
            };
            event.address == address || event.address == whole_chat
        };
        let events: Vec<WaitingEvent> = self.events.extract_if(.., belongs).collect();
        self.taken.extend(events.iter().map(|event| event.name));
        let beyond = events.len().saturating_sub(CONTEXT_MOST);
        events
            .into_iter()
            .skip(beyond)
            .map(|event| event.line)
            .collect()
    }
}

/// An event, as it will be shown.
#[derive(Debug)]
pub(super) struct WaitingEvent {
    name: EntryName,
    address: Address,
    line: String,
}

impl WaitingEvent {
    pub(super) fn read(entry: &Entry) -> Option<Self> {
        let update = update::read(entry.update.get()).ok()?;
        let Body::Message { message, .. } = &update.body else {
            return None;
        };
        Some(Self {
            name: entry.name(),
            address: entry.address,
            line: message.event_line(),
        })
    }
}
