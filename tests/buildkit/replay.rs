//! The sequences: imports and exports, one after the other.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::client::BuildKit;
use crate::endpoint::Endpoint;
use crate::figures::{Figures, Meter};
use crate::layers::Layer;

/// Layers that are exported at once: BuildKit's `upload_parallelism`.
const LAYERS_AT_ONCE: usize = 4;

/// The most that a larder serve may take, in bytes.
const MAX_MEMORY: u64 = 300 << 20;

/// What an export of the same layers may upload, as a part of what the first did.
const MAX_REUPLOAD: f64 = 0.02;

/// The same, if something was inserted in the middle of each layer: after it, every part of
/// 8 MiB begins and ends elsewhere in the contents, which costs a chunk each. Of short
/// layers, the chunk around the change is more.
const MAX_CHANGED: f64 = 0.04;
const MAX_CHANGED_SHORT: f64 = 0.25;
const LONG: u64 = 100 << 20;

/// Everything, once.
pub(crate) fn all(endpoint: &Endpoint, layers: &[Layer]) -> Figures {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(endpoint, layers))
}

async fn run(endpoint: &Endpoint, layers: &[Layer]) -> Figures {
    let buildkit = BuildKit::new(endpoint);
    let mut meter = Meter::new(endpoint);
    let bytes = layers.iter().map(Layer::len).sum();

    assert_eq!(buildkit.manifest("main").await, None, "nothing was exported yet");
    let first = export(&buildkit, layers, Age::Young).await;
    meter.step("first export", bytes).await;
    import(&buildkit, layers, &first).await;
    meter.step("import", bytes).await;

    // Another build with the same layers, after the time after which they are touched.
    assert_eq!(export(&buildkit, layers, Age::Old).await, first);
    let touched = meter.step("export of the same, with touches", bytes).await;
    // As do layers of 5 GiB and more.
    let longest = layers.last().unwrap();
    if endpoint.pid().is_some() {
        // Ceph asks for a Content-Length there that the SDK does not send.
        buildkit.touch_in_parts(&longest.key(), longest.len(), longest.len() / 3).await;
    }
    let in_parts = meter.step("a touch in parts", longest.len()).await;

    let rebuilt: Vec<Layer> = layers.iter().map(Layer::rebuilt).collect();
    let second = export(&buildkit, &rebuilt, Age::Young).await;
    let again = meter.step("export of layers that were changed", bytes).await;
    import(&buildkit, &rebuilt, &second).await;
    for layer in layers {
        buildkit.compare(layer, layer.len() - 1).await;
    }
    meter.step("import of both", bytes).await;

    if endpoint.pid().is_some() {
        let stored = meter.first().stored;
        let part = |stored: u64, first: u64| stored as f64 / first as f64;
        assert!(part(touched.stored, stored) <= MAX_REUPLOAD, "{touched:?} of {stored}");
        assert!(part(in_parts.stored, stored) <= MAX_REUPLOAD * 2.0, "{in_parts:?} of {stored}");
        let most = if longest.len() >= LONG { MAX_CHANGED } else { MAX_CHANGED_SHORT };
        assert!(part(again.stored, stored) <= most, "{again:?} of {stored}");
        let memory = meter.memory();
        assert!(memory <= MAX_MEMORY, "larder serve took {memory} bytes");
    }
    meter.finish()
}

/// Whether what is there is to be touched.
#[derive(Clone, Copy)]
enum Age {
    Young,
    Old,
}

/// An export; gives its manifest.
async fn export(buildkit: &BuildKit, layers: &[Layer], age: Age) -> Bytes {
    let at_once = Arc::new(Semaphore::new(LAYERS_AT_ONCE));
    let mut exported = vec![];
    for layer in layers {
        let permit = Arc::clone(&at_once).acquire_owned().await.unwrap();
        let (buildkit, layer) = (buildkit.clone(), layer.clone());
        exported.push(tokio::spawn(async move {
            let _held = permit;
            match (buildkit.exists(&layer.key()).await, age) {
                (None, _) => buildkit.upload(&layer).await,
                (Some(len), Age::Old) => {
                    assert_eq!(len, layer.len());
                    buildkit.touch(&layer.key()).await;
                }
                (Some(_), Age::Young) => {}
            }
        }));
    }
    for layer in exported {
        layer.await.unwrap();
    }
    let keys: Vec<String> = layers.iter().map(Layer::key).collect();
    let manifest = Bytes::from(serde_json::to_vec(&keys).unwrap());
    buildkit.put("manifests/main", manifest.clone()).await;
    manifest
}

/// An import: each layer whole, and from somewhere in it on.
async fn import(buildkit: &BuildKit, layers: &[Layer], manifest: &Bytes) {
    let began = Instant::now();
    assert_eq!(buildkit.manifest("main").await.as_ref(), Some(manifest));
    for layer in layers {
        buildkit.compare(layer, 0).await;
        buildkit.compare(layer, layer.len() - layer.len() / 10).await;
    }
    eprintln!("imported in {:.1} s", began.elapsed().as_secs_f64());
}
