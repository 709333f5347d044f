//! The state of one call: `mcp::desk` in small, see [`crate::agent`].

use std::collections::BTreeSet;
use std::rc::Rc;

use telepost::clock::Timestamp;
use telepost::ids::{Address, MessageId, UpdateId};
use telepost::mcp::page::Page;
use telepost::mcp::tools::ToolResult;
use telepost::state::holds::{Conversation, Held, REPEAT_WITHIN, ReplyTarget};
use telepost::state::inbox::entry::EntryName;
use telepost::state::inbox::view::{self, Item, RenderedMessage};
use telepost::state::outbox::delivery::{Content, Delivery, DeliveryId};

use crate::agent::{ACTIVE_NOTE_MS, Call, Showing, To};
use crate::disk::{Died, File, Folder, Name, path};
use crate::world::{BOT, Bug, World, home};

/// The state of one call.
pub(crate) struct Desk {
    pub(crate) session: usize,
    pub(crate) holder: String,
    pub(crate) now: Timestamp,
    pub(crate) pending: BTreeSet<EntryName>,
    pub(crate) me: Conversation,
    pub(crate) me_on_disk: Option<Conversation>,
    pub(crate) others: Vec<Other>,
    pub(crate) server: String,
    pub(crate) read: BTreeSet<EntryName>,
    pub(crate) answering: Option<Address>,
}

pub(crate) struct Other {
    pub(crate) conversation: Conversation,
    pub(crate) alive: bool,
    pub(crate) kept: BTreeSet<EntryName>,
}

impl Desk {
    pub(crate) fn is_read(&self, held: &Held) -> bool {
        held.is_read(&self.server, &self.read)
    }

    fn read_entries(&self) -> BTreeSet<EntryName> {
        self.me.read_entries(&self.server, &self.read)
    }

    pub(crate) fn save(&mut self, world: &mut World, synced: bool) -> Result<(), Died> {
        let noted = self.me_on_disk.as_ref().map(|me| me.active_at);
        let fresh = noted.is_some_and(|at| self.now.since(at).as_millis() < ACTIVE_NOTE_MS);
        self.me.active_at = noted.filter(|_| fresh).unwrap_or(self.now);
        if self.me_on_disk.as_ref() != Some(&self.me) {
            self.put(world, &self.me, synced)?;
            self.me_on_disk = Some(self.me.clone());
        }
        Ok(())
    }

    fn put(
        &self,
        world: &mut World,
        conversation: &Conversation,
        synced: bool,
    ) -> Result<(), Died> {
        let name = Name::Holder(conversation.holder.clone());
        let to = path(self.session, Folder::Conversations, name);
        let file = File::Conversation(Rc::new(conversation.clone()));
        if synced {
            world.disk.write(to, file)
        } else {
            world.disk.name(to, file)
        }
    }

    pub(crate) fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    pub(crate) fn kept(&self) -> BTreeSet<EntryName> {
        let kept = self.others.iter().flat_map(|other| &other.kept);
        kept.copied().collect()
    }

    pub(crate) fn read(&self, world: &World, name: EntryName) -> Option<Item> {
        let item = world.disk.item(self.session, Folder::Inbox, name)?;
        Some(Item::clone(&item))
    }

    pub(crate) fn fresh(&self, world: &World, only: Option<Address>) -> Vec<RenderedMessage> {
        let (mine, kept) = (self.read_entries(), self.kept());
        let without_kept = world.has(Bug::HoldWithoutLettingGo);
        let items: Vec<Item> = self
            .pending
            .iter()
            .filter(|name| !mine.contains(name) && (without_kept || !kept.contains(name)))
            .filter_map(|name| self.read(world, *name))
            .filter(|item| only.is_none_or(|address| item.address == address))
            .collect();
        view::fresh(&items)
    }

    pub(crate) fn held(&self, world: &World, only: Option<Address>) -> Vec<RenderedMessage> {
        let mut held: Vec<&Held> = self
            .me
            .held
            .iter()
            .filter(|held| self.is_read(held) && only.is_none_or(|address| held.address == address))
            .collect();
        held.sort_by_key(|held| held.entries.first().copied());
        let shown = held.into_iter().filter_map(|held| {
            let entries = held.entries.iter();
            let items: Vec<Item> = entries.filter_map(|name| self.read(world, *name)).collect();
            view::together(&items)
        });
        shown.collect()
    }

