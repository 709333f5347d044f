//! An agent and its MCP server: `mcp::mailbox`, `mcp::desk` and `mcp::commit` in small, with the same
//! order of writes. Every decision is telepost's: [`Conversation`], [`view::fresh`],
//! [`view::together`], [`Page`]. The session lock is given by taking one action at a time.

use std::collections::BTreeSet;
use std::rc::Rc;

use telepost::ids::{Address, UpdateId};
use telepost::state::agents::holder::short_hash;
use telepost::state::holds::{Conversation, Held, ReplyTarget};
use telepost::state::inbox::entry::EntryName;
use telepost::state::inbox::view::{self, RenderedMessage};
use telepost::state::outbox::delivery::{Content, Delivery, DeliveryId};

use crate::action::{Fate, Where};
use crate::desk::{Desk, Other};
use crate::disk::{Died, File, Folder, Name, path};
use crate::world::{Bug, Made, World};

/// As in `mcp::desk`.
pub(crate) const ACTIVE_NOTE_MS: u128 = 60_000;

#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) session: usize,
    slot: usize,
    life: u32,
    starts: u32,
    pub(crate) alive: bool,
    pub(crate) holder: String,
    /// Deliveries whose answers this process has seen settled.
    settled: BTreeSet<DeliveryId>,
    /// The name of this server process.
    pub(crate) server: String,
    /// The entries that it has surely shown, and the conversation that is answered next.
    read: BTreeSet<EntryName>,
    answering: Option<Address>,
    /// The results that went out, or were cancelled.
    shows: Vec<(Showing, bool)>,
    last: Option<Call>,
}

#[derive(Clone, Debug)]
pub(crate) struct Showing {
    pub(crate) newly: BTreeSet<EntryName>,
    pub(crate) answering: Option<Address>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) keep_open: bool,
    pub(crate) to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Unsaid,
    Home,
    Message(UpdateId),
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

    pub(crate) fn server_lives(&self, server: &str) -> bool {
        let mut agents = self.agents.iter();
        agents.any(|agent| agent.alive && agent.server == server)
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
            starts: 0,
            alive: true,
            holder: format!("a{slot}-0"),
            settled: BTreeSet::new(),
            server: format!("s{slot}-0"),
            read: BTreeSet::new(),
            answering: None,
            shows: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn die(&mut self) {
        self.alive = false;
        self.shows.clear();
        self.settled.clear();
        self.read.clear();
        self.answering = None;
    }

    pub(crate) fn start(&mut self, same: bool) {
        if self.alive {
            return;
        }
        self.alive = true;
        self.starts += 1;
        self.server = format!("s{}-{}", self.slot, self.starts);
        if !same {
            self.life += 1;
            self.holder = format!("a{}-{}", self.slot, self.life);
            self.last = None;
        }
    }

    /// Before every call: a result that went out was read, a cancelled one is taken back.
    fn note_out(&mut self, world: &mut World) -> Result<(), Died> {
        for (showing, heard) in std::mem::take(&mut self.shows) {
            if heard {
                self.read.extend(showing.newly);
                self.answering = showing.answering.or(self.answering);
            } else {
                let mut desk = self.open(world)?;
                let unread = showing.newly.difference(&self.read).copied().collect();
                desk.me.let_go(&unread);
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
            let kept = if alive && !conversation.is_silent(now) {
                conversation.living_entries(|server| world.server_lives(server))
            } else {
                BTreeSet::new()
            };
            others.push(Other {
                conversation,
                alive,
                kept,
            });
        }
        let fresh = || Conversation::new(&self.holder, &self.holder, now);
        let mut me = me_on_disk.clone().unwrap_or_else(fresh);
        me.observe_read(&self.server, &self.read);
        self.read.retain(|entry| me.entries().contains(entry));
        me.reconcile(&pending);
        let held = me.addresses();
        self.answering = self.answering.filter(|address| held.contains(address));
        let mut desk = Desk {
            session,
            holder: self.holder.clone(),
            now,
            pending,
            me,
            me_on_disk,
            others,
            server: self.server.clone(),
            read: self.read.clone(),
            answering: self.answering,
        };
        let noted = desk.me_on_disk.as_ref().map(|me| me.active_at);
        if noted.is_some_and(|at| now.since(at).as_millis() >= ACTIVE_NOTE_MS) {
            desk.save(world, false)?;
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
        let desk = self.open(world)?;
        let address = match to.map(|nth| self.message(world, nth)) {
            Some(None) => return Ok(()),
            Some(Some(id)) => desk.address_of(world, id),
            None => desk.oldest(world),
        };
        let Some(address) = address else {
            return Ok(());
        };
        let (on_page, showing) = desk.show(world, 20, true, Some(address))?;
        self.given_out(world, &on_page, showing, fate);
        Ok(())
    }

    fn given_out(
        &mut self,
        world: &mut World,
        on_page: &[RenderedMessage],
        showing: Showing,
        fate: Fate,
    ) {
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
        if nth.is_multiple_of(4) || all.is_empty() {
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
        if !desk.is_read(&held) && !world.has(Bug::AckUnseen) {
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
            ReplyTarget::Held(address) if !call.keep_open => {
                desk.me.held_at(address).cloned().collect()
            }
            ReplyTarget::Held(_) | ReplyTarget::Own(_) => Vec::new(),
        };
        if answered.iter().any(|held| !desk.is_read(held)) && !world.has(Bug::AnswerUnseen) {
            return Ok(());
        }
        let beside = !call.keep_open
            && matches!(target, ReplyTarget::Own(_))
            && desk.me.held_at(address).next().is_some();
        let entries: Vec<EntryName> = answered
            .iter()
            .flat_map(|held| held.entries.iter().copied())
            .collect();
        let text = call.text.clone();
        let content = if call.keep_open {
            Content::ProgressUpdate { text }
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
        if !entries.is_empty() && !world.has(Bug::CommitBeforeNames) {
            world.disk.sync(self.session, Folder::Inbox)?;
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
