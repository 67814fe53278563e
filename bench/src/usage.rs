//! What a process has used, from `/proc`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;

/// CPU time of a process at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    threads_ns: BTreeMap<u32, u64>,
    process_ticks: u64,
}

/// USER_HZ: what `/proc` counts in is the same on every Linux.
const TICK_NS: u64 = 10_000_000;

impl Cpu {
    /// Now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut threads_ns = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).context("the subject has ended")? {
            let tid = entry?.file_name();
            let path = format!("/proc/{pid}/task/{}/schedstat", tid.to_string_lossy());
            // A thread that has ended meanwhile is found missing in `since`.
            let on_cpu = fs::read_to_string(path).ok().and_then(|text| text.split(' ').next()?.parse().ok());
            if let (Ok(tid), Some(ns)) = (tid.to_string_lossy().parse(), on_cpu) {
                threads_ns.insert(tid, ns);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold anything; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat without a name")?;
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Self { threads_ns, process_ticks: ticks })
    }

    /// Nanoseconds on a CPU since `earlier`, kernel and user: of the scheduler if no thread has ended in between,
    /// otherwise to the tick.
    pub(crate) fn since_ns(&self, earlier: &Self) -> u64 {
        let all_live = earlier.threads_ns.keys().all(|tid| self.threads_ns.contains_key(tid));
        if all_live {
            let total = |cpu: &Self| cpu.threads_ns.values().sum::<u64>();
            total(self) - total(earlier)
        } else {
            (self.process_ticks - earlier.process_ticks) * TICK_NS
        }
    }
}

/// Resident memory in KiB: now, and the most there ever was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now_kib: u64,
    pub(crate) peak_kib: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the subject has ended")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let now_kib = field("VmRSS:").context("/proc/PID/status without VmRSS")?;
        let peak_kib = field("VmHWM:").context("/proc/PID/status without VmHWM")?;
        Ok(Self { now_kib, peak_kib })
    }
}

/// Ticks all CPUs have been busy since boot, stolen time included.
pub(crate) fn machine_busy_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let idle = ticks.get(3).unwrap_or(&0) + ticks.get(4).unwrap_or(&0);
    (ticks.iter().sum::<u64>() - idle) * TICK_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_busy_process_is_seen_to_be_busy_and_a_sleeping_one_is_not() {
        use tidegate_testkit::Process;
        let mut sleeper = Process::spawn("sleep", std::process::Command::new("sleep").arg("60"));
        let mut spinner = Process::spawn("sh", std::process::Command::new("sh").args(["-c", "while :; do :; done"]));
        std::thread::sleep(Duration::from_millis(50));
        let begin = Instant::now();
        let (sleeping, spinning) = (Cpu::of(sleeper.pid()).unwrap(), Cpu::of(spinner.pid()).unwrap());
        let spun = || Cpu::of(spinner.pid()).unwrap().since_ns(&spinning);
        // However little of a busy machine it gets.
        while spun() < 30_000_000 && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (asleep, spun) = (Cpu::of(sleeper.pid()).unwrap().since_ns(&sleeping), spun());
        let elapsed = begin.elapsed().as_nanos() as u64;
        assert!(asleep * 10 < spun, "{asleep} of {spun}");
        assert!(spun >= 30_000_000 && spun <= elapsed, "{spun} of {elapsed}");
        let memory = Memory::of(sleeper.pid()).unwrap();
        assert!(memory.now_kib > 100 && memory.peak_kib >= memory.now_kib);
        sleeper.kill();
        spinner.kill();
        assert!(Cpu::of(sleeper.pid()).is_err());
        assert!(machine_busy_ns() > 0);
    }
}
