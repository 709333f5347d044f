//! The reactions that a bot may set. Pure.
//!
//! Telegram compares code points, without variation selectors (facts: Bot API 10.3,
//! `ReactionTypeEmoji`), and refuses everything else with `REACTION_INVALID`.

/// All of them, in the order of Telegram's documentation, with a space between.
pub const ALLOWED: &str = "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤\u{200d}🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 \
    🍾 💋 🖕 😈 😴 😭 🤓 👻 👨\u{200d}💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 \
    🤷\u{200d}♂ 🤷 🤷\u{200d}♀ 😡";

/// The emoji as Telegram wants it: variation selectors and skin tones go. `None` if it is not
/// among the [`ALLOWED`]; an empty text stays empty and means "no reaction".
pub fn normalise(emoji: &str) -> Option<String> {
    let plain: String = emoji
        .trim()
        .chars()
        .filter(|c| !matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'))
        .collect();
    (plain.is_empty() || ALLOWED.split(' ').any(|allowed| allowed == plain)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variation_selectors_and_skin_tones_are_stripped_before_the_look_up() {
        for (given, sent) in [
            ("❤️", "❤"),
            ("👍🏽", "👍"),
            ("❤️‍🔥", "❤\u{200d}🔥"),
            ("🤷🏻‍♂️", "🤷\u{200d}♂"),
            (" 👀 ", "👀"),
            ("", ""),
        ] {
            assert_eq!(normalise(given).as_deref(), Some(sent), "{given:?}");
        }
    }

    #[test]
    fn what_telegram_would_refuse_is_refused() {
        for emoji in ["✅", "⏳", "thumbs up", "👍👍"] {
            assert_eq!(normalise(emoji), None, "{emoji:?}");
        }
    }

    #[test]
    fn the_list_has_no_variation_selectors_and_no_doubles() {
        let unique: std::collections::BTreeSet<_> = ALLOWED.split(' ').collect();
        assert_eq!(unique.len(), 73);
        assert!(
            ALLOWED
                .split(' ')
                .all(|emoji| normalise(emoji).as_deref() == Some(emoji))
        );
    }
}
