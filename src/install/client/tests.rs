use std::path::Path;

use super::*;

#[test]
fn the_variables_of_the_clients_move_all_files() {
    let env = Env::from_pairs([
        ("HOME", "/h"),
        ("CLAUDE_CONFIG_DIR", "/c"),
        ("CODEX_HOME", "/x"),
    ]);
    for (client, root) in [(Client::Claude, "/c"), (Client::Codex, "/x")] {
        let found = ClientFiles::locate(client, &env).unwrap();
        assert!(found.record.starts_with(root));
        for file in found.files {
            assert!(file.path.starts_with(root), "{file:?}");
        }
    }
}

#[test]
fn without_the_variable_claude_code_keeps_its_servers_beside_its_folder() {
    let env = Env::from_pairs([("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "relative")]);
    let found = ClientFiles::locate(Client::Claude, &env).unwrap();
    let paths: Vec<_> = found.files.iter().map(|file| &file.path).collect();
    assert_eq!(
        paths,
        [
            Path::new("/h/.claude.json"),
            Path::new("/h/.claude/settings.json"),
            Path::new("/h/.claude/commands/telegram-reply.md"),
            Path::new("/h/.claude/skills/telegram/SKILL.md"),
        ]
    );
    assert_eq!(ClientFiles::locate(Client::Codex, &Env::default()), None);
}
