//! The policy daemon as a service: its listeners, beside the relay or alone.

mod http;

use std::os::unix::net::UnixListener;
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
            Listen::Unix(path) => {
                Door::Unix(listening::at_path(path, |path| UnixListener::bind(path))?)
            }
        });
    }
    Ok(doors)
}
