//! Tokens: where they come from, what is refused, and that none is ever printed.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::config::error::quote;

const OTHER: &str = "700002:BBHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw2";
const RENEWED: &str = "700001:CCHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw3";

/// A folder with the issue's configuration and a `.env`.
struct TokenFolder {
    folder: tempfile::TempDir,
    config: Config,
}

impl TokenFolder {
    fn new(sessions: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        let config = Config::parse(sessions, &path, &env()).unwrap();
        Self { folder, config }
    }

    fn dotenv(self, text: &str, mode: u32) -> Self {
        let path = self.path();
        put(&path, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(".env")
    }

    fn read(&self, pairs: &[(&str, &str)]) -> Result<Tokens, ConfigError> {
        Tokens::read(&self.config, &Env::from_pairs(pairs.iter().copied()))
    }

    fn refused(&self, pairs: &[(&str, &str)], path: &str, what: &str, fix: &str) {
        let error = self.read(pairs).unwrap_err();
        let file = self.config.path.display();
        assert_eq!(
            error.to_string(),
            format!(
                "{file} cannot be used because of 1 mistake:\n  {path}: {what}\n    fix: {fix}"
            )
        );
        assert!(!format!("{error:?}{error}").contains("HdqTcvCH1vGWJx"));
    }
}

fn set(token: &str) -> TokenState {
    TokenState::Set(Token::parse(token).unwrap())
}

fn of<'t>(tokens: &'t Tokens, id: &str) -> &'t TokenState {
    tokens.of(&SessionId::new(id).unwrap()).unwrap()
}

#[test]
fn the_environment_wins_over_dotenv() {
    let folder = TokenFolder::new(ISSUE).dotenv(
        &format!("BOT_TOKEN_01={TOKEN}\nBOT_TOKEN_02={TOKEN}\n"),
        0o600,
    );
    let tokens = folder.read(&[("BOT_TOKEN_02", OTHER)]).unwrap();
    assert_eq!(of(&tokens, "SESSION_X01"), &set(OTHER));
    assert_eq!(of(&tokens, "SESSION_X02"), &set(TOKEN));
    assert_eq!(tokens.warnings(), Vec::<String>::new());
    assert!(
        std::env::vars_os().all(|(name, _)| name != "BOT_TOKEN_01"),
        "nothing enters the environment"
    );
    let bots = tokens.bots();
    assert_eq!(
        bots.keys().map(|id| id.0).collect::<Vec<_>>(),
        [700_001, 700_002]
    );
    assert_eq!(
        bots[&BotId(700_002)].sessions,
        [SessionId::new("SESSION_X01").unwrap()]
    );
}

#[test]
fn an_unset_token_is_no_mistake() {
    let folder = TokenFolder::new(ISSUE).dotenv("BOT_TOKEN_01=\n", 0o600);
    let tokens = folder.read(&[("BOT_TOKEN_02", OTHER)]).unwrap();
    assert_eq!(
        of(&tokens, "SESSION_X02"),
        &TokenState::Unset {
            variable: "BOT_TOKEN_01".to_owned()
        }
    );
    assert_eq!(tokens.bots().len(), 1);
    assert_eq!(tokens.iter().count(), 2);
    assert_eq!(
        TokenFolder::new(ISSUE).read(&[]).unwrap().bots().len(),
        0,
        "without any .env"
    );
}

#[test]
fn dotenv_is_read_as_people_write_it() {
    for text in [
        format!("\u{feff}BOT_TOKEN_01={TOKEN}"),
        format!("# a comment\r\nexport BOT_TOKEN_01=\"{TOKEN}\"\r\n"),
        format!("BOT_TOKEN_01='{TOKEN}' # mine, don't share"),
        format!("BOT_TOKEN_01 = {TOKEN}  "),
        format!("OTHER=a b\nBOT_TOKEN_01={TOKEN}\n"),
    ] {
        let tokens = TokenFolder::new(ISSUE)
            .dotenv(&text, 0o600)
            .read(&[])
            .unwrap();
        assert_eq!(of(&tokens, "SESSION_X02"), &set(TOKEN), "{text}");
    }
}

