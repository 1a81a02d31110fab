//! What a process and its children cost: CPU time in nanoseconds, memory in bytes, as the kernel counts them.

use anyhow::{Context as _, Result};
use std::fs;

/// A process and all that descend from it, as they are now.
///
/// # Errors
/// `/proc` is not there.
pub(super) fn family(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("no /proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and the look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            parents.push((id, parent));
        }
    }
    let mut family = vec![root];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    Ok(family)
}

/// CPU time (user and system) that the threads of these processes have used, in nanoseconds.
///
/// Read from each thread's `schedstat`, which the scheduler keeps to the nanosecond and brings up to date at every switch
/// and tick; `stat` counts in steps of 10 ms. Threads that have ended are not in it: measure between two points at which the
/// same threads run.
///
/// # Errors
/// One of them has ended.
pub(super) fn cpu_ns(family: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in family {
        let tasks =
            fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id} has ended"))?;
        for task in tasks {
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("no schedstat")?;
        }
    }
    Ok(sum)
}

/// Proportional set size in bytes: private memory, and a fair share of what is shared.
///
/// # Errors
/// One of them has ended, or may not be looked at.
pub(super) fn pss_bytes(family: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in family {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
            .with_context(|| format!("cannot look at the memory of process {id}"))?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
        let kib = line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        sum += kib.context("Pss is no number")? * 1024;
    }
    Ok(sum)
}

/// Time that one CPU was not idle, in nanoseconds, in steps of 10 ms. It includes what the kernel does for nobody's account
/// (interrupts, its own threads), so it shows work that a process hides there.
///
/// # Errors
/// There is no such CPU.
pub(super) fn busy_ns(cpu: usize) -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{cpu} ");
    let line = text.lines().find(|line| line.starts_with(&name)).context("no such CPU")?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    Ok(busy * 10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_family_is_a_process_and_its_children_and_its_time_grows_while_it_works() {
        let mut shell =
            Command::new("sh").args(["-c", "sh -c 'while :; do :; done' & wait"]).spawn().unwrap();
        let start = std::time::Instant::now();
        let mut members = Vec::new();
        while members.len() < 2 && start.elapsed().as_secs() < 10 {
            members = family(shell.id()).unwrap();
        }
        let before = cpu_ns(&members).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let used = cpu_ns(&members).unwrap() - before;
        let memory = pss_bytes(&members).unwrap();
        for member in members.iter().rev() {
            Command::new("kill").arg("-9").arg(member.to_string()).status().unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(members.len(), 2);
        assert!(used > 10_000_000, "{used} ns in 200 ms");
        assert!(memory > 50_000);
        assert!(cpu_ns(&members).is_err());
    }
}
