//! Breaking the store behind larder's back, to see that the soak notices.

use larder::format::Layout;
use serde_json::Value;

use crate::ledger::Slot;
use crate::options::Sabotage;
use crate::process::Plan;
use crate::workers::save_once;
use crate::world::{SCOPES, World};

/// The machine of the saboteur.
const MACHINE: &str = "saboteur";

/// A cache that no flush may remove, and nobody else saves.
pub(crate) fn victim() -> Slot {
    Slot::new(SCOPES[0], "keep-victim")
}

/// What is to be done when half of the time is over.
pub(crate) fn strike(world: &World) {
    let Some(sabotage) = world.options.sabotage else { return };
    world.machine(MACHINE);
    let slot = victim();
    let manifest = Layout::manifest(&slot.scope.parse().unwrap(), &slot.key.parse().unwrap());
    let manifest = manifest.unwrap().to_string();
    save_once(world, MACHINE, &slot);
    match sabotage {
        Sabotage::Pack => packs(world, &slot).iter().for_each(|pack| world.place.delete(pack)),
        Sabotage::Flip => {
            for pack in packs(world, &slot) {
                let mut bytes = world.place.get(&pack);
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                world.place.put(&pack, bytes);
            }
        }
        Sabotage::Manifest => world.place.delete(&manifest),
        Sabotage::Rollback => {
            let before = world.place.get(&manifest);
            save_once(world, MACHINE, &slot);
            save_once(world, MACHINE, &slot);
            world.place.put(&manifest, before);
        }
        // These are done elsewhere.
        Sabotage::Tree | Sabotage::Ages | Sabotage::Orphan | Sabotage::Litter | Sabotage::State => {
            return;
        }
    }
    eprintln!("soak: {:4.0} s: sabotage", world.began.elapsed().as_secs_f64());
}

/// The packs' objects of a key.
fn packs(world: &World, slot: &Slot) -> Vec<String> {
    let arguments = ["--json", "--scope", &slot.scope, "show", &slot.key].map(String::from);
    let shown = world.larder("show", MACHINE, &arguments, &Plan::default());
    let ids = shown.list("/packs").iter().filter_map(Value::as_str);
    let objects = world.place.objects();
    let is_meant = |id: &str| objects.keys().find(|object| object.ends_with(id)).cloned();
    ids.filter_map(is_meant).collect()
}
