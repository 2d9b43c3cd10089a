//! What stands between the program and its storage: `storage.c`, compiled on the spot and loaded into the program.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::LabError;
use crate::subject::SubjectPlan;

/// The library, and the switches of its faults.
#[derive(Debug)]
pub(crate) struct Shim {
    /// The switches: the `struct control` of `storage.c`.
    control: File,
    /// Where changes are recorded.
    pub(crate) journal: PathBuf,
    /// The folder that is watched.
    pub(crate) spool: PathBuf,
}

/// Whether changes are recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recording {
    /// They are, and syncs happen in the record alone.
    On,
    /// They are not, and syncs are real.
    Off,
}

impl Shim {
    /// Compiles the library, and has the program under test loaded with it.
    pub(crate) fn install(plan: &mut SubjectPlan, recording: Recording) -> Result<Self, LabError> {
        // Programs may resolve symbolic links before they open a file.
        let folder =
            fs::canonicalize(&plan.folder).map_err(LabError::io("find the lab's folder"))?;
        plan.folder = folder.clone();
        let source = folder.join("storage.c");
        let library = folder.join("storage.so");
        let control = folder.join("storage.control");
        let journal = folder.join("storage.journal");
        let spool = folder.join("spool");
        fs::write(&source, SOURCE).map_err(LabError::io("write storage.c"))?;
        compile(&source, &library)?;
        fs::create_dir_all(&spool).map_err(LabError::io("make the spool"))?;
        fs::write(&control, [0; CONTROL_OCTETS]).map_err(LabError::io("write the switches"))?;
        let mut environment = vec![
            ("LD_PRELOAD", library),
            ("PROOF_ROOT", spool.clone()),
            ("PROOF_CONTROL", control.clone()),
        ];
        if recording == Recording::On {
            environment.push(("PROOF_JOURNAL", journal.clone()));
        }
        let environment = environment.into_iter();
        plan.environment
            .extend(environment.map(|(name, value)| (name, OsString::from(value))));
        let control = File::options().read(true).write(true).open(&control);
        Ok(Self {
            control: control.map_err(LabError::io("open the switches"))?,
            journal,
            spool,
        })
    }

    /// From now on, storage fails like this.
    pub(crate) fn disturb(&self, fault: Fault) -> Result<(), LabError> {
        let (kind, error, delay) = match fault.kind {
            FaultKind::Fails(error) => (1, error, 0),
            FaultKind::FailsThoughDone(error) => (2, error, 0),
            FaultKind::IsSlow { milliseconds } => (3, 0, milliseconds),
        };
        self.set(Switch::Calls, fault.calls)?;
        self.set(Switch::Error, error)?;
        self.set(Switch::Budget, fault.budget)?;
        self.set(Switch::Delay, delay)?;
        self.set(Switch::Hits, 0)?;
        // Last, as it sets the others to work.
        self.set(Switch::Fault, kind)
    }

    /// From now on, storage works; says how many calls were disturbed.
    pub(crate) fn mend(&self) -> Result<u32, LabError> {
        self.set(Switch::Fault, 0)?;
        let mut hits = [0; 4];
        let read = self.control.read_exact_at(&mut hits, Switch::Hits.place());
        read.map_err(LabError::io("read the switches"))?;
        Ok(u32::from_ne_bytes(hits))
    }

    /// From now on, a sync does nothing and says that it did.
    pub(crate) fn lie(&self) -> Result<(), LabError> {
        self.set(Switch::Lies, 1)
    }

    fn set(&self, switch: Switch, value: u32) -> Result<(), LabError> {
        let written = self
            .control
            .write_all_at(&value.to_ne_bytes(), switch.place());
        written.map_err(LabError::io("set a switch"))
    }
}

/// How storage fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// Which calls: a sum of the constants of [`calls`].
    pub(crate) calls: u32,
    /// What happens to them.
    pub(crate) kind: FaultKind,
    /// To how many of them.
    pub(crate) budget: u32,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FaultKind {
    /// It does nothing, and fails with this number.
    Fails(u32),
    /// It does what it must, and yet fails with this number.
    FailsThoughDone(u32),
    /// It takes so long.
    IsSlow {
        /// How long.
        milliseconds: u32,
    },
}

/// Kinds of calls, as `storage.c` numbers them.
pub(crate) mod calls {
    /// Writing octets.
    pub(crate) const WRITE: u32 = 1;
    /// Having them written for good.
    pub(crate) const SYNC: u32 = 2;
    /// Opening a file.
    pub(crate) const OPEN: u32 = 4;
    /// Setting a file's length.
    pub(crate) const LENGTH: u32 = 8;
    /// Reading octets.
    pub(crate) const READ: u32 = 16;
    /// Renaming, linking, removing, making folders.
    pub(crate) const NAME: u32 = 32;
    /// Everything that changes what is stored.
    pub(crate) const CHANGES: u32 = WRITE | SYNC | OPEN | LENGTH | NAME;
}

/// The fields of `struct control`, in their order.
#[derive(Clone, Copy)]
enum Switch {
    Fault,
    Calls,
    Error,
    Budget,
    Delay,
    Lies,
    Hits,
}

impl Switch {
    /// Where it stands in the file.
    fn place(self) -> u64 {
        match self {
            Self::Fault => 0,
            Self::Calls => 4,
            Self::Error => 8,
            Self::Budget => 12,
            Self::Delay => 16,
            Self::Lies => 20,
            Self::Hits => 24,
        }
    }
}

/// Has the machine's compiler make a library of the source.
fn compile(source: &Path, library: &Path) -> Result<(), LabError> {
    let ran = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([library, source])
        .arg("-lpthread")
        .output()
        .map_err(LabError::io("run the C compiler (cc)"))?;
    match ran.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            let failed = LabError::io("compile storage.c");
            Err(failed(io::Error::other(said)))
        }
    }
}

/// The library's source.
const SOURCE: &str = include_str!("storage.c");

/// Octets of `struct control`.
const CONTROL_OCTETS: usize = 28;
