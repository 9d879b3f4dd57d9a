//! The `process_*` metrics of the Prometheus convention, read from `/proc` when asked for.
//!
//! Owns: reading and understanding the files of Linux' proc file system (proc(5)). Refuses: to
//! guess; a value that cannot be read, and every value where there is no `/proc`, is left out of
//! the exposition. A scrape costs a few reads of memory-backed files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in `/proc/self/stat` (`USER_HZ`). Linux fixes it at 100 on every platform
/// this is built for; asking `sysconf` would need unsafe code.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Debug)]
pub(super) struct ProcessCollector;

/// Memory of this process that is not swapped out, in bytes; `None` where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    status_value(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(from_kib)
}

/// The memory there is for this process, in bytes: the least of what its control group and those
/// around it allow (version 2 or 1), and of what the machine has. `None` where nothing says so.
pub fn memory_bound() -> Option<u64> {
    memory_bound_under(Path::new("/"))
}

fn memory_bound_under(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup"));
    // Where the file cannot be read, what is mounted may still be the group's own.
    let groups = groups.unwrap_or_else(|_| "0::/\n1:memory:/\n".to_owned());
    let bounds = groups.lines().flat_map(memory_files);
    let bounds = bounds
        .filter_map(|file| fs::read_to_string(root.join(file)).ok()?.trim().parse::<u64>().ok());
    let machine = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    bounds.chain(status_value(&machine, "MemTotal:").map(from_kib)).min()
}

/// The files that bound the memory of a group, a line of `/proc/self/cgroup` (cgroups(7)), and of
/// the groups around it. Inside a container the path may be that outside, where only the top is there.
fn memory_files(group: &str) -> Vec<PathBuf> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mounts, file): (&[&str], _) = if controllers.is_empty() {
        (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (&["sys/fs/cgroup/memory"], "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let path = Path::new(path.trim_start_matches('/'));
    let around = path.ancestors().filter(|path| !path.starts_with(".."));
    around
        .flat_map(|path| mounts.iter().map(move |at| Path::new(at).join(path).join(file)))
        .collect()
}

fn status_value(status: &str, key: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn from_kib(kib: u64) -> u64 {
    kib.saturating_mul(1_024)
}

/// Field `number` of `/proc/self/stat`, counted as in proc(5). The second is the program's name in
/// parentheses and may itself hold blanks and parentheses: counting starts behind the last one.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1_000 / TICKS_PER_SECOND))
}

fn cpu_time(stat: &str) -> Option<Duration> {
    Some(ticks(stat_field(stat, 14)?.saturating_add(stat_field(stat, 15)?)))
}

fn start_time(stat: &str, system: &str) -> Option<Duration> {
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim();
    Some(Duration::from_secs(booted.parse().ok()?).saturating_add(ticks(stat_field(stat, 22)?)))
}

/// The soft limit; `unlimited` is no number and left out.
fn max_fds(limits: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Open descriptors without the one that reading the directory itself takes.
fn open_fds() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open).ok()?.checked_sub(1)
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (status, stat) = (read("/proc/self/status"), read("/proc/self/stat"));
        if let Some(cpu) = cpu_time(&stat) {
            let help = "Processor time used, user and system.";
            let counter = ConstCounter::new(cpu.as_secs_f64());
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                kind,
            )?)?;
        }
        let started = start_time(&stat, &read("/proc/stat")).map(|start| start.as_secs_f64());
        let help = "When the process started, in seconds since the Unix epoch.";
        encode_gauge(&mut encoder, "process_start_time_seconds", help, started)?;
        let size = |key| status_value(&status, key).map(from_kib);
        let max_fds = max_fds(&read("/proc/self/limits"));
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory in use.", size("VmRSS:")),
            ("process_virtual_memory_bytes", "Address space in use.", size("VmSize:")),
            ("process_open_fds", "Open file descriptors.", open_fds()),
            ("process_max_fds", "File descriptors that may be open.", max_fds),
            ("process_threads", "Threads of the process.", status_value(&status, "Threads:")),
        ] {
            encode_gauge(&mut encoder, name, help, value)?;
        }
        Ok(())
    }
}

fn encode_gauge<N>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: Option<N>,
) -> Result<(), std::fmt::Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let Some(value) = value else { return Ok(()) };
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tbreakwater\nVmPeak:\t  999 kB\nVmSize:\t  2048 kB\n\
                          VmRSS:\t   512 kB\nThreads:\t7\n";
    const STAT: &str = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 \
                        150 50 0 0 20 0 7 0 12345 1000 2000 184467";
    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
                          Max open files            1024                 1048576              files\n";

    #[test]
    fn the_fields_are_those_of_the_manual() {
        assert_eq!(status_value(STATUS, "VmRSS:").map(from_kib), Some(524_288));
        assert_eq!(status_value(STATUS, "Threads:"), Some(7));
        assert_eq!(cpu_time(STAT), Some(Duration::from_secs(2)));
        assert_eq!(
            start_time(STAT, "cpu 1 2\nbtime 1000\n"),
            Some(Duration::from_millis(1_123_450))
        );
        assert_eq!(max_fds(LIMITS), Some(1_024));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for text in ["", "garbage", "42 (x", "VmRSS:", "VmRSS: many kB", "Max open files unlimited"]
        {
            assert_eq!(status_value(text, "VmRSS:"), None);
            assert_eq!(cpu_time(text), None);
            assert_eq!(start_time(text, text), None);
            assert_eq!(max_fds(text), None);
        }
    }

    /// The bound of a machine with these files; the last is what it has in all.
    fn bound(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_bound_under(root.path())
    }

    #[test]
    fn the_least_bound_of_all_groups_around_counts() {
        let machine = ("proc/meminfo", "MemTotal:       8192 kB\nMemFree:  1 kB\n");
        let group = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let of = |path, text| (path, text);
        let outer = of("sys/fs/cgroup/a.slice/memory.max", "3000\n");
        assert_eq!(bound(&[machine, group, outer]), Some(3_000));
        let inner = of("sys/fs/cgroup/a.slice/b.service/memory.max", "2000\n");
        assert_eq!(bound(&[machine, group, outer, inner]), Some(2_000));
        let none = of("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
        assert_eq!(bound(&[machine, group, none]), Some(8_192 * 1_024));
        assert_eq!(bound(&[machine]), Some(8_192 * 1_024));
        assert_eq!(bound(&[]), None);
    }

    #[test]
    fn older_groups_and_those_of_containers_are_found() {
        let machine = ("proc/meminfo", "MemTotal: 8192 kB\n");
        let older = ("proc/self/cgroup", "3:cpu:/x\n2:hugetlb,memory:/docker/1a\n0::/\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let its = ("sys/fs/cgroup/memory/docker/1a/memory.limit_in_bytes", "5000\n");
        assert_eq!(bound(&[machine, older, none, its]), Some(5_000));
        let at_the_top = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000\n");
        assert_eq!(bound(&[machine, older, at_the_top]), Some(4_000));
        let outside = ("proc/self/cgroup", "0::/../../b\n");
        let own = ("sys/fs/cgroup/memory.max", "1000\n");
        assert_eq!(bound(&[machine, outside, own]), Some(1_000));
        assert_eq!(bound(&[machine, ("proc/self/cgroup", "nonsense\n"), own]), Some(8_192 * 1_024));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(open_fds().is_some_and(|fds| fds >= 3));
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(cpu_time(&stat).is_some());
        let started = start_time(&stat, &fs::read_to_string("/proc/stat").unwrap());
        assert!(started.is_some_and(|start| start > Duration::from_secs(1_000_000_000)));
    }
}
