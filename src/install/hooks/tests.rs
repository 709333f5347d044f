use super::*;

fn server(session: &str) -> ServerCommand {
    let words = ["mcp", "--config", "/c o/it's.json", "--session", session];
    ServerCommand {
        command: "/b in/telepost".to_owned(),
        args: words.map(str::to_owned).to_vec(),
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_hook_is_a_line_for_a_shell_that_does_nothing_without_the_program() {
    let claude = value(&put_hooks("{}", &server("ONE"), Client::Claude).unwrap());
    let line = r#"test ! -x '/b in/telepost' || exec '/b in/telepost' hook stop --config "/c o/it's.json""#;
    assert_eq!(
        claude["hooks"]["Stop"],
        json!([{"hooks": [{"type": "command", "command": line, "timeout": 3}]}])
    );
    let codex = value(&put_hooks("{}", &server("ONE"), Client::Codex).unwrap());
    let events: Vec<_> = codex["hooks"].as_object().unwrap().keys().collect();
    assert_eq!(
        events,
        ["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"]
    );
}

#[test]
fn a_command_line_is_read_as_it_was_written() {
    for word in ["a", "it's", "a b", "", "ä\"", "$HOME", "\\", "#x"] {
        let mut server = server("ONE");
        server.args = vec!["mcp".to_owned(), "--config".to_owned(), word.to_owned()];
        let hook = build_hook(&server, "stop");
        let words = split_words(&hook);
        assert_eq!(words.first(), Some(&server.command), "{hook}");
        assert_eq!(words.last().map(String::as_str), Some(word), "{hook}");
    }
    let by_hand = json!({"command": r#"a "b c"d \'"#});
    assert_eq!(split_words(&by_hand), ["a", "b cd", "'"]);
}

#[test]
fn all_sessions_of_a_configuration_share_one_set() {
    let one = put_hooks("{}\n", &server("ONE"), Client::Claude).unwrap();
    for session in ["ONE", "TWO"] {
        let again = put_hooks(&one, &server(session), Client::Claude).unwrap();
        assert_eq!(again, one);
    }
    let mut other = server("ONE");
    other.args[2] = "/other.json".to_owned();
    let both = put_hooks(&one, &other, Client::Claude).unwrap();
    assert_eq!(find_hooks(&both, "Stop").len(), 2, "of two configurations");
    let moved = ServerCommand {
        command: "/new/telepost".to_owned(),
        ..server("ONE")
    };
    let moved = put_hooks(&both, &moved, Client::Claude).unwrap();
    let programs: Vec<String> = find_hooks(&moved, "Stop")
        .into_iter()
        .map(|ours| ours.words[0].clone())
        .collect();
    assert_eq!(programs, ["/new/telepost", "/b in/telepost"]);
    assert_eq!(remove_hooks(&moved, Some("{}\n")), "{}\n");
}

#[test]
fn the_sets_per_session_of_earlier_versions_become_one() {
    let old = |session: &str| {
        json!({"hooks": [{
            "type": "command", "command": "/b in/telepost", "timeout": 3,
            "args": ["hook", "stop", "--config", "/c o/it's.json", "--session", session],
        }]})
    };
    let line = r#"/b\ in/telepost hook stop --config "/c o/it's.json" --session TWO"#;
    let shell = json!({"hooks": [{"type": "command", "command": line, "timeout": 3}]});
    let text = json!({"hooks": {"Stop": [old("ONE"), shell, old("THREE")]}}).to_string();
    let new = value(&put_hooks(&text, &server("ONE"), Client::Claude).unwrap());
    let wanted = build_hook(&server("ONE"), "stop");
    assert_eq!(new["hooks"]["Stop"], json!([{"hooks": [wanted]}]));
}

#[test]
fn hooks_of_the_user_stay_even_beside_ours() {
    let before = "{\n  \"hooks\": {\n    \"Stop\": [\n      {\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}\n    ],\n    \"PreToolUse\": []\n  }\n}\n";
    let with = put_hooks(before, &server("ONE"), Client::Claude).unwrap();
    assert_eq!(value(&with)["hooks"]["Stop"].as_array().unwrap().len(), 2);
    assert_eq!(remove_hooks(&with, Some(before)), before);
    // The user has moved ours into a group with another.
    let mut mixed = value(&with);
    let ours = mixed["hooks"]["Stop"][1]["hooks"][0].clone();
    mixed["hooks"]["Stop"][0]["hooks"]
        .as_array_mut()
        .unwrap()
        .insert(0, ours);
    mixed["hooks"]["Stop"].as_array_mut().unwrap().pop();
    let mixed = serde_json::to_string_pretty(&mixed).unwrap();
    assert_eq!(value(&remove_hooks(&mixed, Some(before))), value(before));
    assert_eq!(
        put_hooks(&mixed, &server("ONE"), Client::Claude).unwrap(),
        mixed
    );
}

#[test]
fn a_hook_of_ours_that_was_there_before_stays() {
    let before = put_hooks("{}", &server("ONE"), Client::Codex).unwrap();
    let mut other = server("ONE");
    other.args[2] = "/other.json".to_owned();
    let with = put_hooks(&before, &other, Client::Codex).unwrap();
    assert_eq!(remove_hooks(&with, Some(&before)), before);
    assert_eq!(remove_hooks(&with, None), "{}");
}

#[test]
fn a_file_of_another_shape_is_refused() {
    for text in [r#"{"hooks": []}"#, r#"{"hooks": {"Stop": {}}}"#] {
        let refused = put_hooks(text, &server("ONE"), Client::Claude).unwrap_err();
        assert!(matches!(refused, EditError::Shape { .. }), "{refused:?}");
    }
}
