//! Where an import takes items from: files, folders, mailboxes, standard input.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use super::shown;
use crate::failure::Failure;

/// A file, or standard input.
pub(super) struct Source(PathBuf);

/// Something that may be a report, or a mail with one.
pub(super) struct Item<'a> {
    /// Where it is from.
    pub(super) name: &'a str,
    /// Its octets, or why they cannot be had.
    pub(super) octets: Result<&'a [u8], String>,
}

/// Every file under these paths, sorted by name.
///
/// # Errors
/// A path leads nowhere, or there is too much below it.
pub(super) fn all(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path != Path::new(STANDARD_INPUT) {
            let failed = |error| {
                Failure::usage(format!("{}: {error}", path.display()))
                    .hint("nothing was imported; leave it out to import the rest")
            };
            if fs::metadata(path).map_err(failed)?.is_dir() {
                walk(path, FOLDERS_MAX, &mut sources).map_err(failed)?;
                continue;
            }
        }
        sources.push(Source(path.clone()));
    }
    Ok(sources)
}

/// Finds the files in a folder and in those below it. Links to folders are not followed.
fn walk(folder: &Path, depth_left: usize, sources: &mut Vec<Source>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() && depth_left > 0 {
            walk(&entry.path(), depth_left - 1, sources)?;
        } else if !kind.is_dir() && entry.path().is_file() {
            sources.push(Source(entry.path()));
        }
    }
    Ok(())
}

impl Source {
    /// Shows each item in it.
    pub(super) fn for_each(
        &self,
        show: impl FnMut(Item<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let name = shown(&self.0);
        if self.0 == Path::new(STANDARD_INPUT) {
            return items(io::stdin().lock(), &name, show);
        }
        match File::open(&self.0) {
            Ok(file) => items(BufReader::new(file), &name, show),
            Err(error) => not_had(&name, &error, show),
        }
    }
}

/// Shows the mails of a mailbox, or what is one item.
fn items(
    mut reader: impl BufRead,
    name: &str,
    mut show: impl FnMut(Item<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut start = Vec::new();
    let mark = u64::try_from(MAILBOX_MARK.len()).unwrap_or(u64::MAX);
    if let Err(error) = reader.by_ref().take(mark).read_to_end(&mut start) {
        return not_had(name, &error, show);
    }
    let is_mailbox = start == MAILBOX_MARK;
    let mut whole = start.as_slice().chain(reader);
    if is_mailbox {
        return mailbox(whole, name, show);
    }
    let mut octets = Vec::new();
    match whole.by_ref().take(READ_MAX).read_to_end(&mut octets) {
        Ok(_) => show(item(name, &octets)),
        Err(error) => not_had(name, &error, show),
    }
}

/// Shows the mails of a mailbox in the form `mboxrd` or `mboxo`: each begins with a line that begins with
/// `From `, behind an empty one.
fn mailbox(
    mut reader: impl BufRead,
    name: &str,
    mut show: impl FnMut(Item<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut number, mut mail, mut line) = (0_u64, Vec::new(), Vec::new());
    let mut after_empty = true;
    loop {
        line.clear();
        let read = reader.by_ref().take(READ_MAX).read_until(b'\n', &mut line);
        let read = match read {
            Ok(read) => read,
            Err(error) => return not_had(name, &error, show),
        };
        let begins = after_empty && line.starts_with(MAILBOX_MARK);
        if (begins || read == 0) && number > 0 {
            show(item(&format!("{name}, mail {number}"), &mail))?;
            mail.clear();
        }
        if read == 0 {
            return Ok(());
        }
        after_empty = line.trim_ascii().is_empty();
        if begins {
            number += 1;
        } else if mail.len() <= OCTETS_MAX {
            mail.extend_from_slice(unquoted(&line));
        }
    }
}

/// A line of a mailbox without the `>` that was put before its `From `.
fn unquoted(line: &[u8]) -> &[u8] {
    match line.strip_prefix(b">") {
        Some(rest) if rest.starts_with(MAILBOX_MARK) || rest.starts_with(b">") => rest,
        Some(_) | None => line,
    }
}

/// An item, if it is not too large.
fn item<'a>(name: &'a str, octets: &'a [u8]) -> Item<'a> {
    Item {
        name,
        octets: match octets.len() {
            0..=OCTETS_MAX => Ok(octets),
            _ => Err(format!("it is larger than {OCTETS_MAX} octets")),
        },
    }
}

/// Shows that an item cannot be had.
fn not_had(
    name: &str,
    error: &io::Error,
    mut show: impl FnMut(Item<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    show(Item {
        name,
        octets: Err(error.to_string()),
    })
}

/// Stands for standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// How a mailbox begins, and each mail in it.
const MAILBOX_MARK: &[u8] = b"From ";

/// The largest item: in base64 it fits into a line to the gateway.
const OCTETS_MAX: usize = 11 << 20;

/// How much is read of an item: enough to see that it is too large.
const READ_MAX: u64 = (11 << 20) + 1;

/// How deep folders are looked into.
const FOLDERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_item() {
        check(b"", &[("f", "")]);
        check(b"{}", &[("f", "{}")]);
        check(
            b"From: a@b.example\n\nFrom here",
            &[("f", "From: a@b.example\n\nFrom here")],
        );
    }

    #[test]
    fn a_mailbox_has_an_item_for_each_mail() {
        check(
            b"From a Mon\nA: 1\n\n>From x\n>>From y\n> z\nFrom w\n\nFrom b Tue\r\nB: 2\r\n\r\nend",
            &[
                ("f, mail 1", "A: 1\n\nFrom x\n>From y\n> z\nFrom w\n\n"),
                ("f, mail 2", "B: 2\r\n\r\nend"),
            ],
        );
        check(b"From ", &[("f, mail 1", "")]);
    }

    #[test]
    fn what_is_too_large_is_said_and_takes_no_more_memory() {
        let endless = io::repeat(b'x');
        let mut said = Vec::new();
        let shown = items(BufReader::new(endless), "f", |item| {
            said.push(item.octets.unwrap_err());
            Ok(())
        });
        shown.unwrap();
        assert_eq!(said, ["it is larger than 11534336 octets"]);
    }

    #[test]
    fn folders_are_looked_into_in_order() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("cur/x")).unwrap();
        for name in ["new.eml", "cur/2:2,S", "cur/1:2,S", "cur/x/3"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let sources = all(&[folder.path().to_path_buf()]).unwrap();
        let names: Vec<String> = sources
            .iter()
            .map(|Source(path)| {
                path.strip_prefix(folder.path())
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["cur/1:2,S", "cur/2:2,S", "cur/x/3", "new.eml"]);
        let failure = all(&[folder.path().join("none")]).err().unwrap();
        assert!(
            failure.message().contains("none: "),
            "{}",
            failure.message()
        );
    }

    #[track_caller]
    fn check(octets: &[u8], expected: &[(&str, &str)]) {
        let mut found = Vec::new();
        items(octets, "f", |item| {
            let text = String::from_utf8(item.octets.unwrap().to_vec()).unwrap();
            found.push((item.name.to_owned(), text));
            Ok(())
        })
        .unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }
}
