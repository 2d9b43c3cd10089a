//! A listener that a host can take away and put back.

use std::future::Future;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;

use crate::LabError;

/// Connections that one host serves at once; further ones are closed unheard.
const CONNECTIONS_MAX: usize = 512;

/// An accept loop; ends, with every connection of it, when dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    /// The loop.
    task: JoinHandle<()>,
}

impl Listening {
    /// Binds, and passes each connection to `serve`.
    pub(crate) async fn start<F, C>(
        address: SocketAddr,
        who: &str,
        serve: F,
    ) -> Result<Self, LabError>
    where
        F: Fn(TcpStream) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let doing = format!("listen on {address} for {who}");
        let listener = TcpListener::bind(address)
            .await
            .map_err(LabError::io(doing))?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                // An error here concerns a client that went away again.
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                // Small writes must not wait for one another.
                let _ = stream.set_nodelay(true);
                if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(serve(stream));
                }
            }
        });
        Ok(Self { task })
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // The only outcome is the cancellation just asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}
