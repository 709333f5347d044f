//! Name events of Linux: one inotify instance, read by the task that waits. No thread stands between.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

use super::{NameEvent, PathBuf, io};

/// Room for about a hundred events of one read.
const BUFFER: usize = 4096;

pub(super) struct InotifyEvents {
    fd: AsyncFd<Instance>,
    folders: BTreeMap<i32, PathBuf>,
}

/// An inotify instance, closed by a thread that may wait: the kernel lets the closing of one take up to 30 ms (it
/// waits until no event is under way to it), which each tool call that waited would pay before it answers.
///
/// `None` only while it is dropped.
struct Instance(Option<OwnedFd>);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let fd = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(fd)));
        }
    }
}

impl InotifyEvents {
    pub(super) fn new(folders: &[PathBuf]) -> io::Result<Self> {
        // Outside of a runtime `AsyncFd` would panic.
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        let mut numbers = BTreeMap::new();
        for folder in folders {
            numbers.insert(inotify::add_watch(&fd, folder, names)?, folder.clone());
        }
        #[expect(
            deprecated,
            reason = "sound for a descriptor whose number never changes; its successor needs `unsafe`"
        )]
        let fd = AsyncFd::with_interest(Instance(Some(fd)), Readiness::READABLE)?;
        Ok(Self {
            fd,
            folders: numbers,
        })
    }

    /// Hands out the events that are there; does not wait.
    pub(super) fn drain(&self, sink: &mut dyn FnMut(NameEvent<'_>)) {
        let Some(fd) = &self.fd.get_ref().0 else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Reader::new(fd, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    tracing::warn!(%error, "the events of watched folders cannot be read");
                    return sink(NameEvent::Overflow);
                }
            };
            let folder = self.folders.get(&event.wd());
            match (folder, event.file_name()) {
                (Some(folder), Some(name)) => {
                    let gone = ReadFlags::DELETE | ReadFlags::MOVED_FROM;
                    sink(NameEvent::Name {
                        path: &folder.join(OsStr::from_bytes(name.to_bytes())),
                        gone: event.events().intersects(gone),
                    });
                }
                // The queue was full, or a watched folder itself is gone.
                (Some(_) | None, None) | (None, Some(_)) => sink(NameEvent::Overflow),
            }
        }
    }

    /// Waits until `took`, asked once and then after each event, says yes.
    pub(super) async fn until(&self, took: &mut (dyn FnMut() -> bool + Send)) {
        // Events that another call has taken from the queue make nothing readable.
        if took() {
            return;
        }
        loop {
            let Ok(mut ready) = self.fd.readable().await else {
                return std::future::pending().await;
            };
            let is_done = took();
            // Cleared only if no event came since it was ready.
            ready.clear_ready();
            if is_done {
                return;
            }
        }
    }
}
