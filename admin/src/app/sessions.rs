//! Sessions: a login that a browser holds, as one signed cookie value, for cube-admin's own pages.
//!
//! A session is a login like any other: it is in the list of logins, ends with it, and counts only while it is in the database. What
//! the browser holds is a token with a use of its own, so that it is neither an access token (no proxy takes it) nor a refresh token.

use std::time::Duration;

use cube_wire::jwt::{Claims, ISSUER, Use};

use super::logins::TokenPair;
use super::{App, AppError, Asker, Principal, Via};
use crate::clock::Moment;
use crate::store::logins::LoginRow;
use crate::store::users::UserRow;
use crate::store::{AuditEntry, logins, users};

/// Longest life of an access token that a page fetches: it asks again when it needs another.
const PAGE_ACCESS_LIFETIME: Duration = Duration::from_secs(300);

/// Who has a page open.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who acts.
    pub principal: Principal,
    /// The same user, with names.
    pub user: UserRow,
    /// The login behind it.
    pub login: LoginRow,
}

impl App {
    /// What a browser is to hold for a login, and until when it is good.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`] if the login has ended already.
    pub async fn begin_session(&self, pair: &TokenPair) -> Result<(String, Moment), AppError> {
        let now = Moment::now();
        let claims = self.keys.verify(pair.access.as_bytes(), Use::Access, now.unix_s());
        let claims = claims.map_err(|_| AppError::Unauthenticated { what: "not a good access token" })?;
        let found = logins::find(&mut self.store.read().await?, &claims.jti).await?;
        let login = found.ok_or(AppError::Unauthenticated { what: "no such login" })?;
        let claims = self.claims(&login, Use::Session, now, login.expires_at);
        Ok((self.keys.sign(&claims), login.expires_at))
    }

    /// Who holds this session.
    ///
    /// # Errors
    /// [`AppError::Unauthenticated`].
    pub async fn resume_session(&self, held: &str) -> Result<Session, AppError> {
        let no = |what| AppError::Unauthenticated { what };
        let now = Moment::now();
        let claims = self.keys.verify(held.as_bytes(), Use::Session, now.unix_s());
        let claims = claims.map_err(|_| no("not a good session"))?;
        let mut connection = self.store.read().await?;
        let user = users::find(&mut connection, claims.sub).await?.ok_or(no("no such user"))?;
        let login = logins::find(&mut connection, &claims.jti).await?.ok_or(no("no such login"))?;
        let over = login.revoked_at.is_some() || login.expires_at <= now || login.user != user.id;
        if over || !user.enabled {
            return Err(no("a session that has ended"));
        }
        let via = Via::Login { login: claims.jti };
        Ok(Session { principal: Principal { user: user.id, superadmin: user.superadmin, via }, user, login })
    }

    /// A short-lived access token for what a page of this session asks a proxy, and until when it is good.
    #[must_use]
    pub fn access_of(&self, session: &Session) -> (String, Moment) {
        let now = Moment::now();
        let lifetime = self.settings.login.access_lifetime.min(PAGE_ACCESS_LIFETIME);
        let until = now.after(lifetime).min(session.login.expires_at);
        (self.keys.sign(&self.claims(&session.login, Use::Access, now, until)), until)
    }

    /// Ends all of the user's logins but the session's own; returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_other_logins(&self, session: &Session, asker: &Asker) -> Result<usize, AppError> {
        let (principal, now) = (&session.principal, Moment::now());
        let mut tx = self.store.begin().await?;
        let mut ended = 0;
        for login in logins::of_user(tx.connection(), principal.user, now).await? {
            if login.id != session.login.id && logins::revoke(&mut tx, principal.user, &login.id, now).await?
            {
                tx.audit(AuditEntry { ..principal.did(asker, "login.revoke", "login", &login.id) });
                ended += 1;
            }
        }
        tx.commit().await?;
        Ok(ended)
    }

    fn claims(&self, login: &LoginRow, usage: Use, now: Moment, until: Moment) -> Claims {
        let (iat, exp) = (now.unix_s(), until.unix_s());
        Claims { iss: ISSUER.to_owned(), sub: login.user, usage, iat, exp, jti: login.id.clone() }
    }
}
