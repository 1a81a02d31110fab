//! Figures of the process, as the kernel has them.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::metrics::Exposition;
use crate::meter::family;

/// Adds memory, CPU time and descriptors. What the kernel does not tell is left out.
///
/// * `started_unix_s`: when the process started.
pub(super) fn add_to(exposition: &mut Exposition, started_unix_s: u64) {
    exposition.add(&family::PROCESS_START, started_unix_s);
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(cpu.tv_sec), u64::try_from(cpu.tv_nsec));
    if let (Ok(seconds), Ok(nanoseconds)) = (seconds, nanoseconds) {
        exposition.add(&family::PROCESS_CPU, seconds * 1_000_000_000 + nanoseconds);
    }
    if let Some(bytes) = resident_bytes() {
        exposition.add(&family::PROCESS_RESIDENT, bytes);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is being read.
        exposition.add(&family::PROCESS_FDS, (descriptors.count() as u64).saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        exposition.add(&family::PROCESS_FDS_MAX, most);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = kibibytes.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Now, in milliseconds of Unix time.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Now, in seconds of Unix time.
pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it_here() {
        let mut exposition = Exposition::default();
        add_to(&mut exposition, unix_s());
        let text = exposition.render();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            assert!(line.parse::<f64>().expect("a number") > 0.0, "{name}{line}");
        }
    }
}
