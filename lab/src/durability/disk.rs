//! What a disk may hold after the power went: everything that was synced, and of the rest whatever chance leaves.
//!
//! Of a file, each change since its last sync is there, or is not, or, if it is a write, is there in some of its sectors.
//! Names change in order, as file systems with a journal have it: of those since the last sync of their folder, the first
//! few are there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fastrand::Rng;

use super::journal::Record;
use super::journal::What;
use crate::LabError;

/// The files below one folder; paths begin with `/`, which stands for it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Image {
    /// By path: the octets of a file, or `None` for a folder.
    entries: BTreeMap<String, Option<Vec<u8>>>,
}

impl Image {
    /// What lies below a folder now.
    pub(crate) fn read(folder: &Path) -> Result<Self, LabError> {
        let mut image = Self::default();
        image
            .read_into(folder, "")
            .map_err(LabError::io(format!("read {}", folder.display())))?;
        Ok(image)
    }

    /// Makes a folder that holds `now` hold this and nothing else.
    pub(crate) fn write(&self, folder: &Path, now: &Self) -> Result<(), LabError> {
        self.write_over(folder, now)
            .map_err(LabError::io(format!("write {}", folder.display())))
    }

    fn read_into(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_into(&entry.path(), &path)?;
                self.entries.insert(path, None);
            } else if kind.is_file() {
                self.entries.insert(path, Some(fs::read(entry.path())?));
            }
        }
        Ok(())
    }

    fn write_over(&self, folder: &Path, now: &Self) -> io::Result<()> {
        let at = |path: &str| folder.join(path.trim_start_matches('/'));
        // In this order, what is in a folder comes before it.
        for (path, octets) in now.entries.iter().rev() {
            match (self.entries.contains_key(path), octets) {
                (true, _) => {}
                (false, None) => fs::remove_dir(at(path))?,
                (false, Some(_)) => fs::remove_file(at(path))?,
            }
        }
        // And here a folder comes before what is in it.
        for (path, octets) in &self.entries {
            match octets {
                _ if now.entries.get(path) == Some(octets) => {}
                None => fs::DirBuilder::new().mode(0o700).create(at(path))?,
                Some(octets) => {
                    let mut file = fs::File::options();
                    let file = file.write(true).create(true).truncate(true).mode(0o600);
                    file.open(at(path))?.write_all(octets)?;
                }
            }
        }
        Ok(())
    }
}

/// What a disk was told, over what it held before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Every file that there ever was.
    files: Vec<FileState>,
    /// Which of them an inode is.
    inodes: BTreeMap<u64, usize>,
    /// The names that are there for good.
    durable: BTreeMap<String, Entry>,
    /// The names as the program sees them.
    live: BTreeMap<String, Entry>,
    /// What leads from the one to the other.
    pending: Vec<(u64, NameChange)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entry {
    /// A folder.
    Folder,
    /// One of the disk's files.
    File(usize),
}

/// One file.
#[derive(Clone, Debug, Default)]
struct FileState {
    /// What is there for good.
    durable: Vec<u8>,
    /// What came since, with the number of each change.
    pending: Vec<(u64, Change)>,
    /// Whether it changes without a record.
    mapped: bool,
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Change {
    /// Octets are written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        octets: Vec<u8>,
    },
    /// A length is set.
    Truncate(u64),
}

/// A change of a name.
#[derive(Clone, Debug)]
enum NameChange {
    /// A name comes into being.
    Put(String, Entry),
    /// A name vanishes.
    Drop(String),
    /// A name changes.
    Move(String, String),
}

impl Disk {
    /// A disk that held `before`, after everything that is recorded. `now` is what it holds to the program's eyes: where
    /// that does not follow from the record, the record is not to be trusted.
    pub(crate) fn replay(
        before: &Image,
        records: &[Record],
        now: &Image,
    ) -> Result<Self, LabError> {
        let disk = Self::told(before, records)?;
        if disk.shows(now) {
            return Ok(disk);
        }
        // The program may have died between the record of its last change and the change.
        let is_change =
            |record: &Record| !matches!(record.what, What::Sync { .. } | What::SyncFolder { .. });
        let last = records.iter().rposition(is_change).unwrap_or_default();
        let (earlier, rest) = records.split_at(last);
        let without: Vec<_> = earlier.iter().chain(rest.iter().skip(1)).cloned().collect();
        match Self::told(before, &without) {
            Ok(disk) if disk.shows(now) => Ok(disk),
            Ok(_) | Err(_) => Err(untold("its files are not what the record makes of them")),
        }
    }

