//! How a session begins with servers that are older than they should be.

use std::collections::{HashMap, VecDeque};

use matinale::delivery::Mode;
use matinale::lifecycle::Shutdown;

use super::ground::{at_noon, prepare_with};
use crate::support::databases::sqlite;
use crate::support::faulty::{Faulty, Offer, Opening};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc5321_who_does_not_know_ehlo_is_greeted_with_helo_unless_what_it_offers_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let password = format!("\nusername = \"m\"\npassword_file = {password:?}");
    for (tls, password, accepted) in
        [("", "", 2), ("?tls=none", "", 2), ("?tls=required", "", 0), ("?tls=none", password.as_str(), 0)]
    {
        let addresses = [0, 1].map(|n| format!("r{n}@example.org"));
        let openings = VecDeque::from([Opening::NoEhlo; 20]);
        let offer = Offer { starttls: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), openings, Vec::new()).await;
        let relay = format!("url = \"smtp://{}{tls}\"\nconnections = 1{password}", server.address);
        let test = sqlite().await;
        let bench = prepare_with(test.db, "", &relay, at_noon(), &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        let told = format!("{tls} {password:?}");
        assert_eq!(bench.counts().await.accepted, accepted, "{told}");
        assert_eq!(server.record().taken.len(), usize::try_from(accepted).unwrap(), "{told}");
        // It offered nothing, and so nothing was taken for granted: one command at a time.
        assert_eq!(server.record().violations, Vec::<String>::new(), "{told}");
    }
}
