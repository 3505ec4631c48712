//! Every decoder of every crate under libFuzzer, the same ones that the tests feed. The environment says what is done:
//!
//! - `DECODER=NAME`: that one is fuzzed
//! - `SEEDS=FOLDER`: the samples of all are written below that folder, their names are printed, and that is all

#![no_main]

use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs, process};

use edge_tunnel_proto::testing::Decoder;
use libfuzzer_sys::fuzz_target;

fn decoders() -> impl Iterator<Item = &'static Decoder> {
    [
        edge_tunnel_proto::fuzzing::DECODERS,
        edge_tunnel_server::fuzzing::DECODERS,
        edge_tunnel_agent::fuzzing::DECODERS,
    ]
    .into_iter()
    .flatten()
}

static CHOSEN: LazyLock<&Decoder> = LazyLock::new(|| {
    let name = env::var("DECODER").expect("DECODER names a decoder");
    decoders()
        .find(|decoder| decoder.name == name)
        .unwrap_or_else(|| panic!("there is no decoder {name:?}"))
});

fn prepare() {
    if let Some(folder) = env::var_os("SEEDS") {
        for decoder in decoders() {
            let folder = Path::new(&folder).join(decoder.name);
            fs::create_dir_all(&folder).expect("the folder of seeds can be made");
            for (number, sample) in (decoder.samples)().iter().enumerate() {
                fs::write(folder.join(format!("sample-{number}")), sample)
                    .expect("a seed can be written");
            }
            println!("{}", decoder.name);
        }
        process::exit(0);
    }
    LazyLock::force(&CHOSEN);
}

fuzz_target!(init: prepare(), |data: &[u8]| (CHOSEN.check)(data));
