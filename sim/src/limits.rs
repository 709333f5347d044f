//! Rate buckets, switched on by tests: about 1 a second per chat (a short burst is fine), 20 a minute per group with
//! edits, 30 a second per bot. The real limits are unknown and adaptive; these are the documented ones.

use std::collections::{BTreeMap, VecDeque};

const CHAT_BURST: usize = 3;
const CHAT_WINDOW_MS: i64 = 3_000;
const GROUP_BURST: usize = 20;
const GROUP_WINDOW_MS: i64 = 60_000;
const BOT_BURST: usize = 30;
const BOT_WINDOW_MS: i64 = 1_000;

/// Recently permitted calls, as times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    chats: BTreeMap<(i64, i64), VecDeque<i64>>,
    bots: BTreeMap<i64, VecDeque<i64>>,
}

impl Buckets {
    /// Lets `count` messages through, or says after how many seconds to come again. A refused call costs nothing.
    pub(crate) fn admit(
        &mut self,
        now_ms: i64,
        bot: i64,
        chat: i64,
        count: usize,
    ) -> Result<(), i64> {
        let in_chat = self.chats.entry((bot, chat)).or_default();
        let of_bot = self.bots.entry(bot).or_default();
        in_chat.retain(|at| *at > now_ms - GROUP_WINDOW_MS);
        of_bot.retain(|at| *at > now_ms - BOT_WINDOW_MS);
        let mut free_at = now_ms;
        free_at = free_at.max(free_after(
            in_chat,
            now_ms,
            CHAT_BURST,
            CHAT_WINDOW_MS,
            count,
        ));
        if chat < 0 {
            free_at = free_at.max(free_after(
                in_chat,
                now_ms,
                GROUP_BURST,
                GROUP_WINDOW_MS,
                count,
            ));
        }
        free_at = free_at.max(free_after(of_bot, now_ms, BOT_BURST, BOT_WINDOW_MS, count));
        if free_at > now_ms {
            return Err((free_at - now_ms + 999) / 1_000);
        }
        in_chat.extend(std::iter::repeat_n(now_ms, count));
        of_bot.extend(std::iter::repeat_n(now_ms, count));
        Ok(())
    }
}

/// When a window has room for `count` more. An album larger than the window gets through when the window is empty.
fn free_after(
    times: &VecDeque<i64>,
    now_ms: i64,
    burst: usize,
    window_ms: i64,
    count: usize,
) -> i64 {
    let recent: Vec<i64> = times
        .iter()
        .copied()
        .filter(|at| *at > now_ms - window_ms)
        .collect();
    let room = burst.saturating_sub(count);
    match recent.len().checked_sub(room + 1) {
        None => now_ms,
        Some(last_to_leave) => recent
            .get(last_to_leave)
            .map_or(now_ms, |at| at + window_ms),
    }
}
