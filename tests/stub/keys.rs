//! From bytes to keys, with the paste detectors of the real clients (docs/facts/clients.md 4.4).
//!
//! Both know a paste that says so (bracketed). Else Codex takes an Enter that comes within some 50 ms after
//! a text for a line feed of a paste, and Claude Code one that comes in the same read as a text of about a
//! kilobyte.

use std::time::{Duration, Instant};

use crate::Look;

const BEGIN: &str = "\u{1b}[200~";
const END: &str = "\u{1b}[201~";
const BURST: Duration = Duration::from_millis(50);
const MUCH: usize = 800;

/// A key, or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Text(String),
    Enter,
    /// Control and U.
    Clear,
    /// Backspace.
    Erase,
}

pub(crate) struct Detector {
    look: Look,
    waiting: String,
    in_paste: bool,
    /// When a text last came outside of a paste.
    text_at: Option<Instant>,
}

impl Detector {
    pub(crate) fn new(look: Look) -> Self {
        Self {
            look,
            waiting: String::new(),
            in_paste: false,
            text_at: None,
        }
    }

    /// The keys that these bytes are.
    pub(crate) fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<Key> {
        let came = String::from_utf8_lossy(bytes).into_owned();
        let is_much = came.len() >= MUCH;
        self.waiting.push_str(&came);
        let mut keys = Vec::new();
        while !self.waiting.is_empty() {
            let end = if self.in_paste { END } else { BEGIN };
            if let Some(rest) = self.waiting.strip_prefix(end) {
                self.waiting = rest.to_owned();
                self.in_paste = !self.in_paste;
                continue;
            }
            // The rest of a mark may come with the next read.
            if end.starts_with(&self.waiting) {
                break;
            }
            let character = self.waiting.remove(0);
            let in_burst = match self.look {
                Look::Codex => self
                    .text_at
                    .is_some_and(|at| now.duration_since(at) < BURST),
                Look::ClaudeNew | Look::ClaudeOld | Look::Other => is_much,
            };
            keys.push(match character {
                '\r' | '\n' if self.in_paste || in_burst => Key::Text("\n".to_owned()),
                '\r' => Key::Enter,
                '\u{15}' => Key::Clear,
                '\u{7f}' => Key::Erase,
                character => {
                    if !self.in_paste {
                        self.text_at = Some(now);
                    }
                    Key::Text(character.to_string())
                }
            });
        }
        keys
    }
}
