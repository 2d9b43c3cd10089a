//! The policy daemon as a service: its listeners, beside the relay or alone.

mod http;

use std::fs;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use byrnie_mta::policyd::Desk;
use byrnie_mta::policyd::Door;
use byrnie_mta::policyd::Doors;
use byrnie_mta::policyd::PolicyDaemon;
use byrnie_net::http::HttpServer;
use serde_json::Value;
use tokio::net::TcpListener;
use tracing::info;

use self::http::PolicyService;
use super::butler::answer;
use super::common::Common;
use super::door::Obey;
use super::listening;
use super::reload::Reloader;
use crate::config::File;
use crate::config::Listen;
use crate::control::Request;
use crate::failure::Failure;

/// Where other mail servers ask, before they are answered.
pub(super) struct Policyd {
    doors: Doors,
    http: Vec<TcpListener>,
    connections_max: usize,
    /// The places of Postfix's and Exim's doors, for the log.
    places: String,
}

impl Policyd {
    /// Listens wherever the configuration says; `None` if it says nowhere.
    ///
    /// # Errors
    /// An address or a path cannot be had.
    pub(super) async fn listen(file: &File) -> Result<Option<Self>, Failure> {
        let settings = &file.policyd;
        if !settings.is_on() {
            return Ok(None);
        }
        let places = settings.socketmap.iter().chain(&settings.exim);
        let places: Vec<String> = places.map(ToString::to_string).collect();
        Ok(Some(Self {
            doors: Doors {
                socketmap: doors(&settings.socketmap).await?,
                lines: doors(&settings.exim).await?,
            },
            http: listening::bind_all(&settings.http).await?,
            connections_max: settings.max_connections,
            places: places.join(", "),
        }))
    }

    /// Answers until the gateway comes to its end.
    ///
    /// # Errors
    /// The system does not let it.
    pub(super) fn start(self, common: &Common) -> Result<PolicyDaemon, Failure> {
        let http = listening::addresses(&self.http);
        info!(target: "byrnie::serve", places = self.places, http, "tells other mail servers how mail must go");
        let desk = Arc::new(Desk::new(Arc::clone(&common.decider), &common.metrics));
        let until = || common.life.clone().ended();
        let service = PolicyService::new(Arc::clone(&desk));
        let server = Arc::new(HttpServer::new(service, http::CONNECTIONS));
        for listener in self.http {
            let (server, until) = (Arc::clone(&server), until());
            tokio::spawn(async move { server.serve(listener, until).await });
        }
        PolicyDaemon::start(
            self.doors,
            &desk,
            &common.metrics,
            self.connections_max,
            until(),
        )
        .map_err(|error| Failure::runtime(error.to_string()))
    }
}

/// The most clients of the policy daemon, as it is configured.
pub(super) fn clients(file: &File) -> usize {
    let settings = &file.policyd;
    let on = |places: bool, max| if places { max } else { 0 };
    let asking = !(settings.socketmap.is_empty() && settings.exim.is_empty());
    on(asking, settings.max_connections)
        .saturating_add(on(!settings.http.is_empty(), http::CONNECTIONS.in_all))
}

/// Who does what commands ask for where no mail is relayed.
pub(super) struct Steward(pub(super) Arc<Reloader>);

impl Obey for Steward {
    async fn obey(&self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Reload => {
                let reloader = Arc::clone(&self.0);
                answer(&Reloader::reload_aside(reloader).await?)
            }
            Request::PublishAnew { domain } => answer(&self.0.publish_anew(&domain).await?),
            Request::Steer { .. }
            | Request::Look { .. }
            | Request::TakeReport { .. }
            | Request::PutAside { .. } => Err(Failure::usage(
                "this byrnie relays no mail: it has no queue and takes no reports",
            )
            .hint("it was started with `byrnie serve --only policyd`")),
        }
    }
}

/// Listens at every place.
async fn doors(places: &[Listen]) -> Result<Vec<Door>, Failure> {
    let mut doors = Vec::new();
    for place in places {
        doors.push(match place {
            Listen::At(address) => {
                let listener = listening::bind(*address).await?;
                let listener = listener.into_std();
                Door::Tcp(listener.map_err(|error| Failure::runtime(error.to_string()))?)
            }
            Listen::Unix(path) => Door::Unix(socket(path)?),
        });
    }
    Ok(doors)
}

/// Listens at a path, for everybody who can reach its folder.
fn socket(path: &Path) -> Result<UnixListener, Failure> {
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
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}

/// Postfix and Exim run as users of their own. Who may ask is a matter of the folder.
const SOCKET_MODE: u32 = 0o666;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("policyd.sock");
        drop(socket(&path).unwrap());
        let listening = socket(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let failure = socket(&path).unwrap_err();
        assert!(failure.message().contains("in use"), "{failure:?}");
        drop(listening);
        // What is no socket is nobody's to remove.
        let file = folder.path().join("mail.txt");
        fs::write(&file, "precious").unwrap();
        socket(&file).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
