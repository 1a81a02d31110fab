//! What has to be done now and then: keys replaced, old rows forgotten.

use std::time::Duration;

use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::logins;

/// How often.
const EVERY: Duration = Duration::from_secs(600);

/// Keeps up until the process ends. What fails is tried again next time.
pub async fn keep_up(app: App) {
    loop {
        let ended = once(&app).await.inspect_err(|error| tracing::error!(%error, "upkeep failed"));
        app.figures.upkeep(ended.is_ok().then(|| Moment::now().0 / 1000));
        tokio::time::sleep(EVERY).await;
    }
}

async fn once(app: &App) -> Result<(), AppError> {
    let now = Moment::now();
    let before =
        |keep: Duration| Moment(now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)));
    app.keys.rotate_if_due(app, before(app.settings.login.key_rotation)).await?;
    app.keys.remove_retired(app).await?;
    app.store.prune_change_log(app.settings.keep.generations).await?;
    while app.store.prune_usage(before(app.settings.keep.usage)).await? > 0 {}
    while app.store.prune_audit(before(app.settings.keep.audit)).await? > 0 {}
    let mut tx = app.store.begin().await?;
    logins::prune(&mut tx, now).await?;
    tx.commit().await?;
    Ok(())
}
