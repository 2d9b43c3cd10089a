//! Reading the configuration again while the gateway works.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use byrnie_base::DomainName;
use byrnie_mta::Decider;
use byrnie_mta::MtaControl;
use byrnie_net::dns::Resolver;
use byrnie_store::SqliteStore;
use tracing::error;
use tracing::info;
use tracing::warn;

use super::receiving::Receiving;
use super::settings;
use super::web::Web;
use crate::cli::ServeArgs;
use crate::config;
use crate::config::Settings;
use crate::control::Reloaded;
use crate::failure::Failure;
use crate::log::LogLevel;
use crate::publishing::publish_anew;
use crate::resolving;
use crate::rules;

/// Takes over what has changed in the configuration.
pub(super) struct Reloader {
    /// Where the configuration is, and what counts in the place of its words.
    pub(super) args: ServeArgs,
    /// What counts at the moment.
    pub(super) running: Mutex<Settings>,
    /// The name under which byrnie runs.
    pub(super) hostname: DomainName,
    /// Takes over the rules.
    pub(super) decider: Arc<Decider<Resolver, SqliteStore>>,
    /// Takes over what is about mail; `None` where none is relayed.
    pub(super) control: Option<MtaControl>,
    /// Takes over how much is kept.
    pub(super) store: Arc<SqliteStore>,
    /// Takes over what is about public pages; `None` where none are served.
    pub(super) web: Option<Arc<Web>>,
    /// Takes over what is about TLS reports.
    pub(super) receiving: Arc<Receiving>,
    /// Takes over what is about the log.
    pub(super) log: LogLevel,
}

impl Reloader {
    /// Does it beside the threads that move mail.
    ///
    /// # Errors
    /// As for [`reload`](Self::reload).
    pub(super) async fn reload_aside(reloader: Arc<Self>) -> Result<Reloaded, Failure> {
        tokio::task::spawn_blocking(move || reloader.reload())
            .await
            .unwrap_or_else(|error| Err(Failure::runtime(error.to_string())))
    }

    /// Gives the policy that is published for a domain another id; says which edition it is now.
    ///
    /// # Errors
    /// None was published yet, or the store refuses.
    pub(super) async fn publish_anew(&self, domain: &DomainName) -> Result<u64, Failure> {
        let edition = publish_anew(&self.store, domain).await?;
        if let Some(web) = &self.web {
            web.publish_again();
        }
        Ok(edition)
    }

    /// Reads the configuration again, checks all of it, and takes over what can be; tells the log.
    ///
    /// # Errors
    /// The configuration is not good. Then everything stays as it was.
    fn reload(&self) -> Result<Reloaded, Failure> {
        // Whoever comes second sees what the first has taken over.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.take_over(&mut running);
        match &reloaded {
            Ok(reloaded) => {
                let file = reloaded.file.display();
                let in_force = listed(&reloaded.in_force);
                info!(target: "byrnie::serve", %file, in_force, "the configuration was read again");
                if !reloaded.after_restart.is_empty() {
                    let unchanged = listed(&reloaded.after_restart);
                    warn!(target: "byrnie::serve", unchanged, "some changes need a restart");
                }
                for warning in &reloaded.warnings {
                    warn!(target: "byrnie::serve", "{warning}");
                }
            }
            Err(failure) => error!(
                target: "byrnie::serve",
                error = failure.message(),
                hint = failure.advice(),
                "the configuration is not good; everything stays as it was"
            ),
        }
        reloaded
    }

    /// Reads, checks and takes over.
    fn take_over(&self, running: &mut Settings) -> Result<Reloaded, Failure> {
        let now = resolving::clock().now();
        let path = self.args.config.path();
        let file = resolving::settings(&self.args.config, &self.args.resolve)?;
        config::check_files(&file, path)?;
        config::check_lifetimes(&file, path, now)?;
        let tls = settings::server_tls(&file)?;
        self.log.set(&file.log.level)?;
        // Nothing can fail any more.
        // What is demanded of others comes first: nothing is accepted under a promise that nobody keeps.
        self.decider.set_rules(rules::rules(&file));
        if let Some(control) = &self.control {
            let mta = settings::mta(&file, self.hostname.clone());
            control.reconfigure(&mta, tls);
        }
        if let Some(web) = &self.web {
            web.reconfigure(&file);
        }
        self.store.set_bounds(settings::spool_bounds(&file));
        self.receiving.reconfigure(&file);
        let changes = running.take_over(&Settings::of(&file));
        let mut warnings = config::warnings(&file, now);
        let unusable = config::check_public_files(&file, path).err();
        warnings
            .extend(unusable.map(|why| format!("{why}; the one before goes on, if there was one")));
        Ok(Reloaded {
            file: path.to_path_buf(),
            in_force: changes.in_force,
            after_restart: changes.after_restart,
            warnings,
        })
    }
}

/// Keys, for the log.
fn listed(keys: &[String]) -> String {
    match keys {
        [] => String::from("nothing new"),
        keys => keys.join(", "),
    }
}
