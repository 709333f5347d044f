//! The gateway's writes into an outbox: `outbox::disk` in small.

use std::rc::Rc;

use telepost::ids::MessageId;
use telepost::state::outbox::delivery::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState, FinishedDelivery,
};

use crate::disk::{Died, File, Folder, Name, path};
use crate::world::World;

pub(crate) fn record(
    world: &mut World,
    session: usize,
    id: &DeliveryId,
    progress: &DeliveryState,
) -> Result<(), Died> {
    let to = path(session, Folder::Outbox, Name::Progress(id.clone()));
    world
        .disk
        .write(to, File::Progress(Rc::new(progress.clone())))
}

pub(crate) fn fail(
    world: &mut World,
    session: usize,
    delivery: &Delivery,
    progress: &DeliveryState,
    reason: String,
) -> Result<(), Died> {
    let outcome = DeliveryOutcome::Failed {
        reason,
        message_ids: progress.message_ids(),
    };
    finish(world, session, delivery, outcome)
}

pub(crate) fn finish(
    world: &mut World,
    session: usize,
    delivery: &Delivery,
    outcome: DeliveryOutcome,
) -> Result<(), Died> {
    world.settle(session, &delivery.answers)?;
    let folder = match outcome {
        DeliveryOutcome::Failed { .. } => Folder::Failed,
        DeliveryOutcome::Delivered { .. }
        | DeliveryOutcome::Unknown
        | DeliveryOutcome::Superseded
        | DeliveryOutcome::Dropped { .. } => Folder::Sent,
    };
    let finished = FinishedDelivery {
        delivery: delivery.clone(),
        outcome,
        finished_at: world.now(),
        state: None,
        notes: Vec::new(),
    };
    let to = path(session, folder, Name::Delivery(delivery.id.clone()));
    world.disk.write(to, File::Finished(Rc::new(finished)))?;
    leave(world, session, &delivery.id)
}

pub(crate) fn leave(world: &mut World, session: usize, id: &DeliveryId) -> Result<(), Died> {
    world
        .disk
        .remove(&path(session, Folder::Outbox, Name::Delivery(id.clone())))?;
    world
        .disk
        .remove(&path(session, Folder::Outbox, Name::Progress(id.clone())))
}

pub(crate) fn repeatable(content: &Content) -> bool {
    matches!(content, Content::Reply { .. })
}

/// As `outbox::sender::turn_message`.
pub(crate) fn turn_message(
    world: &World,
    session: usize,
    turn: &DeliveryId,
    before: &DeliveryId,
) -> Option<MessageId> {
    let all = world.disk.all_deliveries(session);
    let mut between = all.iter().rev().filter(|id| *id >= turn && *id < before);
    between.find_map(|id| {
        let finished = world.disk.finished(session, id)?;
        let same = finished.delivery.id == *turn || finished.delivery.turn.as_ref() == Some(turn);
        let progress = matches!(finished.delivery.content, Content::ProgressUpdate { .. });
        finished.outcome.last_message().filter(|_| same && progress)
    })
}
