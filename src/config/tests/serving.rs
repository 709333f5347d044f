//! Which session an MCP server serves.

use super::*;

/// Sessions for `/…/a`, `/…/a/b` and none, the last being the default.
fn config(root: &Path) -> Config {
    let root = root.display();
    parse(&format!(
        r#"{{"sessions": {{
        "OUTER": {{"cwd": "{root}/a", "bot_token_env": "T1", "chat_ids": [5], "allowed_users": [5]}},
        "INNER": {{"cwd": "{root}/a/b", "bot_token_env": "T2", "chat_ids": [5], "allowed_users": [5]}},
        "HOUSE": {{"bot_token_env": "T3", "chat_ids": [5], "allowed_users": [5]}}}}, "default": "HOUSE"}}"#
    ))
    .unwrap()
}

fn served(
    config: &Config,
    flag: Option<&str>,
    variable: &str,
    cwd: Option<&Path>,
) -> (String, Binding) {
    let env = Env::from_pairs([("TG_SESSION_ID", variable)]);
    let (session, binding) = config.serving(flag, &env, cwd).unwrap();
    (session.id.to_string(), binding)
}

#[test]
fn flag_then_environment_then_folder_then_default() {
    let config = config(Path::new("/no"));
    let cwd = Some(Path::new("/no/a/b/c"));
    let id = str::to_owned;
    assert_eq!(
        served(&config, Some("HOUSE"), "OUTER", cwd),
        (id("HOUSE"), Binding::Flag)
    );
    assert_eq!(
        served(&config, None, "OUTER", cwd),
        (id("OUTER"), Binding::Environment)
    );
    assert_eq!(
        served(&config, None, "", cwd),
        (id("INNER"), Binding::WorkingDirectory)
    );
    assert_eq!(
        served(&config, None, "", None),
        (id("HOUSE"), Binding::Default)
    );
    assert!(Binding::Flag.is_explicit() && !Binding::Default.is_explicit());
}

#[test]
fn the_longest_folder_counts_and_only_whole_components() {
    let config = config(Path::new("/no"));
    for (cwd, id) in [
        ("/no/a/b", "INNER"),
        ("/no/a/b/c/d", "INNER"),
        ("/no/a", "OUTER"),
        ("/no/a/bc", "OUTER"),
        ("/no/ab", "HOUSE"),
        ("/no", "HOUSE"),
        ("/", "HOUSE"),
    ] {
        assert_eq!(
            served(&config, None, "", Some(Path::new(cwd))).0,
            id,
            "{cwd}"
        );
    }
}

#[test]
fn links_to_a_folder_lead_to_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir_all(root.join("a/b/c")).unwrap();
    std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
    let id = |config: &Config, cwd: &Path| served(config, None, "", Some(cwd)).0;
    assert_eq!(
        id(&config(root), &root.join("link/c")),
        "INNER",
        "the agent was started through a link"
    );

    let linked = folder.path().join("root");
    std::os::unix::fs::symlink(root, &linked).unwrap();
    assert_eq!(
        id(&config(&linked), &root.join("a/b/c")),
        "INNER",
        "the configuration names a link"
    );
}

#[test]
fn a_session_that_is_not_configured() {
    let config = config(Path::new("/no"));
    let message = |flag, variable| {
        let env = Env::from_pairs([("TG_SESSION_ID", variable)]);
        config.serving(flag, &env, None).unwrap_err().to_string()
    };
    let head = "it is not clear which session of /c/sessions.json to serve:";
    assert_eq!(
        message(Some("INER"), ""),
        format!(
            "{head}\n  --session: is \"INER\", but there is no such session\n    fix: did you mean `INNER`?"
        )
    );
    assert_eq!(
        message(None, "X"),
        format!(
            "{head}\n  TG_SESSION_ID (environment): is \"X\", but there is no such session\n    fix: write the id of a \
             configured session: `HOUSE`, `INNER`, `OUTER`"
        )
    );
    assert!(
        message(Some(""), "INNER").contains("--session: is \"\", but there is no such session")
    );
}
