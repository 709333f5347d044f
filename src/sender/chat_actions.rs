//! What is cosmetic: receipts and "typing…", where there is plenty of room.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId};
use crate::sender::attention::{Answer, EYES, Gesture, Spot};
use crate::sender::{Schedule, Sender};
use crate::telegram::api::Api;
use crate::telegram::error::{ApiError, Decision};

/// Longest time that something cosmetic may take.
const GESTURE_TIMEOUT: Duration = Duration::from_secs(10);
/// When a chat that is busy is looked at again for something cosmetic.
const BUSY: Duration = Duration::from_millis(250);

/// A gesture that is over.
pub(super) type Gestured = (Gesture, Result<(), ApiError>);

impl Sender {
    pub(super) fn start_gestures(&mut self, gestures: &mut JoinSet<Gestured>) {
        let now = self.now();
        loop {
            let (bots, schedules) = (&self.bots, &self.schedules);
            let wait = |bot: BotId, chat: ChatId| match bots.get(&bot) {
                None => Some(GESTURE_TIMEOUT),
                Some(state) => state.closed_for(chat).or_else(|| {
                    let room = schedules
                        .get(&bot)
                        .is_none_or(|schedule| schedule.has_room_for_gesture(chat, now));
                    (!room).then_some(BUSY)
                }),
            };
            let Some(gesture) = self.watcher.next(now, wait) else {
                return;
            };
            let (bot, chat) = gesture.place();
            if matches!(gesture, Gesture::Put(_))
                && let Err(error) = self.watcher.save(bot)
            {
                tracing::warn!(error = %Chain(&error), "a receipt is left out, because it cannot be noted");
                self.watcher.attention.dropped(gesture);
                continue;
            }
            let Some(api) = self.bots.get(&bot).map(|bot| bot.api.clone()) else {
                continue;
            };
            let pace = self.pace;
            let schedule = self
                .schedules
                .entry(bot)
                .or_insert_with(|| Schedule::new(pace));
            schedule.gesture_begun(chat);
            gestures.spawn(async move {
                let answer = tokio::time::timeout(GESTURE_TIMEOUT, gesticulate(&api, gesture));
                let answer = answer
                    .await
                    .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())));
                (gesture, answer)
            });
        }
    }

    pub(super) fn gesture_ended(&mut self, (gesture, answer): Gestured) {
        let (bot, chat) = gesture.place();
        let now = self.now();
        if let Some(schedule) = self.schedules.get_mut(&bot) {
            schedule.gesture_ended(chat, now);
        }
        let answer = match answer {
            Ok(()) => Answer::Done,
            Err(error) => {
                tracing::debug!(bot_id = bot.0, chat_id = chat.0, %error, ?gesture, "left out");
                let refused = matches!(error, ApiError::Refused { .. });
                if let Decision::CloseGate(wait) = error.decision() {
                    self.close_gate(bot, chat, wait);
                    // A 👀 that was to be taken away still stands.
                    match gesture {
                        Gesture::Take(_) => Answer::Unknown,
                        Gesture::Put(_) | Gesture::Type(_) => Answer::Refused,
                    }
                } else if refused {
                    Answer::Refused
                } else {
                    Answer::Unknown
                }
            }
        };
        if self.watcher.attention.ended(gesture, answer, now)
            && let Err(error) = self.watcher.save(bot)
        {
            tracing::warn!(error = %Chain(&error), "cannot note that a receipt is gone");
        }
    }
}

async fn gesticulate(api: &Api, gesture: Gesture) -> Result<(), ApiError> {
    let react = async |spot: Spot, emoji| {
        let to = Address {
            bot_id: spot.bot,
            chat_id: spot.chat,
            topic_id: None,
        };
        api.react(to, spot.message, emoji).await
    };
    match gesture {
        Gesture::Put(spot) => react(spot, EYES).await,
        Gesture::Take(spot) => react(spot, "").await,
        Gesture::Type(address) => api.typing(address).await,
    }
}
