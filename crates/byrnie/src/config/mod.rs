//! The configuration: one TOML file, in which every key has a default.
//!
//! [`mod@file`] is its form on disk, [`defaults`] what holds when a key is left out, [`check`] the rules
//! that span several keys, [`error`] what is wrong with a file and where, [`changes`] what a gateway at
//! work takes over of a file that was read again.

mod changes;
mod check;
mod defaults;
mod error;
mod file;
mod text;
mod tlsrpt;
mod web;

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use byrnie_base::UnixTime;

pub(crate) use changes::Settings;
pub(crate) use error::ConfigError;
pub(crate) use file::Addresses;
pub(crate) use file::DaneWord;
pub(crate) use file::DelayWarning;
pub(crate) use file::Dns;
pub(crate) use file::DnsMode;
pub(crate) use file::DnsTransport;
pub(crate) use file::File;
pub(crate) use file::InsecureMxWord;
pub(crate) use file::LogFormat;
pub(crate) use file::MetricsListen;
pub(crate) use file::Rule;
pub(crate) use file::RuleDomain;
pub(crate) use text::Listen;
pub(crate) use text::Span;
pub(crate) use web::MtaSts;
pub(crate) use web::WebCertificate;

/// Where the configuration is looked for when no `--config` is given.
pub(crate) const DEFAULT_PATH: &str = "/etc/byrnie/byrnie.toml";

/// Every key with its default and a comment, as `config defaults` prints it.
pub(crate) const COMMENTED_DEFAULTS: &str = include_str!("defaults.toml");

/// Reads the file at `path`, or the one at [`DEFAULT_PATH`] if it exists; else every default holds.
///
/// # Errors
/// The file cannot be read, or says something that byrnie does not understand.
pub(crate) fn load(path: Option<&Path>) -> Result<File, ConfigError> {
    let fallback = Path::new(DEFAULT_PATH);
    match path {
        Some(path) => read(path),
        None if fallback.exists() => read(fallback),
        None => parse("version = 1", fallback),
    }
}

/// Reads and parses one file; relative paths in it start at the file's own folder.
fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
    parse(&text, path)
}

/// Parses a text that stands at `path`.
///
/// # Errors
/// Says what is wrong, and on which line.
pub(crate) fn parse(text: &str, path: &Path) -> Result<File, ConfigError> {
    let mut file: File =
        toml::from_str(text).map_err(|error| ConfigError::from_toml(path, text, &error))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    for relative in paths(&mut file) {
        *relative = folder.join(&*relative);
    }
    check::consistency(&file, path, text)?;
    Ok(file)
}

/// Whether every file that the configuration names can be read and holds what it should.
///
/// # Errors
/// Names the key and what is wrong with its file.
pub(crate) fn check_files(file: &File, path: &Path) -> Result<(), ConfigError> {
    check::files(file, path)
}

/// The same for what public pages need, without which a gateway goes on.
///
/// # Errors
/// Names the key and what is wrong with its file.
pub(crate) fn check_public_files(file: &File, path: &Path) -> Result<(), ConfigError> {
    check::public_files(file, path)
}

/// Whether what is only for a while is for short enough.
///
/// # Errors
/// Names what goes on for too long.
pub(crate) fn check_lifetimes(file: &File, path: &Path, now: UnixTime) -> Result<(), ConfigError> {
    check::lifetimes(file, path, now)
}

/// What is not wrong in the configuration, and yet should be looked at.
pub(crate) fn warnings(file: &File, now: UnixTime) -> Vec<String> {
    check::warnings(file, now)
}

/// Every path in the configuration.
fn paths(file: &mut File) -> impl Iterator<Item = &mut PathBuf> {
    let certificates = file.web.certificate.iter_mut();
    let certificates = certificates.flat_map(|one| [&mut one.certificate_file, &mut one.key_file]);
    [
        file.smtp.tls_certificate_file.as_mut(),
        file.smtp.tls_key_file.as_mut(),
        file.dns.trust_anchor_file.as_mut(),
        file.tls.ca_file.as_mut(),
        file.tlsrpt.dkim_key_file.as_mut(),
        Some(&mut file.queue.spool),
    ]
    .into_iter()
    .flatten()
    .chain(certificates)
}

#[cfg(test)]
mod tests;
