//! Where services listen.

use std::fs;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Listens at every address.
pub(super) async fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(*address).await?);
    }
    Ok(listeners)
}

/// Listens at one address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::runtime(format!("cannot listen at {address}: {error}"))
            .hint("is the address this machine's, free, and its port above 1023 or the user root?")
    })
}

/// Where listeners really listen, for the log.
pub(super) fn addresses(listeners: &[TcpListener]) -> String {
    let addresses = listeners.iter().filter_map(|at| at.local_addr().ok());
    let texts: Vec<String> = addresses.map(|address| address.to_string()).collect();
    texts.join(", ")
}

/// Listens at a path, for everybody who can reach its folder.
pub(super) fn at_path<T>(
    path: &Path,
    bind: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<T, Failure> {
    let failed = |error: io::Error| {
        Failure::runtime(format!("cannot listen at {}: {error}", path.display())).hint(
            "the folder must exist and be writable for the user that byrnie runs as, and the path \
             shorter than 108 octets",
        )
    };
    // One that nobody listens at was left behind by a byrnie that was killed.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refuses = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refuses) {
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}

/// Postfix and Exim run as users of their own. Who may ask, or tell, is a matter of the folder.
const SOCKET_MODE: u32 = 0o666;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("policyd.sock");
        drop(at_path(&path, |path| UnixListener::bind(path)).unwrap());
        let listening = at_path(&path, |path| UnixListener::bind(path)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let failure = at_path(&path, |path| UnixListener::bind(path)).unwrap_err();
        assert!(failure.message().contains("in use"), "{failure:?}");
        drop(listening);
        // What is no socket is nobody's to remove.
        let file = folder.path().join("mail.txt");
        fs::write(&file, "precious").unwrap();
        at_path(&file, |path| UnixListener::bind(path)).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
