//! The durable steps, each a named place.
//!
//! A process may die before and after each of them and nothing is lost; docs/crash-points.md lists the state
//! on disk for each. Builds with the feature `test-hooks` read four variables:
//!
//! - `TELEPOST_CRASH_AT=<step>:before|after|panic[:count]` aborts the process there, or panics before the step.
//! - `TELEPOST_FAIL_AT=<step>:enospc|eacces|eio[:count]` lets the first writes of a step fail, five by default.
//! - `TELEPOST_DIE_WHEN=<file>` holds the process at its crash point until that file exists, so that other
//!   processes can act meanwhile.
//! - `TELEPOST_TRAIL=<folder>` lets each process note there the point that it passed last, so that a test that
//!   kills at random can say where.
//!
//! In all other builds [`mark_step`] and [`Attempt`] do nothing.

use std::io;

macro_rules! declare_steps {
    ($($(#[$meaning:meta])+ $step:ident = $name:literal,)+) => {
        /// A durable step, or a request or answer that another party relies on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Step {
            $($(#[$meaning])+ $step,)+
        }

        impl Step {
            /// The name in `TELEPOST_CRASH_AT` and in docs/crash-points.md.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)+
                }
            }
        }
    };
}

declare_steps! {
    /// An admitted update becomes a file in `inbox/`.
    InboxEntry = "inbox-entry",
    /// The folders of a batch are synced; only then may the next poll confirm it.
    InboxSync = "inbox-sync",
    /// An unreadable update becomes a file in `dead/`.
    DeadLetter = "dead-letter",
    /// A settled entry moves from `inbox/` to `done/`.
    Settle = "settle",
    /// The conversation of an agent records the messages that it is shown.
    Hold = "hold",
    /// A registration in `agents/` is replaced.
    Agent = "agent",
    /// A file that an agent sends is copied, into a folder that has no name yet.
    Stage = "stage",
    /// The folder with the copies gets the name of its delivery.
    Attach = "attach",
    /// A folder with a fetched file, or with the reason why there is none, gets its name in `files/`.
    Download = "download",
    /// A delivery becomes a file in `outbox/`: the commit point of a reply.
    Accept = "accept",
    /// The conversation forgets settled messages, or those that a cancelled call showed.
    Release = "release",
    /// The request that is about to be sent is recorded.
    InFlight = "in-flight",
    /// The answer of Telegram is recorded.
    Accepted = "accepted",
    /// A rate limit is recorded.
    RateLimit = "rate-limit",
    /// The new id of a group that became a supergroup is recorded.
    Migration = "migration",
    /// A bot command becomes a tombstone in `done/`, before it is carried out.
    Command = "command",
    /// A session that is no longer configured loses its name.
    Prune = "prune",
    /// A person's wish that a delivery is not sent becomes a file in `drops/`.
    Drop = "drop",
    /// The failures, or late files, that an agent was told of are recorded.
    Told = "told",
    /// The messages that wear a receipt are recorded.
    Receipt = "receipt",
    /// The wake that an agent is about to get is recorded, or the end of it.
    Wake = "wake",
    /// An MCP server is asked to wake its agent, or answers that.
    WakeRequest = "wake-request",
    /// A hook of the client records an event of a turn, before the agent is told anything.
    Turn = "turn",
    /// The wake command is pasted into an agent's input line.
    WakePaste = "wake-paste",
    /// Enter sends it.
    WakeEnter = "wake-enter",
    /// The absence of an agent is recorded, the people who were told, or its end.
    Downtime = "downtime",
    /// A finished delivery becomes a file in `sent/` or `failed/`.
    Finish = "finish",
    /// A finished delivery leaves `outbox/`.
    Leave = "leave",
    /// The gateway writes its status to `gateway.json`.
    Presence = "presence",
    /// An unreadable file moves to `quarantine/`.
    Quarantine = "quarantine",
    /// An expired tombstone is removed.
    Sweep = "sweep",
    /// An offset goes out to Telegram, which confirms that a batch is safe.
    Confirm = "confirm",
    /// A tool's result goes out to the agent.
    Answer = "answer",
    /// A request that the person will see goes out to Telegram.
    Send = "send",
    /// The bytes of a client's file are kept before it is changed, or removed once they are not needed.
    InstallBackup = "install-backup",
    /// The record of an installation is written, or removed.
    InstallRecord = "install-record",
    /// A file of a client is replaced, or removed.
    InstallFile = "install-file",
}

/// Which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the step has happened.
    Before,
    /// The step is done and durable.
    After,
}

/// Marks that the process stands before or after a step.
#[cfg(not(feature = "test-hooks"))]
#[inline]
pub fn mark_step(_step: Step, _side: Side) {}

