//! The rules: who may do what to what, and what a change brings with it. One file per capability.
//!
//! Functions here take the [`App`], who asks ([`Principal`]) and plain inputs, and return what happened or an [`AppError`]. They
//! know nothing of HTTP, and leave SQL to [`crate::store`].

pub mod api_keys;
pub mod audit;
pub mod authorize;
pub mod deployments;
pub mod domains;
pub mod error;
pub mod explain;
pub mod invitations;
pub mod logins;
pub mod models;
pub mod nodes;
pub mod oidc;
pub mod pats;
pub mod principal;
#[cfg(test)]
mod replay;
pub mod replicas;
pub mod roles;
pub mod routes;
pub mod scim;
pub mod scopes;
pub mod sessions;
pub mod throttle;
pub mod usage;
pub mod users;
pub mod verify;

use std::sync::Arc;

use cube_wire::seal::FleetKey;

use crate::figures::Figures;
use crate::oidc::provider::Provider;
use crate::settings::Settings;
use crate::store::Store;
pub use authorize::authorize;
pub use error::AppError;
use logins::Keys;
use nodes::Nodes;
pub use principal::{Asker, Principal, Via};
use throttle::Throttle;

/// Everything that a request needs; cloned for each.
#[derive(Clone, Debug)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The program's settings.
    pub settings: Arc<Settings>,
    /// Seals endpoint credentials and our own private keys.
    pub fleet_key: Arc<FleetKey>,
    /// Sign and verify access tokens.
    pub keys: Keys,
    /// What proxies said of themselves.
    pub nodes: Nodes,
    /// The external issuer, if the settings name one.
    pub oidc: Option<Arc<Provider>>,
    /// Slows guessing of passwords down.
    pub logins: Throttle,
    /// What is counted.
    pub figures: Figures,
}

impl App {
    /// Puts it together; makes the first signing key if there is none.
    ///
    /// # Errors
    /// The database failed, its keys are sealed with another fleet key, or a file of the external issuer cannot be used.
    pub async fn new(store: Store, settings: Arc<Settings>, fleet_key: FleetKey) -> Result<Self, AppError> {
        let fleet_key = Arc::new(fleet_key);
        let keys = Keys::load(&store, &fleet_key, &settings).await?;
        let logins = Throttle::new(settings.login.attempts_max, settings.login.window);
        let nodes = Nodes::load(&store).await?;
        let oidc = settings.oidc.clone().map(Provider::new).transpose().map_err(AppError::internal)?;
        let figures = Figures::new(store.changes().clone());
        Ok(Self { store, settings, fleet_key, keys, nodes, oidc: oidc.map(Arc::new), logins, figures })
    }
}
