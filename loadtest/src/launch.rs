//! Child processes that never outlive us: each is started through this same program, which asks the kernel for a signal
//! when its parent dies, takes the wanted CPU, and becomes the child (`exec`). A parent that is killed leaves nothing behind.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, kill_process_group, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// First argument of the intermediate program: parent's process id, CPU or `-`, program, arguments.
const BECOME: &str = "--become-child";

/// How long a dropped child gets to end by itself.
const DROP_PATIENCE: Duration = Duration::from_secs(2);

/// Where a child's output goes.
#[derive(Debug)]
pub enum Output {
    /// Where ours goes.
    Inherit,
    /// Nowhere.
    Null,
    /// To our [`Child::stdout`]; errors go where ours go.
    Piped,
    /// To our [`Child::stdout`]; errors go to a new file.
    PipedAnd(PathBuf),
    /// Both streams to a new file.
    File(PathBuf),
}

/// A program to start.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    cpu: Option<usize>,
    output: Output,
}

/// A started program; dropping it ends it and its process group.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: std::process::Child,
}

impl Launch {
    /// `program` without arguments, on any CPU, with our output.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), cpu: None, output: Output::Inherit }
    }

    /// With these arguments after those it has.
    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Only on this CPU, with all its threads.
    #[must_use]
    pub const fn on_cpu(mut self, cpu: Option<usize>) -> Self {
        self.cpu = cpu;
        self
    }

    /// With its output there.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Starts it, in a process group of its own: a Ctrl-C in the terminal reaches only us.
    ///
    /// # Errors
    /// The program cannot be started. That it is no program shows later, as an early exit.
    pub fn start(self) -> Result<Child> {
        let us = std::env::current_exe().context("cannot find our own program")?;
        let mut command = Command::new(us);
        command
            .arg(BECOME)
            .arg(std::process::id().to_string())
            .arg(self.cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.to_string()))
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .process_group(0);
        match self.output {
            Output::Inherit => {}
            Output::Null => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            Output::Piped => {
                command.stdout(Stdio::piped());
            }
            Output::PipedAnd(path) => {
                let file = std::fs::File::create(&path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                command.stdout(Stdio::piped()).stderr(file);
            }
            Output::File(path) => {
                let file = std::fs::File::create(&path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                command.stdout(file.try_clone()?).stderr(file);
            }
        }
        let name =
            self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Child { name, child })
    }
}

impl Child {
    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, if it was piped.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The kernel does not know the process.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, and makes it end after `patience`.
    pub fn stop(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Both fail only if it has ended after all.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal; it may have ended already.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Asked first, so that it can end its own children (nginx's workers outlive a killed master); then whatever is left of
        // its process group is killed. Both fail only if nothing is left.
        self.stop(DROP_PATIENCE);
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Call first in the `main` of every program that launches children. Returns unless we are the intermediate program.
///
/// # Errors
/// We are, and cannot become the child.
pub fn become_child_if_asked() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != BECOME) {
        return Ok(());
    }
    let parent = arguments.next().and_then(|id| id.to_str()?.parse::<u32>().ok()).context("no parent")?;
    let cpu = arguments.next().context("no CPU")?;
    let program = arguments.next().context("no program")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // If the parent died before the kernel knew, nobody will tell us.
    if std::os::unix::process::parent_id() != parent {
        bail!("the parent has ended");
    }
    if let Some(cpu) = cpu.to_str().and_then(|cpu| cpu.parse().ok()) {
        pin(None, cpu)?;
    }
    raise_descriptor_limit()?;
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(&program).display()))
}

/// Lets this process, and those that it starts, open as many descriptors as it may.
///
/// # Errors
/// The kernel refuses what it said is allowed.
pub fn raise_descriptor_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of descriptors")
}

/// Puts a thread (`None`: the calling one) on one CPU.
///
/// # Errors
/// The CPU does not exist or is not ours to use.
pub fn pin(thread: Option<Pid>, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(thread, &set).with_context(|| format!("cannot use CPU {cpu}"))
}