/// Marks that the process stands before or after a step; aborts when the test asked for it.
#[cfg(feature = "test-hooks")]
pub fn mark_step(step: Step, side: Side) {
    hooks::note_point(step, side);
    hooks::die_at(step, side);
}

/// One attempt at the disk's part of a step, which a test may let fail.
///
/// A write has several parts (the bytes, the name, the sync of the folder). Each failure strikes the
/// part after the one that the failure before has struck: after a failed sync the file is there.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Attempt {
    #[cfg(feature = "test-hooks")]
    fails: Option<(u32, rustix::io::Errno)>,
}

#[cfg(not(feature = "test-hooks"))]
impl Attempt {
    /// An attempt at a step that has so many parts.
    #[inline]
    pub fn new(_step: Step, _parts: u32) -> Self {
        Self {}
    }

    /// Whether this part, counted from 0, may go on.
    #[inline]
    pub fn part(self, _part: u32) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "test-hooks")]
impl Attempt {
    /// An attempt at a step that has so many parts.
    pub fn new(step: Step, parts: u32) -> Self {
        Self {
            fails: hooks::next_failure(step).map(|(count, errno)| (count % parts, errno)),
        }
    }

    /// Whether this part, counted from 0, may go on.
    pub fn part(self, part: u32) -> io::Result<()> {
        match self.fails {
            Some((fails, errno)) if fails == part => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "test-hooks")]
#[expect(clippy::disallowed_methods, reason = "exists in test builds only")]
mod hooks {
    use std::env;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::io::Errno;

    use super::{Side, Step};

    /// A step and its fate: `<step>:<what>[:count]`.
    struct StepPlan {
        step: String,
        what: String,
        count: Option<u32>,
        met: AtomicU32,
    }

    impl StepPlan {
        fn read(variable: &str) -> Option<Self> {
            let text = env::var(variable).ok()?;
            let mut words = text.split(':');
            Some(Self {
                step: words.next()?.to_owned(),
                what: words.next()?.to_owned(),
                count: words.next().and_then(|count| count.parse().ok()),
                met: AtomicU32::new(0),
            })
        }

        /// How often the step was met before.
        fn meet(&self) -> u32 {
            self.met.fetch_add(1, Ordering::SeqCst)
        }
    }

    static FAILURE: LazyLock<Option<StepPlan>> =
        LazyLock::new(|| StepPlan::read("TELEPOST_FAIL_AT"));
    static CRASH: LazyLock<Option<StepPlan>> =
        LazyLock::new(|| StepPlan::read("TELEPOST_CRASH_AT"));
    static DIE_WHEN: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| env::var_os("TELEPOST_DIE_WHEN").map(PathBuf::from));
    static TRAIL: LazyLock<Option<File>> = LazyLock::new(|| {
        let folder = env::var_os("TELEPOST_TRAIL")?;
        let who = env::args().nth(1).unwrap_or_default();
        // A number may be given to another process later.
        let name = format!("{who}-{}-{:016x}", std::process::id(), fastrand::u64(..));
        File::create(Path::new(&folder).join(name)).ok()
    });

    /// Whether this attempt fails: how many have failed before it, and how.
    pub(super) fn next_failure(step: Step) -> Option<(u32, Errno)> {
        let plan = FAILURE.as_ref().filter(|plan| plan.step == step.name())?;
        let before = plan.meet();
        if before >= plan.count.unwrap_or(5) {
            return None;
        }
        tracing::warn!(step = plan.step, before, "a test lets this write fail");
        let errno = match plan.what.as_str() {
            "enospc" => Errno::NOSPC,
            "eacces" => Errno::ACCESS,
            _ => Errno::IO,
        };
        Some((before, errno))
    }

    pub(super) fn die_at(step: Step, side: Side) {
        let Some(plan) = CRASH.as_ref() else { return };
        let is_after = !matches!(plan.what.as_str(), "before" | "panic");
        if plan.step == step.name()
            && is_after == (side == Side::After)
            && plan.meet() + 1 == plan.count.unwrap_or(1)
        {
            assert!(
                plan.what != "panic",
                "a test asked for a panic at {}",
                plan.step
            );
            while DIE_WHEN.as_deref().is_some_and(|file| !file.exists()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            super::super::power::lose_power();
            std::process::abort();
        }
    }

    /// The newest note replaces the one before: all have the same length.
    pub(super) fn note_point(step: Step, side: Side) {
        if let Some(note) = TRAIL.as_ref() {
            let side = match side {
                Side::Before => "before",
                Side::After => "after",
            };
            let line = format!("{:<32}", format!("{}:{side}", step.name()));
            drop(note.write_all_at(line.as_bytes(), 0));
        }
    }
}