#[test]
fn what_is_odd_in_dotenv_is_a_warning() {
    let folder = TokenFolder::new(ISSUE).dotenv(
        &format!("BOT_TOKEN_01={OTHER}\nX=a b\nBOT_TOKEN_01={TOKEN}\n"),
        0o640,
    );
    let tokens = folder.read(&[]).unwrap();
    let file = folder.path();
    let file = file.display();
    assert_eq!(
        tokens.warnings(),
        [
            format!("{file} can be read by others; run: chmod 600 {file}"),
            format!("line 2 of {file} cannot be read and is skipped"),
            format!(
                "BOT_TOKEN_01 appears twice in {file} with different values; the last one is used"
            ),
        ]
    );
    assert_eq!(of(&tokens, "SESSION_X02"), &set(TOKEN));
}

#[test]
fn a_line_of_dotenv_that_cannot_be_read() {
    let folder =
        TokenFolder::new(ISSUE).dotenv(&format!("# tokens\nBOT_TOKEN_01={TOKEN} {OTHER}\n"), 0o600);
    folder.refused(
        &[],
        &format!("line 2 of {}", folder.path().display()),
        "cannot be read, and it may be the one for BOT_TOKEN_01",
        "write BOT_TOKEN_01=, then the token, on a line of its own, without spaces and quotes",
    );
    let folder =
        TokenFolder::new(ISSUE).dotenv(&format!("X=\"open\nBOT_TOKEN_01={TOKEN}\n"), 0o600);
    folder.refused(
        &[],
        &format!("line 1 of {}", folder.path().display()),
        "cannot be read, and it may be the one for BOT_TOKEN_01",
        "write BOT_TOKEN_01=, then the token, on a line of its own, without spaces and quotes",
    );
}

#[test]
fn a_dotenv_that_is_no_file() {
    let folder = TokenFolder::new(ISSUE);
    std::fs::create_dir(folder.path()).unwrap();
    assert_eq!(
        folder.read(&[]).unwrap_err().to_string(),
        format!(
            "{} cannot be read:\n  is a directory\n    fix: make it a text file that you may read (chmod 600), or delete \
             it and set the variables elsewhere",
            folder.path().display()
        )
    );
}

#[test]
fn malformed_tokens() {
    let fix = "copy the whole token as Telegram gave it: digits, a colon, 35 characters, no spaces (telepost never prints it)";
    for (token, why) in [
        (
            "HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
            "there is no colon in it",
        ),
        (
            "bot700001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
            "the part before the colon is not a number",
        ),
        (
            "+700001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
            "the part before the colon is not a number",
        ),
        (
            "0:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
            "the part before the colon is not a number",
        ),
        (
            "700001:AAHdqTcvCH1vGWJx SeofSAs0K5PALDsaw1",
            "the part after the colon contains a character that no token has",
        ),
        (
            "700001:AAHdqTcvCH1vGWJx",
            "the part after the colon is too short",
        ),
    ] {
        let what = |place: &str| {
            format!("the variable BOT_TOKEN_01, set in {place}, does not hold a bot token: {why}")
        };
        let folder = TokenFolder::new(ISSUE);
        folder.refused(
            &[("BOT_TOKEN_01", token)],
            "sessions.SESSION_X02.bot_token_env",
            &what("the environment"),
            fix,
        );
        let folder = folder.dotenv(&format!("BOT_TOKEN_01=\"{token}\""), 0o600);
        let place = folder.path().display().to_string();
        folder.refused(
            &[],
            "sessions.SESSION_X02.bot_token_env",
            &what(&place),
            fix,
        );
    }
}

#[test]
fn one_malformed_token_of_two_sessions_is_told_once() {
    let folder = TokenFolder::new(&with_two(("chat_ids", "[5]"), ("chat_ids", "[6]")));
    assert_eq!(
        folder
            .read(&[("BOT_TOKEN_01", "x")])
            .unwrap_err()
            .problems()
            .len(),
        1
    );
    let tokens = folder.read(&[("BOT_TOKEN_01", TOKEN)]).unwrap();
    assert_eq!(tokens.bots()[&BotId(700_001)].sessions.len(), 2);
}

