//! What pages load: style, scripts, icons. Part of the program; the name of each holds its digest, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use crate::app::App;

/// One file that pages load.
pub(super) struct Asset {
    /// As templates name it.
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    /// Its path, with the digest.
    url: String,
}

impl Asset {
    pub(super) const ICONS: &'static str = "icons.svg";
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files: [(&str, &str, &[u8]); 5] = [
        ("style.css", "text/css; charset=utf-8", include_bytes!("../../ui/assets/style.css")),
        ("pages.js", JAVASCRIPT, include_bytes!("../../ui/assets/pages.js")),
        ("playground.js", JAVASCRIPT, include_bytes!("../../ui/assets/playground.js")),
        (Asset::ICONS, "image/svg+xml", include_bytes!("../../ui/assets/icons.svg")),
        ("mark.svg", "image/svg+xml", include_bytes!("../../ui/assets/mark.svg")),
    ];
    let asset = |(name, media_type, bytes): (&'static str, _, &'static [u8])| {
        let digest = Sha256::digest(bytes);
        let digest: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, ending) = name.split_once('.').expect("our names have an ending");
        Asset { name, media_type, bytes, url: format!("/ui/assets/{stem}-{digest}.{ending}") }
    };
    files.map(asset).into_iter().collect()
});

/// Where an asset is; templates only name those that there are.
pub(super) fn url_of(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.url)
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/assets/{file}", get(serve))
}

const KEPT_FOR_EVER: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

async fn serve(Path(file): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.url.strip_prefix("/ui/assets/") == Some(&*file)) {
        Some(asset) => {
            (KEPT_FOR_EVER, [(header::CONTENT_TYPE, asset.media_type)], asset.bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
