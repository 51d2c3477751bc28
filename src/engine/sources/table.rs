//! A map that allocates when it is made and never again: open addressing, linear probing, no tombstones.

use unisono_rtp::cache;

/// What can be looked up.
pub(super) trait Key: Copy + Eq {
    /// Two halves of the key, in which keys that differ, differ.
    fn halves(self) -> (u64, u64);
}

/// At most so many of eight slots are used, so that a search ends soon.
const MOST_USED: usize = 7;

/// The map. Its order is kept secret by `seed`, so that nobody outside can choose keys that meet in one place.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    slots: Box<[Option<(K, V)>]>,
    used: usize,
    seed: [u64; 2],
}

impl<K: Key, V: Copy> Table<K, V> {
    /// A table that has room for `entries`; half of it stays empty, or more.
    pub(super) fn new(entries: usize, seed: [u64; 2]) -> Self {
        let slots = (entries.max(4) * 2).next_power_of_two();
        Self {
            slots: vec![None; slots].into_boxed_slice(),
            used: 0,
            seed,
        }
    }

    /// Fetches into the cache what looking up a key needs.
    #[inline]
    pub(super) fn fetch(&self, key: K) {
        cache::fetch(&self.slots[self.home(key)]);
    }

    pub(super) fn get(&self, key: K) -> Option<V> {
        self.slots[self.seek(key)].map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.seek(key);
        self.slots[place].as_mut().map(|(_, value)| value)
    }

    /// Adds an entry; false, and nothing happens, if the key is there already or the table is full.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        let place = self.seek(key);
        if self.slots[place].is_some() || (self.used + 1) * 8 > self.slots.len() * MOST_USED {
            return false;
        }
        self.slots[place] = Some((key, value));
        self.used += 1;
        true
    }

    /// Takes an entry out. Those behind it that would no longer be found move up.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let mut hole = self.seek(key);
        let (_, value) = self.slots[hole].take()?;
        self.used -= 1;
        let mask = self.slots.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let Some((moved, _)) = self.slots[next] else {
                return Some(value);
            };
            let home = self.home(moved);
            // It may stand in the hole only if that is not before its home, going round.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[next].take();
                hole = next;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The key's slot, or the one where it would be put. There is always an empty one.
    fn seek(&self, key: K) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = self.home(key);
        while let Some((held, _)) = &self.slots[place] {
            if *held == key {
                break;
            }
            place = (place + 1) & mask;
        }
        place
    }

    fn home(&self, key: K) -> usize {
        let (a, b) = key.halves();
        let mixed = fold(
            fold(a ^ self.seed[0], b ^ self.seed[1]) ^ b,
            0x9e37_79b9_7f4a_7c15,
        );
        mixed as usize & (self.slots.len() - 1)
    }
}

/// All bits of the product, on each other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Key for u16 {
        fn halves(self) -> (u64, u64) {
            (self.into(), 1)
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Deed {
        Insert(u16, u32),
        Remove(u16),
        Look(u16),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        // Few keys, so that they meet, and are removed and inserted again.
        let key = 0..48_u16;
        prop_oneof![
            (key.clone(), any::<u32>()).prop_map(|(key, value)| Deed::Insert(key, value)),
            key.clone().prop_map(Deed::Remove),
            key.prop_map(Deed::Look),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_map_does(seed: [u64; 2], deeds in prop::collection::vec(deed(), 0..600)) {
            let mut table = Table::new(16, seed);
            let mut model = HashMap::new();
            let room = table.slots.len() * MOST_USED / 8;
            for deed in deeds {
                match deed {
                    Deed::Insert(key, value) => {
                        let expected = !model.contains_key(&key) && model.len() < room;
                        prop_assert_eq!(table.insert(key, value), expected);
                        if expected {
                            model.insert(key, value);
                        }
                    }
                    Deed::Remove(key) => prop_assert_eq!(table.remove(key), model.remove(&key)),
                    Deed::Look(key) => prop_assert_eq!(table.get(key), model.get(&key).copied()),
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for key in 0..48 {
                prop_assert_eq!(table.get(key), model.get(&key).copied());
            }
        }
    }
}
