//! What a process and its children use, as the kernel tells it.
//!
//! <https://docs.kernel.org/filesystems/proc.html>

use std::{collections::HashSet, fs, io, time::Duration};

/// The kernel counts CPU time in hundredths of a second for `/proc`, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// The memory of a process and its children.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Resident now, in bytes.
    pub(super) now: u64,
    /// Resident at most; of several processes the sum, though they may not have been large at once.
    pub(super) peak: u64,
}

/// The CPU time, user and system, that process `pid` and its children have used so far.
pub(super) fn cpu(pid: u32) -> io::Result<Duration> {
    let ticks: u64 = tree(pid)?.iter().map(|process| process.ticks).sum();
    Ok(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// The memory of process `pid` and its children.
pub(super) fn memory(pid: u32) -> io::Result<Memory> {
    let mut memory = Memory::default();
    for process in tree(pid)? {
        // A child may have ended by now.
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        memory.now += field_kib(&status, "VmRSS:") * 1024;
        memory.peak += field_kib(&status, "VmHWM:") * 1024;
    }
    Ok(memory)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// Its own time, and that of its children which have ended.
    ticks: u64,
}

/// Process `pid` and all below it.
fn tree(pid: u32) -> io::Result<Vec<Process>> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid} to look at"));
    let mut found = vec![read(pid).ok_or_else(gone)?];
    let mut others: Vec<_> = fs::read_dir("/proc")?.filter_map(|entry| read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect();
    let mut parents = HashSet::from([pid]);
    loop {
        let (children, rest): (Vec<_>, _) = others.into_iter().partition(|process| parents.contains(&process.parent));
        if children.is_empty() {
            return Ok(found);
        }
        parents = children.iter().map(|process| process.pid).collect();
        found.extend(children);
        others = rest;
    }
}

fn read(pid: u32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of `/proc/PID/stat`: PID (NAME) STATE PARENT …, where the name may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // The third field comes first here; times are the 14th to the 17th.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>()).sum::<Result<_, _>>().ok()?;
    Some(Process { pid, parent: fields.get(1)?.parse().ok()?, ticks })
}

fn field_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Process, cpu, field_kib, memory, parse, tree};

    #[test]
    fn the_lines_of_the_kernel_are_read() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 3 4 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Process { pid: 42, parent: 7, ticks: 40 }));
        for line in ["", "42", "42 (a", "42 (a) S", "42 (a) S 7 42 42 0 -1 4194304 100 0 0 0 11 22"] {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(field_kib("Name:\tx\nVmHWM:\t   123 kB\nVmRSS:\t    45 kB\n", "VmRSS:"), 45);
        assert_eq!(field_kib("", "VmRSS:"), 0);
    }

    #[test]
    fn this_process_and_its_child_are_seen() {
        let pid = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.iter().any(|process| process.pid == child.id()), "{found:?}");
        assert!(cpu(pid).is_ok());
        let memory = memory(pid).unwrap();
        assert!(memory.now > 0 && memory.peak >= memory.now, "{memory:?}");
        assert!(cpu(u32::MAX).is_err());
    }
}
