//! The machine that measures, and what its system says of a process. Linux; elsewhere "not known".

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use telepost::store::atomic::{self, Durability};
use telepost::store::crash_points::Step;

/// Cores, processor and kernel.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or(std::env::consts::ARCH);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores of {model}, {} {}",
        std::env::consts::OS,
        kernel.trim()
    )
}

/// The load averages over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split(' ').take(3).collect();
    averages.join(" ")
}

/// Resident memory of a process in megabytes (10^6 bytes), as it is and without the pages of files,
/// which it shares.
pub(crate) fn resident(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    Some((field("VmRSS:")?, field("RssAnon:")?))
}

/// How often each thread of a process was put onto a core. A process that makes a system call after it
/// slept has been. Threads come and go: only those that are there are counted.
pub(crate) fn switches(pid: u32) -> Option<BTreeMap<OsString, u64>> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let thread = thread.ok()?;
        // One that has just ended has nothing more to say.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        let counts = status.lines().filter_map(|line| {
            line.strip_prefix("voluntary_ctxt_switches:")
                .or_else(|| line.strip_prefix("nonvoluntary_ctxt_switches:"))
        });
        let count = counts
            .filter_map(|count| count.trim().parse::<u64>().ok())
            .sum();
        all.insert(thread.file_name(), count);
    }
    Some(all)
}

/// How long a process has been on a core, its ended threads too: in hundredths of a second, as Linux counts
/// for all programs.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The 14th and 15th fields of the line: for itself, and in the kernel for it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Option<u64> = ticks.map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks? * 10))
}

/// The cost of one durable file in that folder: write, sync, rename, and the same with its name synced.
pub(crate) fn durable_file(folder: &Path) -> (Duration, Duration) {
    let bytes = [b'x'; 500];
    let write = |durability| {
        let began = Instant::now();
        atomic::replace_file(
            &folder.join("durable"),
            &bytes,
            Step::InboxEntry,
            durability,
        )
        .unwrap();
        began.elapsed()
    };
    (write(Durability::FileSynced), write(Durability::Synced))
}
