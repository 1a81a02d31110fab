//! `[tls]`, and the keys about certificates in `[upstream]` and `[admin]`: values to settings and back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::{AdminSection, File, TlsSection, UpstreamSection, integer, text};
use crate::settings::{Admin, KeyPair, Settings, Tls, Trust, Upstream};

/// One entry of `tls.certificates`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyPairEntry {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Check<'_> {
    pub(super) fn tls(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.tls, &mut settings.tls);
        self.address("tls.address", from.address.as_ref(), &mut to.address);
        for (index, pair) in from.certificates.iter().flatten().enumerate() {
            let chain = self.path(&format!("tls.certificates[{index}].chain"), Some(&pair.chain));
            let key = self.path(&format!("tls.certificates[{index}].key"), Some(&pair.key));
            if let (Some(chain), Some(key)) = (chain, key) {
                to.certificates.push(KeyPair { chain, key });
            }
        }
        to.client_ca = self.path("tls.client_ca", from.client_ca.as_ref());
        if to.client_ca.is_some() && from.certificates.as_ref().is_none_or(Vec::is_empty) {
            self.wrong("tls.client_ca", "does nothing without tls.certificates");
        }
        let address = settings.tls.address;
        if settings.tls.is_on() && address.port() != 0 {
            let others =
                [("listener.address", settings.listener.address), ("ops.address", settings.ops.address)];
            for (key, _) in others.iter().filter(|(_, other)| *other == address) {
                self.wrong("tls.address", format_args!("the same as {key}"));
            }
        }
        settings.upstream.trust = self.trust(&file.upstream);
    }

    /// Whom cube-admin must be certified by: one authority if it is named, else those of the system.
    pub(super) fn admin_trust(&mut self, from: &AdminSection) -> Trust {
        let ca_file = self.path("admin.ca_file", from.ca_file.as_ref());
        let chain = from.client_chain.as_ref();
        Trust {
            system_roots: ca_file.is_none(),
            ca_files: ca_file.into_iter().collect(),
            client: self.client_pair("admin", chain, from.client_key.as_ref()),
        }
    }

    fn client_pair(
        &mut self,
        section: &str,
        chain: Option<&String>,
        key: Option<&String>,
    ) -> Option<KeyPair> {
        let name = format!("{section}.client_chain");
        let chain = self.path(&name, chain);
        let key = self.path(&format!("{section}.client_key"), key);
        if chain.is_some() != key.is_some() {
            self.wrong(&name, "client_chain and client_key go together");
        }
        chain.zip(key).map(|(chain, key)| KeyPair { chain, key })
    }

    fn trust(&mut self, from: &UpstreamSection) -> Trust {
        Trust {
            system_roots: from.system_roots.unwrap_or(true),
            ca_files: self.paths("upstream.ca_files", from.ca_files.as_ref()),
            client: self.client_pair("upstream", from.client_chain.as_ref(), from.client_key.as_ref()),
        }
    }

    fn paths(&mut self, key: &str, values: Option<&Vec<String>>) -> Vec<PathBuf> {
        let values = values.into_iter().flatten().enumerate();
        values.filter_map(|(index, value)| self.path(&format!("{key}[{index}]"), Some(value))).collect()
    }
}

pub(super) fn section(tls: &Tls) -> TlsSection {
    let pairs = tls.certificates.iter();
    let certificates: Vec<_> =
        pairs.map(|pair| KeyPairEntry { chain: text(&pair.chain), key: text(&pair.key) }).collect();
    TlsSection {
        address: Some(tls.address.to_string()),
        certificates: (!certificates.is_empty()).then_some(certificates),
        client_ca: tls.client_ca.as_deref().map(text),
    }
}

pub(super) fn upstream_section(upstream: &Upstream) -> UpstreamSection {
    let Trust { system_roots, ca_files, client } = &upstream.trust;
    UpstreamSection {
        idle_per_endpoint: Some(integer(upstream.idle_per_endpoint)),
        idle_timeout_s: Some(upstream.idle_timeout.as_secs_f64()),
        attempts_max: Some(integer(upstream.attempts_max)),
        system_roots: Some(*system_roots),
        ca_files: (!ca_files.is_empty()).then(|| ca_files.iter().map(|path| text(path)).collect()),
        client_chain: client.as_ref().map(|pair| text(&pair.chain)),
        client_key: client.as_ref().map(|pair| text(&pair.key)),
    }
}

pub(super) fn admin_section(admin: &Admin) -> AdminSection {
    let feed = admin.feed.as_ref();
    let client = feed.and_then(|feed| feed.trust.client.as_ref());
    AdminSection {
        feed: feed.map(|feed| feed.origin.to_string()),
        fleet_key_file: feed.map(|feed| text(&feed.fleet_key_file)),
        state_dir: feed.map(|feed| text(&feed.state_dir)),
        ca_file: feed.and_then(|feed| feed.trust.ca_files.first()).map(|path| text(path)),
        client_chain: client.map(|pair| text(&pair.chain)),
        client_key: client.map(|pair| text(&pair.key)),
        node: admin.node.clone(),
        reconnect_min_s: Some(admin.reconnect_min.as_secs_f64()),
        reconnect_max_s: Some(admin.reconnect_max.as_secs_f64()),
        staleness_max_s: Some(admin.staleness_max.unwrap_or_default().as_secs_f64()),
    }
}
