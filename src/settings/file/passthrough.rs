//! `[passthrough]`: values to [`Passthrough`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::PassthroughSection;
use super::check::Check;
use crate::settings::passthrough::{cluster_of, default};
use crate::settings::{Callback, Passthrough, Settings};

impl Check<'_> {
    /// The section's values are checked also where it has no address, and then mean nothing.
    pub(super) fn passthrough(&mut self, from: &PassthroughSection, settings: &mut Settings) {
        let (mut head_timeout, mut idle_timeout) = (default::HEAD_TIMEOUT, default::IDLE_TIMEOUT);
        self.timeout("passthrough.head_timeout_s", from.head_timeout_s, &mut head_timeout);
        self.timeout("passthrough.idle_timeout_s", from.idle_timeout_s, &mut idle_timeout);
        let callback = self.callback(from);
        let open_beyond_loopback = from.open_beyond_loopback.unwrap_or_default();
        let Some(text) = &from.address else {
            for (key, set) in [
                ("passthrough.origins", from.origins.is_some()),
                ("passthrough.auth_callback_url", from.auth_callback_url.is_some()),
            ] {
                if set {
                    self.wrong(key, "does nothing without passthrough.address");
                }
            }
            return;
        };
        let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.address("passthrough.address", Some(text), &mut address);
        let others = [settings.listener.address, settings.ops.address, settings.tls.address];
        let others = if settings.tls.is_on() { &others[..] } else { &others[..2] };
        if others.contains(&address) && address.port() != 0 {
            self.wrong("passthrough.address", "the same as listener.address, ops.address or tls.address");
        }
        let tls = from.tls.unwrap_or_default();
        if tls && !settings.tls.is_on() {
            self.wrong("passthrough.tls", "needs tls.certificates");
        }
        if callback.is_none() && !address.ip().to_canonical().is_loopback() && !open_beyond_loopback {
            self.wrong(
                "passthrough.address",
                "without auth_callback_url everybody who can reach it may do everything; \
                 name a callback, use a loopback address, or set open_beyond_loopback = true",
            );
        }
        let urls = from.origins.as_deref().unwrap_or_default();
        let cluster = match cluster_of(urls, head_timeout, idle_timeout) {
            Ok(cluster) => cluster,
            Err((_, why)) if urls.is_empty() => return self.wrong("passthrough.origins", why),
            Err((index, why)) => {
                return self.wrong(
                    &format!("passthrough.origins[{index}]"),
                    format_args!("{:?}: {why}", urls[index]),
                );
            }
        };
        if address.port() != 0 && cluster.endpoints.iter().any(|endpoint| endpoint.addrs.contains(&address)) {
            self.wrong("passthrough.origins", "the listener itself");
        }
        let mut asked = callback.iter().flat_map(|callback| &callback.cluster.endpoints);
        if address.port() != 0 && asked.any(|endpoint| endpoint.addrs.contains(&address)) {
            self.wrong("passthrough.auth_callback_url", "the listener itself");
        }
        settings.passthrough = Some(Arc::new(Passthrough {
            address,
            cluster: Arc::new(cluster),
            callback,
            tls,
            plain_beyond_loopback: from.plain_beyond_loopback.unwrap_or_default(),
            open_beyond_loopback,
            forward_credential: from.forward_credential.unwrap_or_default(),
        }));
    }

    fn callback(&mut self, from: &PassthroughSection) -> Option<Callback> {
        let mut timeout = default::CALLBACK_TIMEOUT;
        self.timeout("passthrough.auth_callback_timeout_s", from.auth_callback_timeout_s, &mut timeout);
        let (mut cache_ttl, mut refusal_cache_ttl) = (Duration::ZERO, Duration::ZERO);
        self.seconds("passthrough.cache_ttl_s", from.cache_ttl_s, &mut cache_ttl, 0.0);
        self.seconds(
            "passthrough.refusal_cache_ttl_s",
            from.refusal_cache_ttl_s,
            &mut refusal_cache_ttl,
            0.0,
        );
        let mut cache_entries_max = default::CACHE_ENTRIES_MAX;
        self.number(
            "passthrough.cache_entries_max",
            from.cache_entries_max,
            &mut cache_entries_max,
            1..=100_000_000,
        );
        let mut rate_per_s = default::RATE_PER_S;
        self.number("passthrough.rate_limit_per_s", from.rate_limit_per_s, &mut rate_per_s, 0..=1_000_000);
        let url = from.auth_callback_url.as_ref()?;
        // The URL may hold a secret: it is not repeated.
        let callback =
            Callback::at(url, timeout).map_err(|why| self.wrong("passthrough.auth_callback_url", why));
        let single_flight = from.single_flight.unwrap_or_default();
        callback.ok().map(|callback| Callback {
            cache_ttl,
            refusal_cache_ttl,
            cache_entries_max,
            single_flight,
            rate_per_s,
            ..callback
        })
    }
}
