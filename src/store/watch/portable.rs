//! Name events of other systems than Linux (FSEvents of macOS), collected by the thread of `notify`.

use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::{NAMES_MAX, NameEvent, PathBuf, io};

pub(super) struct CollectedEvents {
    collected: Arc<Collected>,
    /// Watches as long as it lives.
    _watcher: RecommendedWatcher,
}

#[derive(Default)]
struct Collected {
    /// Each path, and whether it is gone; `None` stands for more than can be told.
    events: Mutex<Vec<Option<(PathBuf, bool)>>>,
    came: Notify,
}

impl CollectedEvents {
    pub(super) fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let collected = Arc::new(Collected::default());
        let sink = Arc::clone(&collected);
        let handler = move |event| sink.collect(event);
        let config = notify::Config::default();
        let mut watcher = RecommendedWatcher::new(handler, config).map_err(io::Error::other)?;
        for folder in folders {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .map_err(io::Error::other)?;
        }
        Ok(Self {
            collected,
            _watcher: watcher,
        })
    }

    /// Hands out the events that are there; does not wait.
    pub(super) fn drain(&self, sink: &mut dyn FnMut(NameEvent<'_>)) {
        let events = &self.collected.events;
        let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
        for event in &events {
            sink(match event {
                Some((path, gone)) => NameEvent::Name { path, gone: *gone },
                None => NameEvent::Overflow,
            });
        }
    }

    /// Waits until `took`, asked once and then after each event, says yes.
    pub(super) async fn until(&self, took: &mut (dyn FnMut() -> bool + Send)) {
        while !took() {
            self.collected.came.notified().await;
        }
    }
}

impl Collected {
    fn collect(&self, event: notify::Result<notify::Event>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if event.need_rescan() => events.push(None),
            Ok(event) => {
                let gone = match event.kind {
                    EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => true,
                    EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => false,
                    EventKind::Any
                    | EventKind::Access(_)
                    | EventKind::Modify(_)
                    | EventKind::Other => return,
                };
                // A move within the folder names the old path first.
                let moved = event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both));
                let paths = event.paths.into_iter().enumerate();
                events.extend(paths.map(|(at, path)| Some((path, gone || moved && at == 0))));
            }
            // An error is a reason to look.
            Err(_) => events.push(None),
        }
        if events.len() > NAMES_MAX {
            events.clear();
            events.push(None);
        }
        drop(events);
        self.came.notify_one();
    }
}
