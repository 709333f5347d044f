//! Texts that are too long for a chat: beyond [`MOST_MESSAGES`] they go as one document, with their beginning as
//! text. Pure.

use crate::telegram::format;
use crate::telegram::split::{MESSAGE_LIMIT, split};

/// Most messages of one reply.
const MOST_MESSAGES: usize = 20;
/// Most characters of a reply that goes as messages.
const MOST_CHARACTERS: usize = 80_000;
/// A text of so few bytes never becomes that many messages.
const SURELY_SHORT: usize = 4000;
/// Most characters of a reply at all.
pub(super) const LONGEST: usize = 2_000_000;
/// Most characters of the beginning.
const BEGINNING: usize = 1000;
pub(super) const FILE_NAME: &str = "answer.md";

/// The beginning of a text that goes as a document, if it does.
pub(super) fn beginning(text: &str) -> Option<String> {
    let is_long = text.len() > SURELY_SHORT
        && (text.chars().count() > MOST_CHARACTERS
            || split(&format::markdown(text), MESSAGE_LIMIT).len() > MOST_MESSAGES);
    if !is_long {
        return None;
    }
    let end = text
        .char_indices()
        .nth(BEGINNING)
        .map_or(text.len(), |(at, _)| at);
    let head = text.get(..end).unwrap_or_default();
    // At the end of a line or word, if one is near.
    let cut = ["\n", " "].into_iter().find_map(|separator| {
        let at = head.rfind(separator)?;
        head.get(at..)
            .is_some_and(|rest| rest.chars().count() <= BEGINNING / 10)
            .then_some(at)
    });
    let head = head.get(..cut.unwrap_or(head.len())).unwrap_or_default();
    Some(format!("{}\n…", head.trim_end()))
}

/// Says to the agent in which form its text goes.
pub(super) fn notice(text: &str) -> String {
    format!(
        "The text has {} characters, too many for messages in a chat: it is sent as the document {FILE_NAME}, with its beginning as the message. Prefer a short answer, with the details as a file of your own in `files`.",
        with_commas(text.chars().count())
    )
}

/// A number as people read it, such as `2,000,000`.
pub(super) fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