    /// What is there after a power cut, if chance will have it so.
    pub(crate) fn cut(&self, rng: &mut Rng, now: &Image) -> Image {
        let luck = Luck::draw(rng);
        let mut names = self.durable.clone();
        let kept = luck.prefix(rng, self.pending.len());
        for (_, change) in self.pending.iter().take(kept) {
            apply_name(&mut names, change);
        }
        let entries = names.into_iter().map(|(path, entry)| {
            let octets = match entry {
                Entry::Folder => None,
                Entry::File(file) => {
                    Some(self.file_after_cut(file, &luck, rng, now.entries.get(&path)))
                }
            };
            (path, octets)
        });
        let mut image = Image {
            entries: entries.collect(),
        };
        image.drop_orphans();
        image
    }

    fn file_after_cut(
        &self,
        file: usize,
        luck: &Luck,
        rng: &mut Rng,
        now: Option<&Option<Vec<u8>>>,
    ) -> Vec<u8> {
        let Some(state) = self.files.get(file) else {
            return Vec::new();
        };
        let mut octets = state.durable.clone();
        for (_, change) in &state.pending {
            luck.change(rng, &mut octets, change);
        }
        if let (true, Some(Some(now))) = (state.mapped, now) {
            luck.tear(rng, &mut octets, 0, now);
        }
        octets
    }

    fn told(before: &Image, records: &[Record]) -> Result<Self, LabError> {
        let mut disk = Self::default();
        for (path, octets) in &before.entries {
            let entry = match octets {
                None => Entry::Folder,
                Some(octets) => disk.new_file(octets.clone()),
            };
            disk.durable.insert(path.clone(), entry);
        }
        disk.live = disk.durable.clone();
        let amended: BTreeMap<u64, u64> = records
            .iter()
            .filter_map(|record| match record.what {
                What::Amend { change, octets } => Some((change, octets)),
                What::Create { .. }
                | What::Bound { .. }
                | What::Write { .. }
                | What::Truncate { .. }
                | What::Sync { .. }
                | What::Rename { .. }
                | What::Unlink { .. }
                | What::Link { .. }
                | What::MakeFolder { .. }
                | What::RemoveFolder { .. }
                | What::SyncFolder { .. }
                | What::Mapped { .. } => None,
            })
            .collect();
        for record in records {
            let amended = amended.get(&record.change).copied();
            disk.tell(record, amended)?;
        }
        Ok(disk)
    }

    /// One record; of which only `amended` octets took place, if that is said.
    fn tell(&mut self, record: &Record, amended: Option<u64>) -> Result<(), LabError> {
        if amended == Some(0) {
            return Ok(());
        }
        match record.what.clone() {
            What::Create { path } => {
                let file = self.new_file(Vec::new());
                self.name(record.change, NameChange::Put(path, file));
            }
            What::Bound { path, inode } => {
                let Some(Entry::File(file)) = self.live.get(&path) else {
                    return Err(untold(&format!("it opened {path}, which nobody made")));
                };
                self.inodes.insert(inode, *file);
            }
            What::Write {
                inode,
                offset,
                mut octets,
            } => {
                if let Some(amended) = amended {
                    octets.truncate(place(amended));
                }
                let change = Change::Write { offset, octets };
                self.file(inode)?.pending.push((record.change, change));
            }
            What::Truncate { inode, length } => {
                let change = Change::Truncate(length);
                self.file(inode)?.pending.push((record.change, change));
            }
            What::Sync { inode, covered } => self.file(inode)?.sync(covered),
            What::Rename { from, to } => {
                if parent(&from) != parent(&to) || self.live.get(&from) == Some(&Entry::Folder) {
                    return Err(untold("it moves files between folders, or folders"));
                }
                self.name(record.change, NameChange::Move(from, to));
            }
            What::Unlink { path } | What::RemoveFolder { path } => {
                self.name(record.change, NameChange::Drop(path));
            }
            What::Link { from, to } => {
                let Some(entry) = self.live.get(&from).copied() else {
                    return Err(untold(&format!("it linked {from}, which nobody made")));
                };
                self.name(record.change, NameChange::Put(to, entry));
            }
            What::MakeFolder { path } => {
                self.name(record.change, NameChange::Put(path, Entry::Folder));
            }
            What::SyncFolder { path, covered } => self.sync_folder(&path, covered),
            What::Mapped { inode } => self.file(inode)?.mapped = true,
            What::Amend { .. } => {}
        }
        Ok(())
    }

