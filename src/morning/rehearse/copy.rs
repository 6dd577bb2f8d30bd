//! The house as the rehearsal has it: its configuration with the sink for every relay, its readers in the scratch
//! ledger.

use std::net::SocketAddr;

use crate::config::{Config, Newsletter, Relay, RelayKind, Tls};
use crate::lifecycle::Shutdown;
use crate::morning::stage::{self, Stage};
use crate::morning::{House, Result};
use crate::readers;

/// The same configuration, from which nothing can leave: only this newsletter's relays, each of them the sink, without
/// any limit of pace, because what this machine can do is to be seen; and nobody to alarm.
pub(super) fn configuration(config: &Config, newsletter: &Newsletter, sink: SocketAddr) -> Config {
    let mut config = config.clone();
    config.relays = config
        .relays
        .into_iter()
        .filter(|(name, _)| newsletter.relays.contains(name))
        .map(|(name, relay)| (name, to_sink(relay, sink)))
        .collect();
    config.newsletters.retain(|id, _| *id == newsletter.id);
    for newsletter in config.newsletters.values_mut() {
        newsletter.alerts.clear();
        newsletter.check_links = false;
    }
    config.notices.relay = None;
    config
}

fn to_sink(relay: Relay, sink: SocketAddr) -> Relay {
    Relay {
        kind: RelayKind::Smtp,
        host: sink.ip().to_string(),
        port: sink.port(),
        tls: Tls::None,
        rate: None,
        username: None,
        password: None,
        providers: false,
        warm_up: None,
        ..relay
    }
}

/// Brings the readers onto the stage: the real list, or so many made-up ones.
pub(super) async fn readers(
    house: &House,
    newsletter: &Newsletter,
    made_up: Option<u32>,
    stage: &Stage,
    shutdown: &Shutdown,
    say: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    if let Some(count) = made_up {
        say(&format!("making up {count} readers"));
        return tokio::select! {
            made = stage.readers_of(&newsletter.id, 1, count.into()) => made,
            () = shutdown.draining() => Ok(()),
        };
    }
    say("copying the list");
    let told = |count: u64| {
        if count.is_multiple_of(100_000) {
            say(&format!("{count} readers copied"));
        }
    };
    tokio::select! {
        copied = readers::copy::copy(&house.db, &stage.house.db, &newsletter.id, &told) => drop(copied?),
        () = shutdown.draining() => return Ok(()),
    }
    Ok(stage::store::analyze(&stage.house.db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_leave_by_a_rehearsals_configuration() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("matinale.toml"), folder.path().join("secret.key"));
        std::fs::write(&key, "key").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = "[keys]\nsecret_file = \"secret.key\"\n[relay.main]\nurl = \"smtps://mx.example.org\"\n\
             rate = \"5/s\"\nconnections = 7\nusername = \"m\"\npassword_file = \"secret.key\"\n\
             [relay.other]\nurl = \"smtp://mx.example.org\"\n[newsletter.test]\nname = \"Test\"\n\
             from = \"test@example.org\"\nlock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\nrelays = [\"main\"]\n\
             alerts = [\"ops@example.org\"]\n[notices]\nrelay = \"other\"\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&[file], &std::collections::BTreeMap::new()).unwrap();
        let copy = configuration(&config, &config.newsletters["test"], "127.0.0.1:2525".parse().unwrap());
        assert_eq!(copy.relays.keys().collect::<Vec<_>>(), ["main"]);
        let relay = &copy.relays["main"];
        assert_eq!((relay.host.as_str(), relay.port, relay.tls), ("127.0.0.1", 2525, Tls::None));
        assert_eq!((relay.connections, relay.rate.is_none()), (7, true));
        assert!(relay.username.is_none() && relay.password.is_none());
        assert!(copy.newsletters["test"].alerts.is_empty() && copy.notices.relay.is_none());
    }
}
