use proptest::prelude::*;

use super::*;

fn server() -> ServerCommand {
    ServerCommand {
        command: "/opt/te\"le/telepost".to_owned(),
        args: vec![
            "mcp".to_owned(),
            "--config".to_owned(),
            "/c d.json".to_owned(),
        ],
    }
}

const BLOCK: &str = "[mcp_servers.telegram]\ncommand = '/opt/te\"le/telepost'\nargs = [\"mcp\", \"--config\", \"/c d.json\"]\ndefault_tools_approval_mode = \"approve\"\n";

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(put_server(text, &server(), false).unwrap(), expected);
    assert_eq!(get_server(expected), Some(server()));
    assert_eq!(put_server(expected, &server(), false).unwrap(), expected);
    assert_eq!(restore_server(expected, Some(text)).unwrap(), text);
}

#[test]
fn a_server_is_a_table_at_the_end() {
    becomes("", BLOCK);
    becomes(
        "# mine\na = 1 # one\n",
        &format!("# mine\na = 1 # one\n\n{BLOCK}"),
    );
    becomes("a = 1\n\n\n", &format!("a = 1\n\n\n\n{BLOCK}"));
    becomes(
        "[mcp_servers.b]\ncommand = 'x'",
        &format!("[mcp_servers.b]\ncommand = 'x'\n\n{BLOCK}"),
    );
    becomes(
        "mcp_servers.b.command = 'x'\n",
        &format!("mcp_servers.b.command = 'x'\n\n{BLOCK}"),
    );
}

#[test]
fn windows_line_ends_stay() {
    let block = BLOCK.replace('\n', "\r\n");
    becomes("a = 1\r\n", &format!("a = 1\r\n\r\n{block}"));
}

#[test]
fn servers_in_an_inline_table_get_one_more() {
    let text = "mcp_servers = { b = { command = 'x' } } # mine";
    let with = put_server(text, &server(), false).unwrap();
    assert_eq!(get_server(&with), Some(server()));
    assert!(
        with.contains("b = { command = 'x' }") && with.ends_with("# mine"),
        "{with}"
    );
    let without = restore_server(&with, Some(text)).unwrap();
    assert!(
        get_server(&without).is_none() && without.contains("b = { command = 'x' }"),
        "{without}"
    );
}

#[test]
fn our_server_is_updated_and_keeps_settings_that_the_user_added() {
    let text = "[mcp_servers.telegram] # bot\ncommand = \"/old/telepost\" # here\nargs = [\"mcp\"]\ntool_timeout_sec = 70\n\n[z]\n";
    assert_eq!(
        put_server(text, &server(), false).unwrap(),
        "[mcp_servers.telegram] # bot\ncommand = '/opt/te\"le/telepost' # here\nargs = [\"mcp\", \"--config\", \"/c d.json\"]\ntool_timeout_sec = 70\ndefault_tools_approval_mode = \"approve\"\n\n[z]\n"
    );
}

#[test]
fn a_server_that_the_user_has_edited_goes_whole_and_nothing_else_does() {
    let text = format!(
        "# mine\na = 1\n\n{BLOCK}tool_timeout_sec = 70\n\n[mcp_servers.telegram.tools.telegram_poll]\napproval_mode = \"prompt\"\n\n# other\n[z]\nb = 2 # two\n"
    );
    assert_eq!(
        restore_server(&text, Some("# mine\na = 1\n")).unwrap(),
        "# mine\na = 1\n\n# other\n[z]\nb = 2 # two\n"
    );
}

#[test]
fn text_that_was_added_behind_the_server_stays() {
    let text = format!("a = 1\n\n{BLOCK}\n[projects.\"/x\"]\ntrust_level = \"trusted\"\n");
    assert_eq!(
        restore_server(&text, Some("a = 1\n")).unwrap(),
        "a = 1\n\n[projects.\"/x\"]\ntrust_level = \"trusted\"\n"
    );
}

#[test]
fn a_server_that_was_replaced_comes_back() {
    let text = "[mcp_servers.telegram]\ncommand = \"other\" # theirs\n\n[z]\nb = 2\n";
    let with = put_server(text, &server(), true).unwrap();
    assert_eq!(get_server(&with), Some(server()));
    let back = restore_server(&with, Some(text)).unwrap();
    assert!(
        back.contains("command = \"other\" # theirs") && back.contains("[z]\nb = 2"),
        "{back}"
    );
    assert!(!back.contains("approve"), "{back}");
}

#[test]
fn a_text_that_is_not_toml_is_refused_with_line_and_column() {
    let Err(EditError::Syntax { line, column, .. }) = parse("a = 1\nb = = 2\n") else {
        panic!("accepted")
    };
    assert_eq!((line, column), (2, 5));
}

#[test]
fn servers_that_are_not_a_table_are_named() {
    let shape = Err(EditError::at_path(&[SERVERS], "a table"));
    assert_eq!(put_server("mcp_servers = 3\n", &server(), false), shape);
    assert_eq!(put_server("[[mcp_servers]]\n", &server(), false), shape);
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("   ".to_owned()),
        Just("# a comment, [mcp_servers.telegram] \u{e4}".to_owned()),
        "[a-z]{1,3}_[0-9]{1,5} *= *[0-9]{1,3}( # x)?",
        "\\[t[0-9]{1,5}\\]( #[a-z]*)?",
        "\\[mcp_servers\\.s[0-9]{1,5}\\]\ncommand *= '[a-z]*'",
        "\\[\\[l[0-9]{1,5}\\]\\]",
        "m[0-9]{1,5} = \"\"\"\n[a-z\n]*\"\"\"",
    ]
}

proptest! {
    #[test]
    fn putting_and_restoring_a_server_gives_the_same_bytes(
        lines in prop::collection::vec(piece(), 0..8),
        end in any::<bool>(),
        windows in any::<bool>(),
    ) {
        let mut text = lines.join("\n") + if end { "\n" } else { "" };
        if windows {
            text = text.replace('\n', "\r\n");
        }
        prop_assume!(parse(&text).is_ok());
        let with = put_server(&text, &server(), false).unwrap();
        prop_assert_eq!(get_server(&with), Some(server()));
        prop_assert_eq!(put_server(&with, &server(), false).unwrap(), with.clone());
        prop_assert_eq!(restore_server(&with, Some(&text)).unwrap(), text);
    }
}
