//! Where the configuration, the state and the Bot API are.

use super::*;

fn from(pairs: &[(&str, &str)]) -> Env {
    Env::from_pairs(pairs.iter().copied())
}

const HOME: (&str, &str) = ("HOME", "/home/ada");

#[test]
fn the_configuration_is_found_in_this_order() {
    let flag = Some(Path::new("/f/s.json"));
    let variable = ("TG_SESSIONS_CONFIG", "/v/s.json");
    let xdg = ("XDG_CONFIG_HOME", "/x");
    for (flag, env, expected) in [
        (flag, from(&[HOME, xdg, variable]), "/f/s.json"),
        (None, from(&[HOME, xdg, variable]), "/v/s.json"),
        (
            None,
            from(&[HOME, xdg, ("TG_SESSIONS_CONFIG", "")]),
            "/x/telepost/sessions.json",
        ),
        (
            None,
            from(&[HOME]),
            "/home/ada/.config/telepost/sessions.json",
        ),
        (
            None,
            from(&[HOME, ("XDG_CONFIG_HOME", "relative")]),
            "/home/ada/.config/telepost/sessions.json",
        ),
        (
            Some(Path::new("~/s.json")),
            from(&[HOME]),
            "/home/ada/s.json",
        ),
    ] {
        assert_eq!(config_path(flag, &env).unwrap(), Path::new(expected));
    }
    let relative = config_path(Some(Path::new("./s.json")), &env()).unwrap();
    assert_eq!(relative, std::env::current_dir().unwrap().join("s.json"));
}

#[test]
fn a_configuration_that_cannot_be_located() {
    assert_eq!(
        config_path(None, &Env::default()).unwrap_err().to_string(),
        "it is not clear where the configuration is:\n  HOME (environment): is not set, so there is no \
         ~/.config/telepost/sessions.json\n    fix: set HOME, or name the file with --config or in TG_SESSIONS_CONFIG"
    );
    assert_eq!(
        config_path(Some(Path::new("")), &env())
            .unwrap_err()
            .to_string(),
        "it is not clear where the configuration is:\n  --config: is empty\n    fix: write an absolute path or one that \
         begins with ~/"
    );
}

#[test]
fn the_state_is_found_in_this_order() {
    let configured = |path: &str| parse(&with_top("state_dir", &format!("\"{path}\""))).unwrap();
    let variable = ("TELEPOST_STATE_DIR", "/v");
    let xdg = ("XDG_STATE_HOME", "/x");
    let plain = parse(&with("name", "")).unwrap();
    for (config, env, expected) in [
        (configured("/s"), from(&[HOME, xdg, variable]), "/v"),
        (configured("/s"), from(&[HOME, xdg]), "/s"),
        (configured("state"), from(&[HOME]), "/c/state"),
        (configured("~/state"), from(&[HOME]), "/home/ada/state"),
        (plain.clone(), from(&[HOME, xdg]), "/x/telepost"),
        (plain, from(&[HOME]), "/home/ada/.local/state/telepost"),
    ] {
        assert_eq!(state_dir(Some(&config), &env).unwrap(), Path::new(expected));
    }
    assert_eq!(
        state_dir(None, &from(&[HOME, variable])).unwrap(),
        Path::new("/v")
    );
    assert_eq!(
        state_dir(None, &Env::default()).unwrap_err().to_string(),
        "it is not clear where the state belongs:\n  HOME (environment): is not set, so there is no \
         ~/.local/state/telepost\n    fix: set HOME, or name the folder in TELEPOST_STATE_DIR or with \"state_dir\" in \
         the configuration"
    );
}

#[test]
fn addresses_of_the_bot_api_that_are_accepted() {
    for (written, read) in [
        ("https://api.telegram.org", "https://api.telegram.org/"),
        (
            "https://bots.example.org/api//",
            "https://bots.example.org/api",
        ),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081/"),
        ("http://localhost:8081/", "http://localhost:8081/"),
        ("http://[::1]:8081", "http://[::1]:8081/"),
        ("http://10.1.2.3", "http://10.1.2.3/"),
        ("http://172.16.0.1", "http://172.16.0.1/"),
        ("http://192.168.1.1", "http://192.168.1.1/"),
    ] {
        let config = parse(&with_top("api_url", &format!("\"{written}\""))).unwrap();
        assert_eq!(config.api_url.as_str(), read);
        let mut method = config.api_url;
        method.path_segments_mut().unwrap().push("bot1:A");
        assert!(!method.path().contains("//"), "{method}");
    }
}

#[test]
fn the_environment_overrides_the_address_and_is_checked_alike() {
    let text = with_top("api_url", "\"https://configured.example\"");
    let load = |url| {
        Config::parse(
            &text,
            Path::new("/c/sessions.json"),
            &from(&[("TELEGRAM_API_URL", url)]),
        )
    };
    assert_eq!(
        load("http://127.0.0.1:1").unwrap().api_url.as_str(),
        "http://127.0.0.1:1/"
    );
    assert_eq!(
        load("").unwrap().api_url.as_str(),
        "https://configured.example/"
    );
    assert_eq!(
        load("http://example.org").unwrap_err().to_string(),
        one_mistake(
            "TELEGRAM_API_URL (environment)",
            "uses http to another machine, which would send the bot's token unencrypted",
            "write https; http is for this machine and for private addresses (127.0.0.1, 10.…, 172.16.…, 192.168.…)"
        )
    );
}

#[test]
fn the_environment_shows_its_names_only() {
    let env = from(&[("BOT_TOKEN_01", TOKEN)]);
    assert_eq!(format!("{env:?}"), "{\"BOT_TOKEN_01\"}");
    assert_eq!(env.get("BOT_TOKEN_01"), Some(TOKEN));
    assert_eq!(env.get("OTHER"), None);
    assert!(Env::read().get("PATH").is_some());
}
