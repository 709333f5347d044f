use crate::state::agents::*;

#[test]
fn only_a_plain_name_of_a_thread_goes_on_a_command_line() {
    let id = "0199a213-81c0-7800-8aa1-bbab2a035a53";
    assert_eq!(check_thread_id(id), Some(id.to_owned()));
    for bad in [
        "",
        "-x",
        "--message",
        "a b",
        "a;b",
        "ä",
        "a/b",
        &"x".repeat(101),
    ] {
        assert_eq!(check_thread_id(bad), None, "{bad}");
    }
}

#[test]
fn a_pane_is_known_by_its_socket_and_its_id_and_by_nothing_else() {
    let pane =
        |tmux: &str, id: &str| Pane::of(&Env::from_pairs([("TMUX", tmux), ("TMUX_PANE", id)]));
    let expected = |socket: &str| {
        let (socket, id) = (PathBuf::from(socket), "%12".to_owned());
        Some(Pane { socket, id })
    };
    assert_eq!(
        pane("/tmp/tmux-1000/default,4711,3", "%12"),
        expected("/tmp/tmux-1000/default")
    );
    assert_eq!(pane("/a,b/s,1,0", "%12"), expected("/a,b/s"));
    for (tmux, id) in [
        ("", "%1"),
        ("relative,1,0", "%1"),
        ("/s,1,0", ""),
        ("/s,1,0", "1"),
        ("/s,1,0", "%"),
        ("/s,1,0", "shop:0.1"),
        ("/s,1,0", "%1; kill-server"),
    ] {
        assert_eq!(pane(tmux, id), None, "{tmux} {id}");
    }
}
