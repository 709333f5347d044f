//! An agent and its MCP server: `mcp::mailbox`, `mcp::desk` and `mcp::commit` in small, with the same
//! order of writes. Every decision is telepost's: [`Conversation`], [`view::fresh`],
//! [`view::together`], [`Page`]. The session lock is given by taking one action at a time.

use std::collections::BTreeSet;
use std::rc::Rc;

use telepost::clock::Timestamp;
use telepost::ids::{Address, MessageId, UpdateId};
use telepost::inbox::entry::EntryName;
use telepost::inbox::view::{self, Item, Shown};
use telepost::mcp::conversation::{Conversation, Held, Mark, REPEAT_WITHIN, Target};
use telepost::mcp::holder::short_hash;
use telepost::mcp::page::Page;
use telepost::mcp::tools::ToolResult;
use telepost::outbox::delivery::{Content, Delivery, DeliveryId};
use telepost::store::format::FORMAT;

use crate::action::{Fate, Where};
use crate::disk::{Died, File, Folder, Name, path};
use crate::world::{BOT, Bug, Made, World};

/// As in `mcp::desk`.
const ACTIVE_NOTE_MS: u128 = 60_000;

#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) session: usize,
    slot: usize,
    life: u32,
    pub(crate) alive: bool,
    pub(crate) holder: String,
    /// Deliveries whose answers this process has seen settled.
    settled: BTreeSet<DeliveryId>,
    /// What was shown, to be noted as seen or taken back before the next call.
    shows: Vec<(Showing, bool)>,
    last: Option<Call>,
}

#[derive(Clone, Debug)]
struct Showing {
    newly: BTreeSet<EntryName>,
    before: Mark,
    after: Mark,
}

#[derive(Clone, Debug)]
struct Call {
    id: u64,
    text: String,
    keep_open: bool,
    to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Unsaid,
    Home,
    Message(UpdateId),
}

/// What lies on the desk during one call.
struct Desk {
    session: usize,
    holder: String,
    now: Timestamp,
    pending: BTreeSet<EntryName>,
    me: Conversation,
    me_on_disk: Option<Conversation>,
    others: Vec<Other>,
    answering: Option<Address>,
}

struct Other {
    conversation: Conversation,
    alive: bool,
    keeps: bool,
}

impl World {
    pub(crate) fn conversation(&self, session: usize, holder: &str) -> Option<Rc<Conversation>> {
        match self.disk.get(
            session,
            Folder::Conversations,
            Name::Holder(holder.to_owned()),
        ) {
            Some(File::Conversation(conversation)) => Some(Rc::clone(conversation)),
            _ => None,
        }
    }

    pub(crate) fn is_alive(&self, holder: &str) -> bool {
        self.agents
            .iter()
            .any(|agent| agent.alive && agent.holder == holder)
    }
}

