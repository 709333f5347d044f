//! The invariants after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use telepost::ids::{ChatId, UpdateId};
use telepost::state::outbox::delivery::{Content, DeliveryOutcome};

use crate::world::{Folder, Made, World};

/// An invariant does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

type Checked = Result<(), String>;
type Invariant = (&'static str, fn(&World) -> Checked);

macro_rules! named {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const INVARIANTS: &[Invariant] = named![
    invariant_what_is_confirmed_is_durable,
    invariant_no_admitted_message_is_lost,
    invariant_an_entry_has_at_most_one_living_holder,
    invariant_what_is_settled_was_read_by_who_settled_it,
    invariant_what_is_settled_is_answered_durably,
    invariant_no_delivery_leaves_before_its_answers_are_settled,
    invariant_nothing_is_answered_twice,
    invariant_an_accepted_delivery_is_in_outbox_or_sent,
    invariant_a_chunk_stands_unmarked_at_most_once,
    invariant_the_order_of_a_chat_is_the_order_of_acceptance,
    invariant_nothing_is_sent_to_a_closed_chat,
    invariant_strangers_have_no_entry,
    invariant_the_budget_is_kept,
];

pub(crate) fn check(world: &World) -> Result<(), Fault> {
    for (invariant, holds) in INVARIANTS {
        holds(world).map_err(|what| Fault { invariant, what })?;
    }
    Ok(())
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

fn updates_in(world: &World, folders: &[Folder], survive: bool) -> BTreeSet<UpdateId> {
    let mut all = BTreeSet::new();
    for session in 0..2 {
        for &folder in folders {
            all.append(&mut world.entries(session, folder, survive));
        }
    }
    all
}

fn confirmed(world: &World) -> impl Iterator<Item = &UpdateId> {
    let mut confirmed = world.telegram.confirmed.iter();
    std::iter::from_fn(move || confirmed.next())
        .filter(|id| world.ledger.admitted.contains_key(id))
        .filter(|id| !world.ledger.swept.contains(id))
}

fn invariant_what_is_confirmed_is_durable(world: &World) -> Checked {
    let there = updates_in(world, &[Folder::Inbox, Folder::Done], true);
    for id in confirmed(world) {
        must(there.contains(id), || {
            format!("update {id} is confirmed, but not durable")
        })?;
    }
    Ok(())
}

fn invariant_no_admitted_message_is_lost(world: &World) -> Checked {
    let there = updates_in(world, &[Folder::Inbox, Folder::Done], false);
    for id in confirmed(world) {
        must(there.contains(id), || {
            format!("update {id} is neither in inbox nor in done")
        })?;
    }
    Ok(())
}

fn invariant_an_entry_has_at_most_one_living_holder(world: &World) -> Checked {
    for session in 0..2 {
        let mut holders = BTreeMap::new();
        let mut pending = None;
        let living = world.agents.iter().filter(|agent| agent.is_alive());
        for agent in living.filter(|agent| agent.session == session) {
            let holder = agent.holder.as_str();
            let Some(conversation) = world.holds(session).peek(holder) else {
                continue;
            };
            for entry in conversation.living_entries(|server| world.server_lives(server)) {
                let pending =
                    pending.get_or_insert_with(|| world.entries(session, Folder::Inbox, false));
                let other = holders.insert(entry, holder);
                must(
                    other.is_none() || !pending.contains(&entry.update_id),
                    || format!("{entry} is held by {holder} and {other:?}"),
                )?;
            }
        }
    }
    Ok(())
}

fn exists(world: &World, made: &Made, survive: bool) -> bool {
    [Folder::Outbox, Folder::Sent, Folder::Failed]
        .into_iter()
        .any(|folder| world.has_file(made, folder, survive))
        || world.ledger.swept_deliveries.contains(&made.delivery.id)
}

/// Deliveries that are on disk, or were until they were old.
pub(crate) fn standing(world: &World) -> impl Iterator<Item = &Made> {
    world
        .ledger
        .made
        .values()
        .filter(|made| exists(world, made, false))
}

fn invariant_what_is_settled_was_read_by_who_settled_it(world: &World) -> Checked {
    let read = |holder: &str, id: &UpdateId| {
        world
            .ledger
            .read
            .get(holder)
            .is_some_and(|read| read.contains(id))
    };
    for made in standing(world) {
        for entry in &made.delivery.answers {
            must(read(&made.delivery.holder, &entry.update_id), || {
                format!(
                    "{} answers {entry}, which {} was not shown",
                    made.delivery.id, made.delivery.holder
                )
            })?;
        }
    }
    for (id, holders) in &world.ledger.acked {
        for holder in holders {
            must(read(holder, id), || {
                format!("{holder} acknowledged {id}, which it was not shown")
            })?;
        }
    }
    Ok(())
}

fn invariant_what_is_settled_is_answered_durably(world: &World) -> Checked {
    let mut answered: BTreeSet<UpdateId> = world.ledger.acked.keys().copied().collect();
    for made in world
        .ledger
        .made
        .values()
        .filter(|made| exists(world, made, true))
    {
        answered.extend(made.delivery.answers.iter().map(|entry| entry.update_id));
    }
    let pending = updates_in(world, &[Folder::Inbox], true);
    for id in updates_in(world, &[Folder::Done], true) {
        must(pending.contains(&id) || answered.contains(&id), || {
            format!("update {id} is settled, but a loss of power would take its answer")
        })?;
    }
    Ok(())
}

fn invariant_no_delivery_leaves_before_its_answers_are_settled(world: &World) -> Checked {
    for made in world.ledger.made.values() {
        let id = &made.delivery.id;
        let finished = [Folder::Sent, Folder::Failed].into_iter();
        let mut finished = finished.filter(|folder| world.has_file(made, *folder, false));
        if finished.next().is_none() || world.has_file(made, Folder::Outbox, false) {
            continue;
        }
        let inbox = world.folder(made.session, Folder::Inbox);
        for &entry in &made.delivery.answers {
            let pending = world.shared.disk.has(inbox, &entry.file_name(), true);
            must(!pending, || {
                format!("{id} has left the outbox, and a loss of power would bring {entry} back")
            })?;
        }
    }
    Ok(())
}

fn invariant_nothing_is_answered_twice(world: &World) -> Checked {
    let mut answers = BTreeMap::new();
    for made in standing(world) {
        for entry in &made.delivery.answers {
            let other = answers.insert(entry.update_id, &made.delivery.id);
            must(other.is_none(), || {
                format!(
                    "update {} is answered by {} and {other:?}",
                    entry.update_id, made.delivery.id
                )
            })?;
        }
    }
    Ok(())
}

fn invariant_an_accepted_delivery_is_in_outbox_or_sent(world: &World) -> Checked {
    for made in world.ledger.made.values().filter(|made| made.promised) {
        for survive in [false, true] {
            must(exists(world, made, survive), || {
                format!(
                    "{} was accepted and is gone, or would be after a loss of power",
                    made.delivery.id
                )
            })?;
        }
    }
    Ok(())
}

fn invariant_a_chunk_stands_unmarked_at_most_once(world: &World) -> Checked {
    // The same words may be meant twice, when something new was shown in between.
    let number = |text: &str| text.split('.').next().map(str::to_owned);
    let mut meant: BTreeMap<_, u32> = BTreeMap::new();
    for made in standing(world) {
        *meant
            .entry(number(made.delivery.content.text()))
            .or_default() += 1;
    }
    for (line, count) in &world.telegram.unmarked {
        let meant = meant.get(&number(line)).copied().unwrap_or(0);
        must(*count <= meant, || {
            format!("{line:?} was sent {count} times without the mark, and meant {meant} times")
        })?;
    }
    Ok(())
}

/// Of replies. Progress may come later than what was accepted after it, but not than its turn's reply.
fn invariant_the_order_of_a_chat_is_the_order_of_acceptance(world: &World) -> Checked {
    let mut last = BTreeMap::new();
    let mut over = BTreeMap::new();
    for sent in &world.ledger.requests {
        if let Some(turn) = &sent.turn {
            let until = over.get(turn).copied().unwrap_or(usize::MAX);
            must(
                sent.reply || sent.order > until || until == usize::MAX,
                || format!("progress {} came after the reply of its turn", sent.order),
            )?;
            if sent.reply {
                over.insert(turn.clone(), sent.order);
            }
        }
        if !sent.reply {
            continue;
        }
        let before = last.insert(sent.chat, sent.order).unwrap_or(0);
        must(before <= sent.order, || {
            format!(
                "in chat {} delivery {} came after {before}",
                sent.chat, sent.order
            )
        })?;
    }
    Ok(())
}

fn invariant_nothing_is_sent_to_a_closed_chat(world: &World) -> Checked {
    for sent in &world.ledger.requests {
        must(!sent.gate_closed, || {
            format!(
                "a request at {:?} to chat {}, whose gate is closed",
                sent.at, sent.chat
            )
        })?;
    }
    Ok(())
}

fn invariant_strangers_have_no_entry(world: &World) -> Checked {
    let there = updates_in(world, &[Folder::Inbox, Folder::Done], false);
    match there.intersection(&world.ledger.foreign).next() {
        Some(id) => Err(format!("update {id} must not get in, and has an entry")),
        None => Ok(()),
    }
}

/// In each window that ends with the newest request; the windows before were checked before. A
/// gateway that starts anew begins with a full budget: telegram's own limits have room for that.
fn invariant_the_budget_is_kept(world: &World) -> Checked {
    let Some(newest) = world.ledger.requests.last() else {
        return Ok(());
    };
    let count = |span: u64, chat: Option<ChatId>| {
        let all = world.ledger.requests.iter().rev();
        let recent = all.take_while(|sent| {
            let age = newest.at.saturating_sub(sent.at);
            sent.gateway == newest.gateway && age < Duration::from_secs(span)
        });
        recent
            .filter(|sent| chat.is_none_or(|chat| chat == sent.chat))
            .count()
    };
    let chat = Some(newest.chat);
    let kept =
        count(1, None) <= 29 && count(3, chat) <= 3 && (newest.chat.0 > 0 || count(60, chat) <= 18);
    must(kept, || {
        format!(
            "{} requests of the bot in 1 s, {} to chat {} in 3 s and {} in 60 s",
            count(1, None),
            count(3, chat),
            newest.chat,
            count(60, chat)
        )
    })
}

/// The invariants after a while without faults, when all work is done.
pub(crate) fn after_the_drain(world: &World) -> Result<(), Fault> {
    let drained = || -> Checked {
        must(world.telegram.queue.is_empty(), || {
            "updates wait at Telegram".to_owned()
        })?;
        for session in 0..2 {
            for folder in [Folder::Inbox, Folder::Outbox] {
                let left = world
                    .shared
                    .disk
                    .names(world.folder(session, folder), false);
                must(left.is_empty(), || format!("left in {folder:?}: {left:?}"))?;
            }
        }
        let mut settled: BTreeSet<UpdateId> = world.ledger.acked.keys().copied().collect();
        for made in standing(world) {
            settled.extend(made.delivery.answers.iter().map(|entry| entry.update_id));
        }
        for id in world
            .telegram
            .confirmed
            .iter()
            .filter(|id| world.ledger.admitted.contains_key(id))
        {
            must(settled.contains(id), || {
                format!("update {id} was neither answered nor acknowledged")
            })?;
        }
        for made in world.ledger.made.values().filter(|made| made.promised) {
            delivered(world, made)?;
        }
        Ok(())
    };
    drained().map_err(|what| Fault {
        invariant: "after_the_drain",
        what,
    })
}

fn delivered(world: &World, made: &Made) -> Checked {
    let id = &made.delivery.id;
    let finished = world.outbox(made.session).finished(id, world.now());
    let Some(finished) = finished.ok().flatten() else {
        let swept = world.ledger.swept_deliveries.contains(id);
        return must(swept, || format!("{id} was accepted and not finished"));
    };
    match (&finished.outcome, &made.delivery.content) {
        (DeliveryOutcome::Delivered { .. }, Content::Reply { text, .. }) => {
            let missing = text
                .lines()
                .find(|line| !world.telegram.sent.contains_key(*line));
            must(missing.is_none(), || {
                format!("{id} is delivered without {missing:?}")
            })
        }
        (DeliveryOutcome::Unknown | DeliveryOutcome::Superseded, Content::Reply { .. }) => {
            Err(format!("the reply {id} ended as {:?}", finished.outcome))
        }
        (_, Content::Reply { .. } | Content::ProgressUpdate { .. } | Content::Reaction { .. }) => {
            Ok(())
        }
    }
}
