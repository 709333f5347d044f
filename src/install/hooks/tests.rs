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
fn each_client_gets_hooks_in_its_own_form() {
    let exec = value(&put_hooks("{}", &server("ONE"), HookForm::Exec).unwrap());
    assert_eq!(
        exec["hooks"]["Stop"],
        json!([{"hooks": [{
            "type": "command", "command": "/b in/telepost",
            "args": ["hook", "stop", "--config", "/c o/it's.json", "--session", "ONE"], "timeout": 3,
        }]}])
    );
    let shell = value(&put_hooks("{}", &server("ONE"), HookForm::Shell).unwrap());
    let events: Vec<_> = shell["hooks"].as_object().unwrap().keys().collect();
    assert_eq!(
        events,
        ["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"]
    );
    assert_eq!(
        shell["hooks"]["SessionEnd"][0]["hooks"][0]["command"],
        r#"'/b in/telepost' hook end --config "/c o/it's.json" --session ONE"#
    );
}

#[test]
fn a_command_line_is_read_as_it_was_written() {
    for word in ["a", "it's", "a b", "", "ä\"", "$HOME", "\\", "#x"] {
        let mut server = server("ONE");
        server.args.push(word.to_owned());
        for form in [HookForm::Exec, HookForm::Shell] {
            let hook = build_hook(&server, "stop", form);
            let words = split_words(&hook);
            assert_eq!(words.first(), Some(&server.command), "{hook}");
            assert_eq!(words.last().map(String::as_str), Some(word), "{hook}");
        }
    }
    let by_hand = json!({"command": r#"a "b c"d \'"#});
    assert_eq!(split_words(&by_hand), ["a", "b cd", "'"]);
}

#[test]
fn each_session_has_its_own_and_each_is_put_in_once() {
    for form in [HookForm::Exec, HookForm::Shell] {
        let one = put_hooks("{}\n", &server("ONE"), form).unwrap();
        assert_eq!(put_hooks(&one, &server("ONE"), form).unwrap(), one);
        let both = put_hooks(&one, &server("TWO"), form).unwrap();
        assert_eq!(find_hooks(&both, "Stop").len(), 2);
        let moved = ServerCommand {
            command: "/new/telepost".to_owned(),
            ..server("ONE")
        };
        let moved = put_hooks(&both, &moved, form).unwrap();
        let programs: Vec<String> = find_hooks(&moved, "Stop")
            .into_iter()
            .map(|ours| ours.words[0].clone())
            .collect();
        assert_eq!(programs, ["/new/telepost", "/b in/telepost"]);
        assert_eq!(remove_hooks(&moved, Some("{}\n")), "{}\n");
    }
}

#[test]
fn hooks_of_the_user_stay_even_beside_ours() {
    let before = "{\n  \"hooks\": {\n    \"Stop\": [\n      {\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}\n    ],\n    \"PreToolUse\": []\n  }\n}\n";
    let with = put_hooks(before, &server("ONE"), HookForm::Exec).unwrap();
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
        put_hooks(&mixed, &server("ONE"), HookForm::Exec).unwrap(),
        mixed
    );
}

#[test]
fn a_hook_of_ours_that_was_there_before_stays() {
    let before = put_hooks("{}", &server("ONE"), HookForm::Shell).unwrap();
    let with = put_hooks(&before, &server("TWO"), HookForm::Shell).unwrap();
    assert_eq!(remove_hooks(&with, Some(&before)), before);
    assert_eq!(remove_hooks(&with, None), "{}");
}

#[test]
fn a_file_of_another_shape_is_refused() {
    for text in [r#"{"hooks": []}"#, r#"{"hooks": {"Stop": {}}}"#] {
        let refused = put_hooks(text, &server("ONE"), HookForm::Exec).unwrap_err();
        assert!(matches!(refused, EditError::Shape { .. }), "{refused:?}");
    }
}
