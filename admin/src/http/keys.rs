//! The public keys of access tokens.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(jwks))
}

#[derive(Serialize, ToSchema)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public key (RFC 8037).
#[derive(Serialize, ToSchema)]
struct Jwk {
    #[schema(example = "OKP")]
    kty: &'static str,
    #[schema(example = "Ed25519")]
    crv: &'static str,
    #[schema(example = "EdDSA")]
    alg: &'static str,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    usage: &'static str,
    kid: String,
    x: String,
}

/// The keys that verify access tokens
#[utoipa::path(get, path = "/keys/.well-known/jwks.json", tag = "tokens", security(()),
    responses((status = 200, body = JwkSet)))]
async fn jwks(State(app): State<App>) -> ([(HeaderName, &'static str); 1], Json<JwkSet>) {
    let jwk = |(kid, x)| Jwk { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid, x };
    let keys = app.keys.public().into_iter().map(jwk).collect();
    ([(header::CACHE_CONTROL, "max-age=900, stale-while-revalidate=60")], Json(JwkSet { keys }))
}