    fn new_file(&mut self, durable: Vec<u8>) -> Entry {
        self.files.push(FileState {
            durable,
            ..FileState::default()
        });
        Entry::File(self.files.len() - 1)
    }

    fn file(&mut self, inode: u64) -> Result<&mut FileState, LabError> {
        let file = self.inodes.get(&inode).copied();
        let file = file.and_then(|file| self.files.get_mut(file));
        file.ok_or_else(|| untold("it changed a file that it never opened"))
    }

    fn name(&mut self, number: u64, change: NameChange) {
        apply_name(&mut self.live, &change);
        self.pending.push((number, change));
    }

    fn sync_folder(&mut self, folder: &str, covered: u64) {
        let (synced, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(number, change)| *number <= covered && change.folder() == folder);
        self.pending = pending;
        let synced: Vec<(u64, NameChange)> = synced;
        for (_, change) in &synced {
            apply_name(&mut self.durable, change);
        }
    }

    /// Whether a cut has left less than a program had seen.
    pub(crate) fn has_lost(&self, after: &Image) -> bool {
        !self.shows(after)
    }

    /// Whether a program would see exactly this, but for files that change without a record.
    fn shows(&self, now: &Image) -> bool {
        self.live.len() == now.entries.len()
            && self
                .live
                .iter()
                .all(|(path, entry)| match (entry, now.entries.get(path)) {
                    (Entry::Folder, Some(None)) => true,
                    (Entry::File(file), Some(Some(octets))) => {
                        self.files.get(*file).is_some_and(|state| {
                            state.may_change_unseen(path) || state.live() == *octets
                        })
                    }
                    (Entry::Folder, None | Some(Some(_))) | (Entry::File(_), None | Some(None)) => {
                        false
                    }
                })
    }
}

impl FileState {
    fn sync(&mut self, covered: u64) {
        let pending = std::mem::take(&mut self.pending);
        for (number, change) in pending {
            match number <= covered {
                true => change.apply(&mut self.durable),
                false => self.pending.push((number, change)),
            }
        }
    }

    /// As a program sees it.
    fn live(&self) -> Vec<u8> {
        let mut octets = self.durable.clone();
        for (_, change) in &self.pending {
            change.apply(&mut octets);
        }
        octets
    }

    /// SQLite's shared index of the log is made anew after a crash. Any other file that is written through memory would
    /// show as a difference.
    fn may_change_unseen(&self, path: &str) -> bool {
        self.mapped && path.ends_with("-shm")
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, octets } => overwrite(file, place(*offset), octets),
            Self::Truncate(length) => file.resize(place(*length), 0),
        }
    }
}

impl NameChange {
    /// The folder whose sync makes it last.
    fn folder(&self) -> &str {
        match self {
            Self::Put(path, _) | Self::Drop(path) | Self::Move(path, _) => parent(path),
        }
    }
}

impl Image {
    /// Takes out what is in no folder.
    fn drop_orphans(&mut self) {
        let mut folders = vec![String::new()];
        self.entries.retain(|path, octets| {
            let is_held = folders.iter().any(|folder| folder == parent(path));
            if is_held && octets.is_none() {
                folders.push(path.clone());
            }
            is_held
        });
    }
}