#[test]
fn one_bot_under_two_names_in_one_chat() {
    TokenFolder::new(ISSUE).refused(
        &[("BOT_TOKEN_01", TOKEN), ("BOT_TOKEN_02", TOKEN)],
        "sessions.SESSION_X02.chat_ids",
        "chat 195061634 is also in sessions.SESSION_X01.chat_ids, and BOT_TOKEN_02 and BOT_TOKEN_01 are the same bot \
         700001: a message from there could belong to either session",
        "give each session a chat of its own, or a bot of its own (another token, another `bot_token_env`)",
    );
}

#[test]
fn two_tokens_of_one_bot() {
    let two = r#"{"sessions": {
        "A": {"bot_token_env": "T1", "chat_ids": [5], "allowed_users": [5]},
        "B": {"bot_token_env": "T2", "chat_ids": [6], "allowed_users": [6]}}, "default": "A"}"#;
    let folder = TokenFolder::new(two);
    assert!(
        folder.read(&[("T1", TOKEN), ("T2", TOKEN)]).is_ok(),
        "the same bot for different chats"
    );
    folder.refused(
        &[("T1", TOKEN), ("T2", RENEWED)],
        "sessions.B.bot_token_env",
        "T1 and T2 hold two different tokens of the same bot 700001, and Telegram accepts only the newer one",
        "delete the older one and let both sessions name the same variable",
    );
}

proptest! {
    #[test]
    fn a_token_is_read_and_never_printed(id in 10_000_i64..=(1 << 52), secret in "[A-Za-z0-9_-]{20,60}") {
        let text = format!("{id}:{secret}");
        let token = Token::parse(&text).unwrap();
        prop_assert_eq!(token.expose(), &text);
        prop_assert_eq!(token.bot_id(), BotId(id));
        prop_assert_eq!(format!("{token}"), format!("{id}:…"));
        prop_assert_eq!(format!("{token:?}"), format!("Token({id}:…)"));
        prop_assert_eq!(format!("{:?}", TokenState::Set(token)), format!("Set(Token({id}:…))"));
    }

    /// Wherever in the file a token stands by mistake, no message repeats it.
    #[test]
    fn a_token_in_the_wrong_place_is_not_printed(
        secret in "[A-Za-z0-9_-]{20,40}",
        before in "[ -~&&[^\"\\\\]]{0,40}",
        after in "[ :/@?.]{0,3}",
    ) {
        let text = format!("{before}123456:{secret}{after}");
        let quoted = format!("\"{text}\"");
        for key in ["name", "bot_token_env", "bot_username", "chat_ids", "tmux_session", "cwd", &text] {
            if let Err(error) = parse(&with(key, &quoted)) {
                prop_assert!(!format!("{error}{error:?}").contains(&secret), "{error}");
            }
        }
        for key in ["default", "state_dir", "api_url", "gateway", "pace"] {
            if let Err(error) = parse(&with_top(key, &quoted)) {
                prop_assert!(!format!("{error}{error:?}").contains(&secret), "{error}");
            }
        }
        let sessions = format!(r#"{{"sessions": {{"{text}": {}}}}}"#, session("chat_ids", "[5]"));
        let error = parse(&sessions).unwrap_err();
        prop_assert!(!format!("{error}{error:?}").contains(&secret), "{error}");
        prop_assert!(!redact(&text).contains(&secret));
        prop_assert!(!quote(&text).contains(secret.get(..12).unwrap()));
    }

    /// A text without a token stays as it is, and nothing panics.
    #[test]
    fn redacting_keeps_everything_else(text in "[^:]*") {
        prop_assert_eq!(redact(&text), text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        prop_assert!(parse(&text).is_err());
        prop_assert!(Token::parse(&text).is_err());
    }
}