impl Agent {
    pub(crate) fn new(session: usize, slot: usize) -> Self {
        Self {
            session,
            slot,
            life: 0,
            alive: true,
            holder: format!("a{slot}-0"),
            settled: BTreeSet::new(),
            shows: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn die(&mut self) {
        self.alive = false;
        self.shows.clear();
        self.settled.clear();
    }

    pub(crate) fn start(&mut self, same: bool) {
        if self.alive {
            return;
        }
        self.alive = true;
        if !same {
            self.life += 1;
            self.holder = format!("a{}-{}", self.slot, self.life);
            self.last = None;
        }
    }

    /// Before every call: what went out is noted as seen, what was cancelled is taken back.
    fn note_out(&mut self, world: &mut World) -> Result<(), Died> {
        for (showing, heard) in std::mem::take(&mut self.shows) {
            let mut desk = self.open(world)?;
            if heard {
                desk.me.confirm(&showing.newly);
                desk.save(world, false)?;
            } else {
                desk.me
                    .unshow(&showing.newly, &showing.before, &showing.after);
                desk.save(world, true)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, world: &mut World) -> Result<Desk, Died> {
        let (session, now) = (self.session, world.now());
        self.settle_committed(world)?;
        let pending: BTreeSet<EntryName> = world
            .disk
            .entries(session, Folder::Inbox)
            .into_iter()
            .collect();
        let files: Vec<_> = world
            .disk
            .list(session, Folder::Conversations)
            .filter_map(|(path, file)| match file {
                File::Conversation(conversation) => Some((path.clone(), Rc::clone(conversation))),
                _ => None,
            })
            .collect();
        let mut me_on_disk = None;
        let mut others = Vec::new();
        for (path, conversation) in files {
            let mut conversation = Conversation::clone(&conversation);
            if conversation.holder == self.holder {
                me_on_disk = Some(conversation);
                continue;
            }
            conversation.reconcile(&pending);
            let alive = world.is_alive(&conversation.holder);
            if !alive && conversation.is_idle() {
                world.disk.remove(&path)?;
                continue;
            }
            let keeps = alive && !conversation.is_silent(now);
            others.push(Other {
                conversation,
                alive,
                keeps,
            });
        }
        let fresh = || Conversation::new(&self.holder, &self.holder, now);
        let mut me = me_on_disk.clone().unwrap_or_else(fresh);
        me.reconcile(&pending);
        let mut desk = Desk {
            session,
            holder: self.holder.clone(),
            now,
            pending,
            me,
            me_on_disk,
            others,
            answering: None,
        };
        let noted = desk.me_on_disk.as_ref().map(|me| me.active_at);
        if noted.is_some_and(|at| now.since(at).as_millis() >= ACTIVE_NOTE_MS) {
            desk.save(world, true)?;
        }
        Ok(desk)
    }

    fn settle_committed(&mut self, world: &mut World) -> Result<(), Died> {
        let waiting = world.disk.deliveries(self.session, Folder::Outbox);
        self.settled.retain(|id| waiting.contains(id));
        let mut synced = world.has(Bug::OutboxUnsynced);
        for id in waiting {
            if self.settled.contains(&id) {
                continue;
            }
            if !synced {
                world.disk.sync(self.session, Folder::Outbox)?;
                synced = true;
            }
            if let Some(delivery) = world.disk.waiting(self.session, &id) {
                world.settle(self.session, &delivery.answers)?;
                self.settled.insert(id);
            }
        }
        Ok(())
    }

    /// `telegram_poll`.
    pub(crate) fn show(&mut self, world: &mut World, limit: usize, fate: Fate) -> Result<(), Died> {
        self.note_out(world)?;
        let desk = self.open(world)?;
        let (on_page, showing) = desk.show(world, limit, false, None)?;
        self.given_out(world, &on_page, showing, fate);
        Ok(())
    }

    /// `telegram_reply` without text.
    pub(crate) fn show_conversation(
        &mut self,
        world: &mut World,
        to: Option<u8>,
        fate: Fate,
    ) -> Result<(), Died> {
        self.note_out(world)?;
        let mut desk = self.open(world)?;
        let address = match to.map(|nth| self.message(world, nth)) {
            Some(None) => return Ok(()),
            Some(Some(id)) => desk.address_of(world, id),
            None => desk.oldest(world),
        };
        let Some(address) = address else {
            return Ok(());
        };
        desk.answering = Some(address);
        let (on_page, showing) = desk.show(world, 20, true, Some(address))?;
        self.given_out(world, &on_page, showing, fate);
        Ok(())
    }

    fn given_out(&mut self, world: &mut World, on_page: &[Shown], showing: Showing, fate: Fate) {
        let heard = matches!(fate, Fate::Heard | Fate::HeardThenDead);
        if heard {
            let read = world.ledger.read.entry(self.holder.clone()).or_default();
            read.extend(
                view::entries_of(on_page)
                    .iter()
                    .map(|entry| entry.update_id),
            );
        }
        if !matches!(fate, Fate::Dead) {
            self.shows.push((showing, heard));
        }
    }

    /// One of the messages that this agent has read or that the session has.
    fn message(&self, world: &World, nth: u8) -> Option<UpdateId> {
        let read = world.ledger.read.get(&self.holder);
        let mut all: Vec<UpdateId> = read.into_iter().flatten().copied().collect();
        if nth % 4 == 0 || all.is_empty() {
            let pending = world.disk.entries(self.session, Folder::Inbox);
            all.extend(pending.iter().map(|name| name.update_id));
        }
        let count = all.len().min(12);
        (count > 0).then(|| all[all.len() - 1 - usize::from(nth) % count])
    }

    pub(crate) fn ack(&mut self, world: &mut World, nth: u8) -> Result<(), Died> {
        self.note_out(world)?;
        let Some(id) = self.message(world, nth) else {
            return Ok(());
        };
        let mut desk = self.open(world)?;
        let Some(held) = desk.me.find(id).cloned() else {
            return Ok(());
        };
        if !held.seen && !world.has(Bug::AckUnseen) {
            return Ok(());
        }
        for entry in &held.entries {
            let acked = world.ledger.acked.entry(entry.update_id).or_default();
            acked.insert(self.holder.clone());
        }
        world.settle(self.session, &held.entries)?;
        desk.forget_settled(&held.entries);
        desk.save(world, true)
    }

    pub(crate) fn write(
        &mut self,
        world: &mut World,
        long: bool,
        keep_open: bool,
        to: Where,
    ) -> Result<(), Died> {
        let to = match to {
            Where::Unsaid => To::Unsaid,
            Where::Home => To::Home,
            Where::Message { nth } => match self.message(world, nth) {
                Some(id) => To::Message(id),
                None => return Ok(()),
            },
        };
        let number = world.unique();
        // Every line is unique, so that it can be followed.
        let lines = if long && !keep_open { 60 } else { 1 };
        let line = |line| {
            format!(
                "d{number}.{line}{}",
                " filler".repeat(if lines > 1 { 12 } else { 0 })
            )
        };
        let text = (0..lines).map(line).collect::<Vec<_>>().join("\n");
        let call = Call {
            id: number,
            text,
            keep_open,
            to,
        };
        self.last = Some(call.clone());
        self.reply(world, &call)
    }

    pub(crate) fn repeat(&mut self, world: &mut World, same_call: bool) -> Result<(), Died> {
        let Some(mut call) = self.last.clone() else {
            return Ok(());
        };
        if !same_call {
            // A model that did not hear the result says the same again; progress it words anew.
            if call.keep_open {
                return Ok(());
            }
            call.id = world.unique();
        }
        self.reply(world, &call)
    }

    fn reply(&mut self, world: &mut World, call: &Call) -> Result<(), Died> {
        self.note_out(world)?;
        let mut desk = self.open(world)?;
        let key = short_hash(&[&call.id.to_string(), &call.text]);
        let all = world.disk.all_deliveries(self.session);
        if let Some(id) = all.iter().find(|id| id.key == key) {
            promise(world, id);
            return Ok(());
        }
        if !call.keep_open
            && let Some(id) = desk.repeated(world, call)
        {
            promise(world, &id);
            return Ok(());
        }
        let Some(target) = desk.target(world, call.to) else {
            return Ok(());
        };
        let address = target.address();
        let answered: Vec<Held> = match target {
            Target::Held(address) if !call.keep_open => desk.me.held_at(address).cloned().collect(),
            Target::Held(_) | Target::Own(_) => Vec::new(),
        };
        if answered.iter().any(|held| !held.seen) && !world.has(Bug::AnswerUnseen) {
            return Ok(());
        }
        let beside = !call.keep_open
            && matches!(target, Target::Own(_))
            && desk.me.held_at(address).next().is_some();
        let entries: Vec<EntryName> = answered
            .iter()
            .flat_map(|held| held.entries.iter().copied())
            .collect();
        let text = call.text.clone();
        let content = if call.keep_open {
            Content::Progress { text }
        } else {
            Content::Reply {
                text,
                files: Vec::new(),
                options: Vec::new(),
            }
        };
        let newest = answered
            .iter()
            .max_by_key(|held| held.entries.first().copied());
        let delivery = Delivery {
            reply_to: newest.map(|held| held.message_id),
            answers: entries.clone(),
            turn: desk.me.turn(address).filter(|_| !beside).cloned(),
            ..desk.delivery(world, key, address, content)
        };
        if world.has(Bug::SettleBeforeCommit) {
            world.settle(self.session, &entries)?;
        }
        accept(world, self.session, &delivery)?;
        if !beside {
            world.settle(self.session, &entries)?;
            desk.forget_settled(&entries);
            if call.keep_open {
                desk.me
                    .progressed(address, delivery.turn.as_ref().unwrap_or(&delivery.id));
            } else {
                desk.me.replied(address);
            }
            desk.save(world, true)?;
        }
        promise(world, &delivery.id);
        Ok(())
    }

    pub(crate) fn react(&mut self, world: &mut World) -> Result<(), Died> {
        self.note_out(world)?;
        let desk = self.open(world)?;
        let Some((address, message_id)) =
            desk.me.newest().map(|held| (held.address, held.message_id))
        else {
            return Ok(());
        };
        let key = short_hash(&["react", &world.unique().to_string()]);
        let content = Content::Reaction {
            message_id,
            emoji: "👍".to_owned(),
        };
        let delivery = desk.delivery(world, key, address, content);
        accept(world, self.session, &delivery)?;
        promise(world, &delivery.id);
        Ok(())
    }

    /// A good agent: looks, and answers every conversation that it was shown.
    pub(crate) fn answer_all(&mut self, world: &mut World) -> Result<(), Died> {
        self.show(world, 20, Fate::Heard)?;
        self.note_out(world)?;
        let held = world.conversation(self.session, &self.holder);
        let held = held
            .map(|conversation| conversation.held.clone())
            .unwrap_or_default();
        let mut done = BTreeSet::new();
        for held in held {
            if done.insert(held.address) {
                let call = Call {
                    id: world.unique(),
                    text: format!("d{}.0", world.count),
                    keep_open: false,
                    to: To::Message(held.update_id),
                };
                self.reply(world, &call)?;
            }
        }
        Ok(())
    }
}

fn accept(world: &mut World, session: usize, delivery: &Delivery) -> Result<(), Died> {
    let to = path(session, Folder::Outbox, Name::Delivery(delivery.id.clone()));
    world
        .disk
        .name(to, File::Delivery(Rc::new(delivery.clone())))?;
    let made = Made {
        order: world.ledger.made.len(),
        session,
        delivery: delivery.clone(),
        promised: false,
    };
    world.ledger.made.insert(delivery.id.clone(), made);
    if world.has(Bug::WordBeforeSync) {
        promise(world, &delivery.id);
    }
    world.disk.sync(session, Folder::Outbox)
}

fn promise(world: &mut World, id: &DeliveryId) {
    if let Some(made) = world.ledger.made.get_mut(id) {
        made.promised = true;
    }
}

impl Desk {
    fn save(&mut self, world: &mut World, synced: bool) -> Result<(), Died> {
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

    fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    fn kept(&self) -> BTreeSet<EntryName> {
        let others = self.others.iter().filter(|other| other.keeps);
        others
            .flat_map(|other| other.conversation.entries())
            .collect()
    }

    fn read(&self, world: &World, name: EntryName) -> Option<Item> {
        let item = world.disk.item(self.session, Folder::Inbox, name)?;
        Some(Item::clone(&item))
    }

    fn fresh(&self, world: &World, only: Option<Address>) -> Vec<Shown> {
        let (mine, kept) = (self.me.seen(), self.kept());
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

    fn held(&self, world: &World, only: Option<Address>) -> Vec<Shown> {
        let mut held: Vec<&Held> = self
            .me
            .held
            .iter()
            .filter(|held| held.seen && only.is_none_or(|address| held.address == address))
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
    fn show(
        mut self,
        world: &mut World,
        limit: usize,
        also: bool,
        only: Option<Address>,
    ) -> Result<(Vec<Shown>, Showing), Died> {
        let mut page = Page::new(&ToolResult::default(), limit);
        let mut on_page = Vec::new();
        let place = |page: &mut Page, shown: &Shown| {
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
        let newly: BTreeSet<EntryName> = entries.difference(&self.me.seen()).copied().collect();
        if !newly.is_empty() {
            world.disk.sync(self.session, Folder::Inbox)?;
        }
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
                if !world.has(Bug::LetGoUnsynced) {
                    world.disk.sync(self.session, Folder::Conversations)?;
                }
            } else {
                self.put(world, &other.conversation, true)?;
            }
        }
        let newest = last_accepted(world, self.session);
        let shown_at = Timestamp(self.now.0.max(newest + 1));
        let before = self.me.mark();
        let answering = self.answering.or(self.me.answering);
        self.me.hold(&on_page.iter().collect::<Vec<_>>(), shown_at);
        self.me.answering = answering.filter(|address| self.me.held_at(*address).next().is_some());
        self.save(world, true)?;
        let after = self.me.mark();
        Ok((
            on_page,
            Showing {
                newly,
                before,
                after,
            },
        ))
    }

    fn oldest(&self, world: &World) -> Option<Address> {
        let kept = self.kept();
        let mut names = self.pending.iter().filter(|name| !kept.contains(name));
        names
            .find_map(|name| self.read(world, *name))
            .map(|item| item.address)
    }

    fn address_of(&self, world: &World, id: UpdateId) -> Option<Address> {
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

    fn to(&self, world: &World, to: To) -> Option<Address> {
        match to {
            To::Unsaid => None,
            To::Home => Some(Address {
                bot_id: BOT,
                chat_id: world.home(self.session),
                topic_id: None,
            }),
            To::Message(id) => self.address_of(world, id),
        }
    }

    fn target(&self, world: &World, to: To) -> Option<Target> {
        if to == To::Unsaid {
            return self.me.place().ok();
        }
        let address = self.to(world, to)?;
        if to == To::Home {
            return Some(Target::Own(address));
        }
        if self.me.held_at(address).next().is_some() {
            return Some(Target::Held(address));
        }
        let waits = |id| self.pending.iter().any(|name| name.update_id == id);
        match to {
            To::Message(id) if waits(id) => None,
            _ => Some(Target::Own(address)),
        }
    }

    fn repeated(&self, world: &World, call: &Call) -> Option<DeliveryId> {
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

    fn delivery(&self, world: &World, key: String, address: Address, content: Content) -> Delivery {
        let last = last_accepted(world, self.session);
        let accepted = self.now.0.max(last + 1).max(self.me.shown_at.0 + 1);
        Delivery {
            format: FORMAT,
            id: DeliveryId { accepted, key },
            session: world.sessions[self.session].clone(),
            holder: self.holder.clone(),
            address,
            content,
            answers: Vec::new(),
            reply_to: None::<MessageId>,
            silent: false,
            turn: None,
        }
    }
}

fn last_accepted(world: &World, session: usize) -> i64 {
    let all = world.disk.all_deliveries(session);
    all.last().map_or(0, |id| id.accepted)
}
