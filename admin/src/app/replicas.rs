//! Following what other replicas of cube-admin do on the same database.

use std::time::Duration;

use super::throttle::Who;
use super::{App, AppError};
use crate::store::replicas::{Listener, News};

/// How long until a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows until the process ends; does nothing where there can be no other replica.
pub async fn follow(app: App) {
    if !app.store.has_replicas() {
        return;
    }
    loop {
        match app.store.listen().await {
            Ok(Some(mut listener)) => {
                let Err(error) = until_broken(&app, &mut listener).await;
                tracing::warn!(%error, "other replicas cannot be heard");
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "other replicas cannot be heard"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_broken(app: &App, listener: &mut Listener) -> Result<std::convert::Infallible, AppError> {
    // Before this nobody listened.
    let mut news = News::Anything;
    loop {
        match news {
            News::Keys => app.keys.reload(app).await?,
            News::Node(name) => app.nodes.look_at(&app.store, &name).await?,
            News::Attempt { who, succeeded } => {
                if let Some(who) = Who::of_digest(&who) {
                    app.heard_of_attempt(who, succeeded);
                }
            }
            News::Anything => {
                app.keys.reload(app).await?;
                app.nodes.look_at_all(&app.store).await?;
            }
        }
        news = listener.next(&app.store).await?;
    }
}
