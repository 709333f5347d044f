//! The reactions that a bot may set. Pure.
//!
//! Telegram compares code points, without variation selectors (facts: Bot API 10.3,
//! `ReactionTypeEmoji`), and refuses everything else with `REACTION_INVALID`.

/// All of them, in the order of Telegram's documentation, each with the names that people and models write
/// instead.
const NAMED: [(&str, &str); 73] = [
    ("❤", "heart|red_heart|love|<3"),
    ("👍", "thumbsup|thumbs_up|thumb_up|+1|like"),
    ("👎", "thumbsdown|thumbs_down|thumb_down|-1|dislike"),
    ("🔥", "fire|flame"),
    (
        "🥰",
        "smiling_face_with_three_hearts|smiling_face_with_3_hearts|smiling_face_with_hearts",
    ),
    ("👏", "clap|clapping|clapping_hands|applause"),
    ("😁", "grin|beaming_face"),
    ("🤔", "thinking|thinking_face"),
    ("🤯", "exploding_head|mind_blown"),
    ("😱", "scream|screaming"),
    ("🤬", "cursing_face|face_with_symbols_on_mouth|swearing"),
    ("😢", "cry|crying|crying_face|sad"),
    ("🎉", "tada|party|party_popper|celebrate"),
    ("🤩", "star_struck"),
    ("🤮", "vomiting|vomiting_face|face_vomiting"),
    ("💩", "poop|poo|hankey|pile_of_poo"),
    ("🙏", "pray|folded_hands|thanks|please"),
    ("👌", "ok_hand|ok|okay"),
    ("🕊", "dove|dove_of_peace|peace"),
    ("🤡", "clown|clown_face"),
    ("🥱", "yawn|yawning_face"),
    ("🥴", "woozy|woozy_face"),
    ("😍", "heart_eyes"),
    ("🐳", "whale|spouting_whale"),
    ("❤\u{200d}🔥", "heart_on_fire"),
    ("🌚", "new_moon_with_face|new_moon_face"),
    ("🌭", "hotdog|hot_dog"),
    ("💯", "100|hundred|hundred_points"),
    ("🤣", "rofl|rolling_on_the_floor_laughing"),
    ("⚡", "zap|lightning|high_voltage"),
    ("🍌", "banana"),
    ("🏆", "trophy"),
    ("💔", "broken_heart"),
    ("🤨", "raised_eyebrow|face_with_raised_eyebrow"),
    ("😐", "neutral|neutral_face"),
    ("🍓", "strawberry"),
    ("🍾", "champagne|bottle_with_popping_cork"),
    ("💋", "kiss|kiss_mark"),
    ("🖕", "middle_finger|fu"),
    ("😈", "smiling_imp|devil"),
    ("😴", "sleeping|sleeping_face"),
    ("😭", "sob|loudly_crying_face"),
    ("🤓", "nerd|nerd_face"),
    ("👻", "ghost"),
    ("👨\u{200d}💻", "technologist|man_technologist"),
    ("👀", "eyes"),
    ("🎃", "jack_o_lantern|pumpkin"),
    ("🙈", "see_no_evil"),
    ("😇", "innocent|halo"),
    ("😨", "fearful|fearful_face"),
    ("🤝", "handshake"),
    ("✍", "writing_hand"),
    ("🤗", "hug|hugs|hugging|hugging_face"),
    ("🫡", "salute|saluting_face"),
    ("🎅", "santa|santa_claus"),
    ("🎄", "christmas_tree"),
    ("☃", "snowman"),
    ("💅", "nail_care|nail_polish"),
    ("🤪", "zany|zany_face"),
    ("🗿", "moyai|moai"),
    ("🆒", "cool"),
    ("💘", "cupid|heart_with_arrow"),
    ("🙉", "hear_no_evil"),
    ("🦄", "unicorn|unicorn_face"),
    ("😘", "kissing_heart|face_blowing_a_kiss"),
    ("💊", "pill"),
    ("🙊", "speak_no_evil"),
    ("😎", "sunglasses|smiling_face_with_sunglasses"),
    ("👾", "space_invader|alien_monster"),
    ("🤷\u{200d}♂", "man_shrugging"),
    ("🤷", "shrug|shrugging|person_shrugging"),
    ("🤷\u{200d}♀", "woman_shrugging"),
    ("😡", "rage|angry|enraged_face|pouting_face"),
];

/// All of them, as a list for people.
pub(crate) fn list_allowed() -> String {
    NAMED.map(|(emoji, _)| emoji).join(" ")
}

/// The emoji as Telegram wants it: variation selectors and skin tones go, and a name such as `:+1:` or "thumbs
/// up" becomes its emoji. `None` if it is none of them; an empty text stays empty and means "no reaction".
pub(crate) fn normalise(emoji: &str) -> Option<&'static str> {
    let plain: String = emoji
        .trim()
        .chars()
        .filter(|c| !matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'))
        .collect();
    if plain.is_empty() {
        return Some("");
    }
    // Slack writes a skin tone as a second name.
    let name = plain.trim_matches(':').split("::").next()?.to_lowercase();
    let words: Vec<&str> = name.split([' ', '_', '-']).collect();
    let name = if name == "-1" { name } else { words.join("_") };
    let is_meant = |(emoji, names): &&(&'static str, &str)| {
        *emoji == plain || names.split('|').any(|one| one == name)
    };
    NAMED.iter().find(is_meant).map(|(emoji, _)| *emoji)
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
            assert_eq!(normalise(given), Some(sent), "{given:?}");
        }
    }

    #[test]
    fn what_telegram_would_refuse_is_refused() {
        for emoji in ["✅", "⏳", "thumb", "👍👍", "::", "1"] {
            assert_eq!(normalise(emoji), None, "{emoji:?}");
        }
    }

    #[test]
    fn a_name_is_taken_as_its_emoji() {
        for (given, sent) in [
            ("thumbsup", "👍"),
            (":+1:", "👍"),
            (":thumbs_up::skin-tone-3:", "👍"),
            ("Thumbs up", "👍"),
            ("-1", "👎"),
            ("star-struck", "🤩"),
            (":heart:", "❤"),
            (":100:", "💯"),
            ("shrug", "🤷"),
        ] {
            assert_eq!(normalise(given), Some(sent), "{given:?}");
        }
    }

    #[test]
    fn the_list_has_no_variation_selectors_and_no_doubles() {
        let names = NAMED.iter().flat_map(|(_, names)| names.split('|'));
        let all: Vec<&str> = NAMED.iter().map(|(emoji, _)| *emoji).chain(names).collect();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        for (emoji, names) in NAMED {
            for one in names.split('|').chain([emoji]) {
                assert_eq!(normalise(one), Some(emoji), "{one}");
            }
        }
    }
}
