//! What is around every page: who visits, whether a form may be believed, and the header fields that keep a browser honest.
//!
//! Enters: any request below `/ui/`. Leaves: the page's answer, with its protection; or an error page in the same frame.
//!
//! # Promises
//! * A request that changes something is looked at only if it comes from a page of ours (`Origin`) and has the session's own secret
//!   (a field of every form, or `X-CSRF-Token`). It is held here and not in the handlers, so that none can forget it.
//! * Only what a form can send is read: `application/x-www-form-urlencoded`, at most 256 KiB.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use super::error::{Shown, UiError};
use super::form::Form;
use super::frame::{ErrorPage, Frame, Section, Theme};
use super::origin::{Origin, browser_has_tls, cookie, own_origin, set_cookie};
use crate::app::sessions::Session;
use crate::app::{App, Asker, Principal};
use crate::http::extract::asker;

/// Longest body of a form, in bytes.
const FORM_BYTES_MAX: usize = 256 * 1024;
/// The cookie that holds a session; over TLS with `__Host-` before it.
const SESSION_COOKIE: &str = "cube_session";
/// What forms are bound to before there is a session.
const VISIT_COOKIE: &str = "cube_visit";
/// The visitor's choice of colours.
pub(super) const THEME_COOKIE: &str = "cube_theme";

/// Only what we serve ourselves, and no line of script or style in a page. `report-uri` and not `report-to`: it reports at once,
/// and browsers that know only one of them know this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'; report-uri /ui/csp-report";

const PROTECTION: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    // Not `no-referrer`: forms would then say `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=()"),
];

/// Somebody looks at a page, signed in or not.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) app: App,
    pub(super) asker: Asker,
    pub(super) session: Option<Session>,
    /// Binds forms to the visitor.
    pub(super) csrf: String,
    pub(super) theme: Theme,
    /// Path and query, as asked for.
    pub(super) target: String,
    pub(super) origin: Origin,
    /// What browsers call the machine they run on, in our words.
    pub(super) browser: String,
    /// Made for this visit, to be kept by the browser.
    fresh: Option<String>,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Member {
    visit: Visit,
    pub(super) session: Session,
}

impl std::ops::Deref for Member {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.visit
    }
}

impl Member {
    /// Who acts.
    pub(super) const fn who(&self) -> &Principal {
        &self.session.principal
    }

    pub(super) fn frame(&self, section: Section, title: impl Into<String>) -> Frame {
        self.visit.frame(section, title)
    }

    /// Refuses everybody but superadmins, before anything is looked up.
    pub(super) fn operator(&self) -> Result<(), UiError> {
        Ok(self.who().as_superadmin()?)
    }
}

impl Visit {
    pub(super) fn frame(&self, section: Section, title: impl Into<String>) -> Frame {
        Frame::new(self, section, title.into())
    }

    /// The field that begins a session, for the browser to keep; `None` ends it.
    pub(super) fn session_cookie(&self, held: Option<&str>) -> HeaderValue {
        set_cookie(SESSION_COOKIE, held.unwrap_or_default(), self.origin.secure, held.is_none().then_some(0))
    }

    async fn of(parts: &Parts, app: &App) -> Result<Self, UiError> {
        let asker = asker(parts, app);
        let secure = app.settings.ui.secure_cookies || browser_has_tls(parts, app);
        let held = cookie(parts, SESSION_COOKIE, secure);
        let session = match &held {
            None => None,
            Some(held) => match app.resume_session(held).await {
                Ok(session) => Some(session),
                Err(crate::app::AppError::Unauthenticated { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let known = if session.is_some() { held } else { cookie(parts, VISIT_COOKIE, secure) };
        let known = known.filter(|value| value.len() >= 32);
        let fresh = known.is_none().then(|| format!("{0}{0}", uuid::Uuid::new_v4().simple()));
        let bound_to = known.as_deref().or(fresh.as_deref()).unwrap_or_default();
        let target = parts.uri.path_and_query().map_or("/ui/", |target| target.as_str()).to_owned();
        Ok(Self {
            app: app.clone(),
            asker,
            session,
            csrf: csrf_of(bound_to),
            theme: Theme::from_name(cookie(parts, THEME_COOKIE, secure).as_deref().unwrap_or_default()),
            target,
            origin: own_origin(parts, app, secure),
            browser: super::sessions::browser_of(parts),
            fresh,
        })
    }
}

/// What forms carry: it follows from what only this browser holds, and says nothing about it.
fn csrf_of(held: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(format!("cube-admin form\n{held}"));
    cube_wire::base64url::encode(&digest[..24])
}

/// The middleware.
pub(super) async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = match Visit::of(&parts, &app).await {
        Ok(visit) => visit,
        Err(error) => return protect(error.into_response()),
    };
    let response = match believed(&parts, body, &visit).await {
        Err(error) => error.into_response(),
        Ok(form) => {
            parts.extensions.insert(visit.clone());
            parts.extensions.insert(form);
            next.run(Request::from_parts(parts, Body::empty())).await
        }
    };
    let mut response = match response.extensions().get::<Shown>().cloned() {
        Some(shown) => ErrorPage::answer(&visit, &shown, response),
        None => response,
    };
    if let Some(fresh) = &visit.fresh {
        let cookie = set_cookie(VISIT_COOKIE, fresh, visit.origin.secure, None);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    protect(response)
}

fn protect(mut response: Response) -> Response {
    for (name, value) in PROTECTION {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The form of a request that changes something, if it is from a page of ours; an empty one for all others.
async fn believed(parts: &Parts, body: Body, visit: &Visit) -> Result<Form, UiError> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(Form::default());
    }
    if !visit.origin.is_of(parts) {
        return Err(UiError::forged("Origin"));
    }
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(UiError::said(status, "Not a form", "This address only takes forms of these pages."));
    }
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| {
        UiError::said(StatusCode::PAYLOAD_TOO_LARGE, "Too much", "The form is larger than 256 KiB.")
    })?;
    let form = Form::parse(&bytes);
    let in_header = parts.headers.get("x-csrf-token").map(HeaderValue::as_bytes);
    let shown = in_header.unwrap_or_else(|| form.value("csrf").as_bytes());
    match bool::from(shown.ct_eq(visit.csrf.as_bytes())) {
        true => Ok(form),
        false => Err(UiError::forged("csrf")),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, UiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| UiError::internal("a page without its shell"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, UiError> {
        let visit = Visit::from_request_parts(parts, state).await?;
        match visit.session.clone() {
            Some(session) => Ok(Self { visit, session }),
            None => {
                Err(UiError::SignIn { next: (parts.method == Method::GET).then(|| visit.target.clone()) })
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, UiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| UiError::internal("a page without its shell"))
    }
}
