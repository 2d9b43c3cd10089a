//! The side of the commands.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Answer;
use super::Call;
use super::LINE_OCTETS_MAX;
use super::Request;
use super::Said;
use super::VERSION;
use super::socket_path;
use crate::failure::Failure;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody listens: no gateway runs on the spool, or it is just starting or ending.
    NobodyThere,
    /// The gateway did not do it, or the way to it is broken.
    Failed(Failure),
}

/// Asks the gateway of a spool, and waits for as long as it needs.
///
/// # Errors
/// No gateway listens, or it refuses.
pub(crate) fn call(spool: &Path, request: &Request) -> Result<Answer, CallError> {
    let path = socket_path(spool);
    let broken = |error: io::Error| {
        let failure = Failure::runtime(format!("{}: {error}", path.display()));
        CallError::Failed(match error.kind() == io::ErrorKind::PermissionDenied {
            true => failure.hint("run it as the user of the gateway, or as root"),
            false => failure.hint("the log of `byrnie serve` may say more"),
        })
    };
    let mut stream = UnixStream::connect(&path).map_err(|error| {
        let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        match nobody.contains(&error.kind()) {
            true => CallError::NobodyThere,
            false => broken(error),
        }
    })?;
    let request = serde_json::to_value(request).map_err(|error| broken(error.into()))?;
    let call = Call {
        version: VERSION,
        request,
    };
    let mut line = serde_json::to_vec(&call).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    // Who refuses at once may not have read to the end.
    let written = stream.write_all(&line);
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_OCTETS_MAX))
        .read_line(&mut answer)
        .and(written)
        .map_err(broken)?;
    if !answer.ends_with('\n') {
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_str(&answer).map_err(|error| broken(error.into()))? {
        Said::Done(answer) => Ok(answer),
        Said::Refused(refused) => Err(CallError::Failed(refused.into())),
    }
}
