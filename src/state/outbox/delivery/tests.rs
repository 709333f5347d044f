use crate::state::outbox::attachments::FileKind;
use crate::state::outbox::delivery::*;

fn reply(text: &str) -> Content {
    Content::Reply {
        text: text.to_owned(),
        files: Vec::new(),
        options: Vec::new(),
    }
}

#[test]
fn what_telegram_has_is_never_sent_again() {
    let text = "x".repeat(9000);
    let mut progress = DeliveryState::plan(&reply(&text));
    assert_eq!(progress.parts.len(), 3);
    progress.begin(0);
    progress.accepted(0, MessageId(5));
    let after_restart: DeliveryState =
        serde_json::from_str(&serde_json::to_string(&progress).unwrap()).unwrap();
    assert_eq!(after_restart, progress);
    assert_eq!(after_restart.next(), Some(1));
}

#[test]
fn a_message_in_doubt_is_marked_and_one_that_surely_failed_is_not() {
    let mut progress = DeliveryState::plan(&reply("hello"));
    progress.begin(0);
    progress.failed(0, "refused".to_owned());
    assert_eq!(progress.text(0).text, "hello");
    progress.begin(0);
    assert_eq!(progress.in_flight(), Some(0));
    progress.doubted(0, "killed".to_owned());
    assert_eq!(progress.text(0).text, "↻ may repeat\nhello");
    progress.begin(0);
    progress.accepted(0, MessageId(6));
    assert_eq!((progress.next(), progress.repeats()), (None, 1));
}

#[test]
fn a_full_message_in_doubt_is_cut_so_that_the_mark_fits() {
    let text = "x".repeat(5000);
    let mut progress = DeliveryState::plan(&reply(&text));
    progress.begin(0);
    progress.doubted(0, "lost".to_owned());
    assert_eq!(progress.parts.len(), 3);
    let sent: Vec<String> = (0..3).map(|index| progress.text(index).text).collect();
    assert!(
        sent.iter()
            .all(|text| text.chars().count() <= MESSAGE_LIMIT)
    );
    assert!(
        sent[0].starts_with(REPEAT_MARK)
            && sent[1].starts_with(REPEAT_MARK)
            && !sent[2].starts_with(REPEAT_MARK)
    );
    assert_eq!(sent.concat().replace(REPEAT_MARK, ""), text);
}

/// The parts as kind (t for text, u for upload), files and text length.
fn shape(progress: &DeliveryState) -> Vec<(char, Vec<usize>, usize)> {
    let parts = progress.parts.iter();
    parts
        .map(|part| {
            let text = part.message.code_points();
            match &part.upload {
                Some(upload) => ('u', upload.files.clone(), text),
                None => ('t', Vec::new(), text),
            }
        })
        .collect()
}

fn with_files(text: &str, kinds: &[FileKind]) -> DeliveryState {
    let file = |kind: &FileKind| AttachedFile {
        name: "a".to_owned(),
        size: 1,
        sha256: String::new(),
        kind: *kind,
    };
    DeliveryState::plan(&Content::Reply {
        text: text.to_owned(),
        files: kinds.iter().map(file).collect(),
        options: Vec::new(),
    })
}

#[test]
fn a_text_stands_below_the_first_files_if_it_fits_and_else_before_them() {
    use FileKind::{Document, Photo};
    for (length, kinds, expected) in [
        (0, vec![Photo, Photo], vec![('u', vec![0, 1], 0)]),
        (
            1024,
            vec![Photo, Document],
            vec![('u', vec![0], 1024), ('u', vec![1], 0)],
        ),
        (
            1025,
            vec![Photo],
            vec![('t', vec![], 1025), ('u', vec![0], 0)],
        ),
        (
            5000,
            vec![Photo],
            vec![('t', vec![], 4096), ('t', vec![], 904), ('u', vec![0], 0)],
        ),
    ] {
        let progress = with_files(&"x".repeat(length), &kinds);
        assert_eq!(shape(&progress), expected, "{length}, {kinds:?}");
    }
}

#[test]
fn an_album_counts_as_all_its_messages() {
    let mut progress = with_files("x", &[FileKind::Photo, FileKind::Photo]);
    progress.begin(0);
    progress.accepted(0, MessageId(5));
    progress.accepted_album(0, &[MessageId(6)]);
    assert_eq!(progress.message_ids(), [MessageId(5), MessageId(6)]);
    assert_eq!(progress.next(), None);
}

#[test]
fn an_album_that_is_refused_goes_apart_and_photos_go_as_documents_each_once() {
    let mut progress = with_files("caption", &[FileKind::Photo; 3]);
    assert!(progress.as_documents(0) && !progress.as_documents(0));
    assert!(progress.apart(0) && !progress.apart(0));
    assert_eq!(
        shape(&progress),
        [('u', vec![0], 7), ('u', vec![1], 0), ('u', vec![2], 0)]
    );
    let mut uploads = progress
        .parts
        .iter()
        .filter_map(|part| part.upload.as_ref());
    assert!(uploads.all(|upload| upload.as_documents));
    assert!(!reply_plan("no file").apart(0));
}

#[test]
fn a_caption_that_has_no_room_for_the_mark_goes_before_its_files() {
    let mut progress = with_files(&"x".repeat(1012), &[FileKind::Photo]);
    progress.begin(0);
    progress.doubted(0, "lost".to_owned());
    assert_eq!(shape(&progress), [('t', vec![], 1012), ('u', vec![0], 0)]);
    assert!(progress.text(0).text.starts_with(REPEAT_MARK));
    assert_eq!(progress.text(1).text, REPEAT_MARK.trim_end());
    let mut fits = with_files(&"x".repeat(1011), &[FileKind::Photo]);
    fits.doubted(0, "lost".to_owned());
    assert_eq!(fits.text(0).code_points(), CAPTION_LIMIT);
}

fn reply_plan(text: &str) -> DeliveryState {
    DeliveryState::plan(&reply(text))
}

#[test]
fn names_are_read_back_and_other_names_are_not_ours() {
    let id = DeliveryId {
        accepted: 1_700_000_000_000,
        key: "0123456789abcdef0123456789abcdef".to_owned(),
    };
    assert_eq!(DeliveryId::parse(&id.to_string()), Some(id));
    for name in [
        "1700000000000-xyz",
        "1-0123456789abcdef0123456789abcdef",
        "1700000000000-0123456789abcdef0123456789abcdeF",
    ] {
        assert_eq!(DeliveryId::parse(name), None, "{name}");
    }
}