/// How much chance leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
struct Luck {
    /// Changes of a hundred that are there.
    kept: u8,
    /// Of those that are not, how many of a hundred are there in part.
    torn: u8,
}

impl Luck {
    /// All or nothing at times, as disks have it.
    fn draw(rng: &mut Rng) -> Self {
        let kept = rng.choice([0, 10, 50, 90, 100]).unwrap_or_default();
        let torn = rng.choice([0, 20, 100]).unwrap_or_default();
        Self { kept, torn }
    }

    fn prefix(self, rng: &mut Rng, all: usize) -> usize {
        match self.kept {
            0 => 0,
            100.. => all,
            1..100 => rng.usize(..=all),
        }
    }

    /// Applies a change, or not, or in part.
    fn change(self, rng: &mut Rng, file: &mut Vec<u8>, change: &Change) {
        if rng.u8(..100) < self.kept {
            change.apply(file);
        } else if let Change::Write { offset, octets } = change
            && rng.u8(..100) < self.torn
        {
            self.tear(rng, file, place(*offset), octets);
        }
    }

    /// Writes some sectors; the file is as long afterwards as if all had been written.
    fn tear(self, rng: &mut Rng, file: &mut Vec<u8>, offset: usize, octets: &[u8]) {
        file.resize(file.len().max(offset + octets.len()), 0);
        let mut at = offset;
        let mut rest = octets;
        while !rest.is_empty() {
            let to_sector_end = SECTOR_OCTETS - at % SECTOR_OCTETS;
            let (sector, after) = rest.split_at(to_sector_end.min(rest.len()));
            if rng.bool() {
                overwrite(file, at, sector);
            }
            at += sector.len();
            rest = after;
        }
    }
}

fn apply_name(names: &mut BTreeMap<String, Entry>, change: &NameChange) {
    match change {
        NameChange::Put(path, entry) => {
            names.insert(path.clone(), *entry);
        }
        NameChange::Drop(path) => {
            names.remove(path);
        }
        NameChange::Move(from, to) => {
            if let Some(entry) = names.remove(from) {
                names.insert(to.clone(), entry);
            }
        }
    }
}

/// Puts octets into a file that grows for them.
fn overwrite(file: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    let end = offset + octets.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(offset..end) {
        place.copy_from_slice(octets);
    }
}

/// The folder of a path.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A place in a file that is in memory.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The record does not tell everything.
fn untold(what: &str) -> LabError {
    LabError::Subject(format!(
        "does to its storage what the lab cannot judge: {what}"
    ))
}

