//! Index deltas, one per save: what a saver reads of those that no table has yet.

use super::{KnownChunks, READERS, warn};
use crate::progress::Context;
use crate::repository::{ListedDelta, Repository};
use crate::workers;

/// Deltas that are read. Each is a request, and the newest are worth most.
const MAX_DELTAS: usize = 256;

/// Bytes of deltas that are read: what some 180,000 chunks take.
const MAX_BYTES: u64 = 8 << 20;

/// Learns what the deltas of this epoch and the one before say, the newest first,
/// as far as the bounds allow. Older ones can name packs that are being deleted.
pub(super) fn read(known: &KnownChunks, repository: &Repository, context: Context<'_>) {
    let epoch = known.view.epoch;
    let mut deltas = match repository.list_deltas(epoch.saturating_sub(1)) {
        Ok(deltas) => deltas,
        Err(error) => return warn(context, &error),
    };
    deltas.retain(|delta| delta.epoch <= epoch && known.view.believes(&delta.scope));
    workers::for_each(READERS, choose(deltas), |delta| {
        if !known.has_room() || context.check().is_err() {
            return;
        }
        match repository.delta(&delta) {
            Ok(Some(delta)) => known.learn(delta.chunks.rows().iter().copied()),
            // Deleted meanwhile.
            Ok(None) => {}
            Err(error) => warn(context, &error),
        }
    });
}

/// The newest of these that fit, the newest first: ids are ULIDs.
fn choose(mut deltas: Vec<ListedDelta>) -> Vec<ListedDelta> {
    deltas.sort_unstable_by_key(|delta| std::cmp::Reverse((delta.epoch, delta.id)));
    let mut room = MAX_BYTES;
    let mut fits = |delta: &ListedDelta| match room.checked_sub(delta.len) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    deltas.into_iter().filter(|delta| fits(delta)).take(MAX_DELTAS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Layout;
    use crate::ids::DeltaId;

    #[test]
    fn the_newest_that_fit_are_read() {
        let mut ids = 0u128;
        let mut listed = |epoch, scope: &str, len| {
            ids += 1;
            let (scope, id) = (scope.parse().unwrap(), DeltaId::from_bytes(ids.to_be_bytes()));
            ListedDelta { epoch, object: Layout::delta(epoch, &scope, id), scope, id, len }
        };
        let mut deltas = vec![
            listed(0, "b", 5),
            listed(0, "a", 6),
            listed(1, "a", MAX_BYTES),
            listed(1, "b", 7),
        ];
        // As a store lists them.
        deltas.sort_by(|a, b| a.object.cmp(&b.object));
        let lens: Vec<_> = choose(deltas).iter().map(|delta| delta.len).collect();
        assert_eq!(lens, [7, 6, 5], "one that is too long hides no others");
        let many = (0..300).map(|len| listed(0, "a", len)).collect();
        let chosen = choose(many);
        assert_eq!((chosen.len(), chosen[0].len), (256, 299));
    }
}
