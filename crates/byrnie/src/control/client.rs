//! The side of the commands.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Call;
use super::LINE_OCTETS_MAX;
use super::Request;
use super::Said;
use super::VERSION;
use super::socket_path;
use crate::failure::Failure;

/// Asks the gateway of a spool, and waits for as long as it needs. `T` is what the request is answered by;
/// `None` if nobody listens: no gateway runs on the spool, or it is just starting or ending.
///
/// # Errors
/// The gateway refuses, or the way to it is broken.
pub(crate) fn ask<T: DeserializeOwned>(
    spool: &Path,
    request: &Request,
) -> Result<Option<T>, Failure> {
    let path = socket_path(spool);
    let broken = |error: io::Error| {
        let failure = Failure::runtime(format!("{}: {error}", path.display()));
        match error.kind() == io::ErrorKind::PermissionDenied {
            true => failure.hint("run it as the user of the gateway, or as root"),
            false => failure.hint("the log of `byrnie serve` may say more"),
        }
    };
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) => {
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return match nobody.contains(&error.kind()) {
                true => Ok(None),
                false => Err(broken(error)),
            };
        }
    };
    match converse(stream, request).map_err(broken)? {
        Said::Done(answer) => serde_json::from_value(answer)
            .map(Some)
            .map_err(|error| broken(error.into())),
        Said::Refused(refused) => Err(refused.into()),
    }
}

/// Sends a request, and reads what is said.
fn converse(mut stream: UnixStream, request: &Request) -> io::Result<Said> {
    let call = Call {
        version: VERSION,
        request: serde_json::to_value(request)?,
    };
    let mut line = serde_json::to_vec(&call)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut said = String::new();
    BufReader::new(stream.take(LINE_OCTETS_MAX)).read_line(&mut said)?;
    if !said.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&said)?)
}