    /// `also`: what is held comes after what is new; else only if nothing is new.
    pub(crate) fn show(
        mut self,
        world: &mut World,
        limit: usize,
        also: bool,
        only: Option<Address>,
    ) -> Result<(Vec<RenderedMessage>, Showing), Died> {
        let mut page = Page::new(&ToolResult::default(), limit);
        let mut on_page = Vec::new();
        let place = |page: &mut Page, shown: &RenderedMessage| {
            let message = shown.message.clone().at(self.now, false).part(1);
            message.is_some_and(|message| page.push(message))
        };
        for shown in self.fresh(world, only) {
            if shown.wait(self.now).is_some() {
                continue;
            }
            if !place(&mut page, &shown) {
                break;
            }
            on_page.push(shown);
        }
        if also || page.is_empty() {
            for shown in self.held(world, only) {
                if !place(&mut page, &shown) {
                    break;
                }
                on_page.push(shown);
            }
        }
        let entries = view::entries_of(&on_page);
        let newly: BTreeSet<EntryName> =
            entries.difference(&self.read_entries()).copied().collect();
        for mut other in std::mem::take(&mut self.others) {
            if other.conversation.entries().is_disjoint(&entries)
                || world.has(Bug::HoldWithoutLettingGo)
            {
                continue;
            }
            other.conversation.let_go(&entries);
            if other.conversation.is_idle() && !other.alive {
                let name = Name::Holder(other.conversation.holder.clone());
                world
                    .disk
                    .remove(&path(self.session, Folder::Conversations, name))?;
            } else {
                self.put(world, &other.conversation, false)?;
            }
        }
        let newest = last_accepted(world, self.session);
        let shown_at = Timestamp(self.now.0.max(newest + 1));
        let shown: Vec<&RenderedMessage> = on_page.iter().collect();
        self.me.hold(&shown, &self.server, &self.read, shown_at);
        self.save(world, false)?;
        let answering = only.filter(|address| self.me.held_at(*address).next().is_some());
        Ok((on_page, Showing { newly, answering }))
    }

    pub(crate) fn oldest(&self, world: &World) -> Option<Address> {
        let kept = self.kept();
        let mut names = self.pending.iter().filter(|name| !kept.contains(name));
        names
            .find_map(|name| self.read(world, *name))
            .map(|item| item.address)
    }

    pub(crate) fn address_of(&self, world: &World, id: UpdateId) -> Option<Address> {
        if let Some(held) = self.me.find(id) {
            return Some(held.address);
        }
        let kept = self.kept();
        if let Some(name) = self
            .pending
            .iter()
            .find(|name| name.update_id == id)
            .copied()
        {
            if kept.contains(&name) {
                return None;
            }
            return self.read(world, name).map(|item| item.address);
        }
        let done = world.disk.entries(self.session, Folder::Done);
        let name = done.into_iter().rev().find(|name| name.update_id == id)?;
        let item = world.disk.item(self.session, Folder::Done, name)?;
        Some(item.address)
    }

    pub(crate) fn to(&self, world: &World, to: To) -> Option<Address> {
        match to {
            To::Unsaid => None,
            To::Home => Some(Address {
                bot_id: BOT,
                chat_id: home(self.session),
                topic_id: None,
            }),
            To::Message(id) => self.address_of(world, id),
        }
    }

    pub(crate) fn target(&self, world: &World, to: To) -> Option<ReplyTarget> {
        if to == To::Unsaid {
            return self.me.place(self.answering, &self.me.addresses()).ok();
        }
        let address = self.to(world, to)?;
        if to == To::Home {
            return Some(ReplyTarget::Own(address));
        }
        if self.me.held_at(address).next().is_some() {
            return Some(ReplyTarget::Held(address));
        }
        let waits = |id| self.pending.iter().any(|name| name.update_id == id);
        match to {
            To::Message(id) if waits(id) => None,
            _ => Some(ReplyTarget::Own(address)),
        }
    }

    pub(crate) fn repeated(&self, world: &World, call: &Call) -> Option<DeliveryId> {
        let since = self.now.0 - i64::try_from(REPEAT_WITHIN.as_millis()).unwrap();
        let all = world.disk.all_deliveries(self.session);
        for id in all.into_iter().rev().take_while(|id| id.accepted >= since) {
            let Some(delivery) = world.disk.delivery(self.session, &id) else {
                continue;
            };
            let Content::Reply { text, .. } = &delivery.content else {
                continue;
            };
            if delivery.holder != self.holder {
                continue;
            }
            let same = *text == call.text && self.me.shown_at.0 < id.accepted;
            let elsewhere =
                call.to != To::Unsaid && self.to(world, call.to) != Some(delivery.address);
            return (same && !elsewhere).then_some(id);
        }
        None
    }

    pub(crate) fn delivery(
        &self,
        world: &World,
        key: String,
        address: Address,
        content: Content,
    ) -> Delivery {
        let last = last_accepted(world, self.session);
        let accepted = self.now.0.max(last + 1).max(self.me.shown_at.0 + 1);
        Delivery {
            id: DeliveryId { accepted, key },
            session: world.sessions[self.session].clone(),
            holder: self.holder.clone(),
            address,
            content,
            answers: Vec::new(),
            acked: Vec::new(),
            reply_to: None::<MessageId>,
            as_reply: false,
            resume: None,
            silent: false,
            turn: None,
        }
    }
}

fn last_accepted(world: &World, session: usize) -> i64 {
    let all = world.disk.all_deliveries(session);
    all.last().map_or(0, |id| id.accepted)
}
