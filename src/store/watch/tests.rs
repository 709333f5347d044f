use std::fs::{self, File};

use super::*;
use crate::store::{Durability, Step};

/// Longer than any event takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(100);

fn write(path: &Path) {
    atomic::replace_file(path, b"{}", Step::Presence, Durability::Unsynced).unwrap();
}

/// A watch that is interested in every name.
fn watch_names(folder: &Path) -> NameWatch {
    let folders = [folder.to_owned()];
    let interest = |_: &Path, _| Interest::Name;
    NameWatch::new(&folders, &Clock::system(), interest)
}

async fn changes_within(watch: &NameWatch, span: Duration) -> bool {
    tokio::time::timeout(span, watch.changed()).await.is_ok()
}

#[tokio::test]
async fn a_new_name_a_replaced_file_and_a_removed_one_are_told_and_temporary_names_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.json"), folder.path().join("2.json"));
    let watch = watch_names(folder.path());
    assert!(!changes_within(&watch, SILENCE).await);
    for change in [
        &(|| write(&one)) as &dyn Fn(),
        &|| write(&one),
        &|| assert!(atomic::rename_file(&one, &two, Step::Settle).unwrap()),
        &|| atomic::remove_file(&two, Step::Sweep).unwrap(),
    ] {
        change();
        assert!(changes_within(&watch, PATIENCE).await);
        let news = watch.news();
        assert!(!news.all && !news.names.is_empty(), "{news:?}");
        let temporary = |path: &PathBuf| path.extension().is_none_or(|end| end != "json");
        assert!(!news.names.iter().any(temporary), "{news:?}");
    }
    File::create_new(folder.path().join(".x.tmp")).unwrap();
    assert!(!changes_within(&watch, SILENCE).await);
}

#[tokio::test]
async fn opening_and_reading_a_folder_and_its_files_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("1.json");
    write(&file);
    let watch = watch_names(folder.path());
    let any = FolderWatch::new(&[folder.path().to_owned()], &Clock::system());
    for _ in 0..100 {
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::read(&file).unwrap();
        atomic::sync_folder(folder.path()).unwrap();
    }
    assert!(!changes_within(&watch, SILENCE).await);
    assert!(!any.take_events(|_| true));
}

#[tokio::test]
async fn a_change_before_the_wait_ends_it_even_if_its_name_was_taken_already() {
    let folder = tempfile::tempdir().unwrap();
    let watch = watch_names(folder.path());
    write(&folder.path().join("1.json"));
    while watch.news().names.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(changes_within(&watch, PATIENCE).await);
    assert!(!changes_within(&watch, SILENCE).await);
}

#[tokio::test]
async fn names_of_no_interest_end_no_wait_and_too_many_names_are_all() {
    let folder = tempfile::tempdir().unwrap();
    let folders = [folder.path().to_owned()];
    let interest = |path: &Path, gone: bool| {
        if gone || path.ends_with("noise") {
            Interest::None
        } else {
            Interest::Name
        }
    };
    let watch = NameWatch::new(&folders, &Clock::system(), interest);
    write(&folder.path().join("noise"));
    assert!(!changes_within(&watch, SILENCE).await);
    for number in 0..=NAMES_MAX {
        write(&folder.path().join(format!("{number}.json")));
    }
    assert!(changes_within(&watch, PATIENCE).await);
    Clock::system().sleep(SILENCE).await;
    let news = watch.news();
    assert!(news.all && news.names.len() == NAMES_MAX);
}

#[tokio::test]
async fn a_folder_that_cannot_be_watched_is_looked_at_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let watch = watch_names(&folder.path().join("missing"));
    assert!(watch.news().all);
    assert!(changes_within(&watch, PATIENCE).await);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_watched_folder_that_is_removed_is_a_reason_to_look_at_everything() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    atomic::create_folder(&gone).unwrap();
    let watch = watch_names(&gone);
    fs::remove_dir(&gone).unwrap();
    assert!(changes_within(&watch, PATIENCE).await);
    assert!(watch.news().all);
}