/// What a disk writes whole.
const SECTOR_OCTETS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_there_after_every_cut() {
        // The file holds `1`, for good with its name; then `2` is written and not synced.
        let records = [
            create("/a"),
            bound("/a"),
            write(0, b"1"),
            sync(3),
            sync_folder(3),
            write(0, b"2"),
        ];
        check(
            &records,
            &[("/a", b"2")],
            &[&[("/a", b"1")], &[("/a", b"2")]],
        );
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let records = [
            create("/a"),
            bound("/a"),
            write(0, b"1"),
            write(1, b"2"),
            sync(3),
            sync_folder(2),
        ];
        // A file may have grown for octets that never came.
        let results: &[&[(&str, &[u8])]] = &[&[("/a", b"1")], &[("/a", b"1\0")], &[("/a", b"12")]];
        check(&records, &[("/a", b"12")], results);
    }

    #[test]
    fn names_that_were_not_synced_may_be_missing() {
        let records = [create("/a"), bound("/a"), write(0, b"1"), sync(3)];
        check(&records, &[("/a", b"1")], &[&[], &[("/a", b"1")]]);
        let renamed = [
            create("/a"),
            bound("/a"),
            write(0, b"1"),
            sync(3),
            sync_folder(4),
            What::Rename {
                from: String::from("/a"),
                to: String::from("/b"),
            },
        ];
        check(
            &renamed,
            &[("/b", b"1")],
            &[&[("/a", b"1")], &[("/b", b"1")]],
        );
    }

    #[test]
    fn writes_are_torn_between_sectors() {
        let old = [1; 1024];
        let new = [2; 1024];
        let records = [
            create("/a"),
            bound("/a"),
            write(0, &old),
            sync(3),
            sync_folder(3),
            write(0, &new),
        ];
        let first = [new.split_at(512).0, old.split_at(512).0].concat();
        let second = [old.split_at(512).0, new.split_at(512).0].concat();
        let results: &[&[(&str, &[u8])]] = &[
            &[("/a", &old)],
            &[("/a", &new)],
            &[("/a", &first)],
            &[("/a", &second)],
        ];
        check(&records, &[("/a", &new)], results);
    }

    #[test]
    fn what_failed_did_not_happen() {
        let records = [
            create("/a"),
            bound("/a"),
            write(0, b"123"),
            What::Amend {
                change: 3,
                octets: 1,
            },
            sync(4),
            sync_folder(4),
            write(0, b"4"),
            What::Amend {
                change: 7,
                octets: 0,
            },
        ];
        check(&records, &[("/a", b"1")], &[&[("/a", b"1")]]);
    }

    #[test]
    fn a_record_that_does_not_lead_to_the_files_is_refused() {
        let records = numbered(&[
            create("/a"),
            bound("/a"),
            write(0, b"1"),
            sync(3),
            write(0, b"2"),
        ]);
        let replay =
            |octets: &[u8]| Disk::replay(&Image::default(), &records, &image(&[("/a", octets)]));
        replay(b"2").unwrap();
        // The last write may not have happened any more.
        replay(b"1").unwrap();
        replay(b"3").unwrap_err();
        replay(b"").unwrap_err();
    }

    #[test]
    fn a_folder_is_made_to_hold_an_image_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let nested = |path: &str, octets: &[u8]| {
            let mut image = image(&[(path, octets), ("/same", b"s")]);
            let (folder, _) = path.rsplit_once('/').unwrap();
            image.entries.insert(String::from(folder), None);
            image
        };
        let mut now = Image::default();
        for image in [
            nested("/a/x", b"1"),
            nested("/a/x", b"2"),
            nested("/b/y", b"1"),
            image(&[("/a", b"1")]),
        ] {
            image.write(folder.path(), &now).unwrap();
            now = Image::read(folder.path()).unwrap();
            assert_eq!(now, image);
        }
    }

    /// Checks that chance leaves exactly these results, and no others.
    #[track_caller]
    fn check(records: &[What], now: &[(&str, &[u8])], results: &[&[(&str, &[u8])]]) {
        let now = image(now);
        let disk = Disk::replay(&Image::default(), &numbered(records), &now).unwrap();
        let mut left: Vec<Image> = results.iter().map(|result| image(result)).collect();
        let all = left.clone();
        let mut rng = Rng::with_seed(1);
        for _ in 0..500 {
            let cut = disk.cut(&mut rng, &now);
            assert!(all.contains(&cut), "{cut:?}");
            left.retain(|image| *image != cut);
        }
        assert_eq!(left, []);
    }

    fn numbered(records: &[What]) -> Vec<Record> {
        let records = (1..).zip(records);
        records
            .map(|(change, what)| Record {
                change,
                what: what.clone(),
            })
            .collect()
    }

    fn image(files: &[(&str, &[u8])]) -> Image {
        let entries = files.iter();
        Image {
            entries: entries
                .map(|(path, octets)| (String::from(*path), Some(octets.to_vec())))
                .collect(),
        }
    }

    fn create(path: &str) -> What {
        What::Create {
            path: String::from(path),
        }
    }

    fn bound(path: &str) -> What {
        What::Bound {
            path: String::from(path),
            inode: 7,
        }
    }

    fn write(offset: u64, octets: &[u8]) -> What {
        What::Write {
            inode: 7,
            offset,
            octets: octets.to_vec(),
        }
    }

    fn sync(covered: u64) -> What {
        What::Sync { inode: 7, covered }
    }

    fn sync_folder(covered: u64) -> What {
        What::SyncFolder {
            path: String::new(),
            covered,
        }
    }
}
