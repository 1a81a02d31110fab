//! cube-proxy: arguments → settings → control thread and cores → wait for signals.

use std::sync::Arc;

use cube_proxy::cores::{self, CoreMessage, CoreStart, Load};
use cube_proxy::record::RecordSender;
use cube_proxy::settings::Settings;
use cube_proxy::tables::{NoResolver, Tables};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let path = std::env::args().nth(1).expect("a settings file");
    let settings = Arc::new(Settings::load(std::path::Path::new(&path)).unwrap_or_else(|e| panic!("{e}")));
    let cpus = cores::allowed_cpus();
    let count = settings.cores.count.map_or(cpus.len(), std::num::NonZero::get);
    let load = Load::new(count);
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| cores::inbox().expect("fds")).unzip();
    let mut address = settings.listener.address;
    for (core, inbox) in inboxes.into_iter().enumerate() {
        let listener = cores::bind(address).expect("bind");
        address = cores::bound_address(&listener).expect("bound");
        let start = CoreStart {
            core,
            cpu: Some(cpus[core % cpus.len()]),
            listener,
            inbox,
            siblings: handles.clone(),
            settings: Arc::clone(&settings),
            connections_max: 18_000,
            load: load.clone(),
            records: RecordSender::closed(),
        };
        cores::spawn(start, |core, driver, passed| eprintln!("core {core}: {} {passed:?}", driver.name()))
            .expect("spawn");
    }
    println!("{{\"event\":\"ready\",\"data\":\"{address}\",\"ops\":\"\"}}");
    let file = settings.tables.file.clone().expect("tables");
    let tables = Arc::new(Tables::load(&file, 1, &mut NoResolver).unwrap_or_else(|e| panic!("{e}")));
    for handle in &handles {
        handle.send(CoreMessage::Adopt(Arc::clone(&tables))).expect("alive");
    }
    loop {
        std::thread::park();
    }
}
