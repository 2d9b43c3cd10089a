//! Both sides of the comparison, each in a process of its own, over one upstream in a third.
//!
//! A side obeys lines on stdin and answers each with how many lookups were secure and how many
//! nanoseconds they took:
//!
//! | command | what it does |
//! |---|---|
//! | `fresh` | forgets all but the trust anchor |
//! | `run C FIRST SPAN COUNT` | looks up `COUNT` of the questions from `FIRST`, over and over the `SPAN` that follow, `C` at a time |
//!
//! The processes are this same program with other arguments, and `libunbound.c`.

mod byrnie;
mod upstream;
mod world;

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use world::QUESTIONS_PER_DOMAIN;

/// Plays the part that the arguments name, if they name one; then there is nothing else to do.
pub(crate) fn play_part() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [UPSTREAM, folder, domains, hosts] => {
            let (domains, hosts) = (domains.parse().unwrap(), hosts.parse().unwrap());
            upstream::serve(Path::new(folder), domains, hosts)
        }
        [BYRNIE, port, anchors, questions] => {
            byrnie::serve(port, Path::new(anchors), Path::new(questions));
            true
        }
        _ => false,
    }
}

/// The upstream, and who can ask it.
pub(crate) struct Bed {
    folder: TempDir,
    upstream: Process,
    port: String,
    /// How many questions are about distinct domains, [`QUESTIONS_PER_DOMAIN`] for each.
    pub(crate) in_domains: usize,
    /// How many are about hosts of one domain; they come after the others.
    pub(crate) in_one_zone: usize,
}

impl Bed {
    /// Signs the zones, which takes a while, and starts the upstream.
    pub(crate) fn new(domains: usize, hosts: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(UPSTREAM)
            .arg(folder.path())
            .args([domains.to_string(), hosts.to_string()]);
        let mut upstream = Process::start(command);
        let line = upstream.read_line();
        let (port, in_domains) = line.split_once(' ').unwrap();
        Self {
            folder,
            upstream,
            port: port.to_owned(),
            in_domains: in_domains.parse().unwrap(),
            in_one_zone: hosts,
        }
    }

    /// The sides that there are: byrnie, and libunbound if its headers are installed.
    pub(crate) fn sides(&self) -> Vec<Side> {
        let mut byrnie = Command::new(std::env::current_exe().unwrap());
        byrnie.arg(BYRNIE);
        let mut sides = vec![self.side("byrnie", byrnie)];
        match compile_libunbound(self.folder.path()) {
            Ok(libunbound) => sides.push(self.side("libunbound", libunbound)),
            Err(why) => eprintln!("libunbound is left out: {why}"),
        }
        sides
    }

    /// Starts one side.
    fn side(&self, name: &'static str, mut command: Command) -> Side {
        command
            .arg(&self.port)
            .arg(self.folder.path().join("anchors"))
            .arg(self.folder.path().join("questions"));
        let mut side = Side {
            name,
            process: Process::start(command),
        };
        side.forget();
        side
    }

    /// The processor time of the upstream so far.
    pub(crate) fn upstream_cpu(&self) -> Duration {
        self.upstream.cpu()
    }
}

/// Builds the other side.
fn compile_libunbound(folder: &Path) -> Result<Command, String> {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/lookups/peers/libunbound.c"
    );
    let program = folder.join("libunbound");
    let compiler = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .args([source, "-lunbound"])
        .output();
    match compiler {
        Ok(output) if output.status.success() => Ok(Command::new(program)),
        Ok(output) => Err(format!(
            "cc fails; on Debian, apt-get install libunbound-dev helps\n{}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("there is no C compiler: {error}")),
    }
}

/// One side of the comparison.
pub(crate) struct Side {
    /// What it is called.
    pub(crate) name: &'static str,
    process: Process,
}

/// What a run took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    /// By the clock.
    pub(crate) time: Duration,
    /// By the processor, all threads together.
    pub(crate) cpu: Duration,
}

impl Side {
    /// Empties its caches.
    pub(crate) fn forget(&mut self) {
        self.process.command("fresh");
    }

    /// Looks up `count` of the questions from `first`, over and over the `span` that follow.
    ///
    /// Each must be secure, or nothing was measured.
    pub(crate) fn run(
        &mut self,
        concurrent: usize,
        first: usize,
        span: usize,
        count: usize,
    ) -> Took {
        let cpu_before = self.process.cpu();
        let line = self
            .process
            .command(&format!("run {concurrent} {first} {span} {count}"));
        let (secure, nanoseconds) = line.split_once(' ').unwrap();
        assert_eq!(secure, count.to_string(), "{}: some failed", self.name);
        Took {
            time: Duration::from_nanos(nanoseconds.parse().unwrap()),
            cpu: self.process.cpu().saturating_sub(cpu_before),
        }
    }

    /// The resident memory, in octets.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kibibytes.parse::<usize>().unwrap() * 1024
    }
}

/// A process that is killed in the end.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Gives a command and waits until it is done.
    fn command(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        self.read_line()
    }

    /// The next line that it writes.
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The processor time of all threads that there are.
    fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads
            .map(|thread| fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap())
            .map(|text| text.split(' ').next().unwrap().parse().unwrap())
            .map(Duration::from_nanos)
            .sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of the upstream.
const UPSTREAM: &str = "part-upstream";

/// The part of our side.
const BYRNIE: &str = "part-byrnie";
