use proptest::prelude::*;

use super::super::json::tests::document as any_document;
use super::*;

fn registration(folder: Option<&str>) -> ServerRegistration {
    let words = ["mcp", "--config", "/c/sessions.json", "--session", "SHOP"];
    ServerRegistration {
        server: ServerCommand {
            command: "/bin/telepost".to_owned(),
            args: words.map(str::to_owned).to_vec(),
        },
        folder: folder.map(str::to_owned),
    }
}

const KINDS: [FileContent; 5] = [
    FileContent::ClaudeServers,
    FileContent::ClaudeSettings,
    FileContent::CodexConfig,
    FileContent::CodexHooks,
    FileContent::Text("ours\n"),
];

fn put_into(kind: FileContent, text: Option<&str>) -> Result<Option<String>, EditError> {
    put_content(kind, &registration(Some("/x")), text, Overwrite::default())
}

fn taken(kind: FileContent, text: &str, before: Option<&str>) -> Option<String> {
    remove_content(kind, text, before, false).unwrap()
}

#[test]
fn a_new_file_is_created_and_removed_again() {
    for kind in KINDS {
        let with = put_into(kind, None).unwrap().unwrap();
        assert!(with.ends_with('\n'), "{with}");
        assert_eq!(put_into(kind, Some(&with)).unwrap(), Some(with.clone()));
        assert_eq!(taken(kind, &with, None), None, "{kind:?}");
    }
}

#[test]
fn a_file_that_was_blank_is_blank_again() {
    for kind in [
        FileContent::ClaudeServers,
        FileContent::ClaudeSettings,
        FileContent::CodexConfig,
        FileContent::CodexHooks,
    ] {
        for blank in ["", "\n"] {
            let with = put_into(kind, Some(blank)).unwrap().unwrap();
            assert_eq!(
                taken(kind, &with, Some(blank)).as_deref(),
                Some(blank),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn a_server_for_all_folders_stands_at_the_top_and_one_for_a_folder_in_its_project() {
    let place = |folder| {
        let text = put_content(
            FileContent::ClaudeServers,
            &registration(folder),
            None,
            Overwrite::default(),
        );
        let text = text.unwrap().unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let entry = json!({"type": "stdio", "command": "/bin/telepost", "args": registration(None).server.args});
    assert_eq!(place(None), json!({"mcpServers": {"telegram": entry}}));
    assert_eq!(
        place(Some("/x")),
        json!({"projects": {"/x": {"mcpServers": {"telegram": entry}}}})
    );
}

#[test]
fn the_servers_of_all_folders_are_removed() {
    let before = "{\"projects\": {\"/z\": {}}}";
    let mut text = before.to_owned();
    for folder in [Some("/x"), None, Some("/y"), Some("/z")] {
        let with = put_content(
            FileContent::ClaudeServers,
            &registration(folder),
            Some(&text),
            Overwrite::default(),
        );
        text = with.unwrap().unwrap();
    }
    assert_eq!(
        taken(FileContent::ClaudeServers, &text, Some(before)).as_deref(),
        Some(before)
    );
}

#[test]
fn our_entry_is_updated_and_keeps_what_the_user_added() {
    let text = json!({"projects": {"/x": {"mcpServers": {"telegram": {
        "command": "/old/telepost", "args": ["mcp"], "env": {"A": "1"}, "timeout": 5}}}}});
    let with = put_into(FileContent::ClaudeServers, Some(&text.to_string()))
        .unwrap()
        .unwrap();
    let with: Value = serde_json::from_str(&with).unwrap();
    assert_eq!(
        with["projects"]["/x"]["mcpServers"]["telegram"],
        json!({"command": "/bin/telepost", "args": registration(None).server.args,
            "env": {"A": "1"}, "timeout": 5, "type": "stdio"})
    );
}

#[test]
fn another_server_of_the_name_is_refused_unless_it_may_be_replaced_and_comes_back() {
    let theirs = [
        (
            FileContent::ClaudeServers,
            "{\"projects\": {\"/x\": {\"mcpServers\": {\"telegram\": {\"command\":\"bun\", \"args\":[]}}}}}",
        ),
        (
            FileContent::CodexConfig,
            "[mcp_servers.telegram]\ncommand = \"bun\"\n",
        ),
    ];
    for (kind, text) in theirs {
        let refusal = EditError::OtherServer {
            command: "bun".to_owned(),
        };
        assert_eq!(put_into(kind, Some(text)), Err(refusal));
        let replace = Overwrite {
            replace: true,
            as_written: false,
        };
        let with = put_content(kind, &registration(Some("/x")), Some(text), replace)
            .unwrap()
            .unwrap();
        assert!(
            with.contains("/bin/telepost") && !with.contains("bun"),
            "{with}"
        );
        assert_eq!(taken(kind, &with, Some(text)).as_deref(), Some(text));
        assert_eq!(taken(kind, text, Some(text)).as_deref(), Some(text));
    }
}

#[test]
fn a_wider_allow_rule_is_enough() {
    let text = "{\"permissions\":{\"allow\":[\"mcp__telegram\"]}}";
    let with = put_into(FileContent::ClaudeSettings, Some(text))
        .unwrap()
        .unwrap();
    let with: Value = serde_json::from_str(&with).unwrap();
    assert_eq!(with["permissions"], json!({"allow": ["mcp__telegram"]}));
}

#[test]
fn a_text_that_the_user_edited_stays_both_ways() {
    let kind = FileContent::Text("ours\n");
    assert_eq!(put_into(kind, Some("mine\n")), Ok(None));
    assert_eq!(taken(kind, "mine\n", None).as_deref(), Some("mine\n"));
}

#[test]
fn a_text_of_an_earlier_version_is_updated_and_removed() {
    let kind = FileContent::Text("ours\n");
    let overwrite = Overwrite {
        as_written: true,
        replace: false,
    };
    let with = put_content(kind, &registration(None), Some("older\n"), overwrite);
    assert_eq!(with, Ok(Some("ours\n".to_owned())));
    assert_eq!(remove_content(kind, "older\n", None, true), Ok(None));
}

proptest! {
    #[test]
    fn a_client_that_rewrites_the_file_loses_nothing_when_telepost_goes(
        text in any_document(),
        folder in prop::sample::select(vec![None, Some("/x"), Some("/ä \"b\"")]),
    ) {
        let before: Result<Value, _> = serde_json::from_str(&text);
        for kind in [FileContent::ClaudeServers, FileContent::ClaudeSettings] {
            let with = put_content(kind, &registration(folder), Some(&text), Overwrite::default());
            if let (Ok(before), Ok(Some(with))) = (&before, with) {
                prop_assert_eq!(taken(kind, &with, Some(&text)), Some(text.clone()));
                let anew: Value = serde_json::from_str(&with).unwrap();
                let anew = serde_json::to_string_pretty(&anew).unwrap();
                let rest = taken(kind, &anew, Some(&text)).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Value>(&rest).unwrap(), before);
            }
        }
    }
}
