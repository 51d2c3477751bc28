//! Hints to the processor's cache: what is needed next is fetched while something else is done.
//!
//! A thousand legs do not fit into the nearer caches, so each of them is a row of misses whenever its turn comes. They are
//! misses at known addresses, and overlap if they are asked for in advance.
//!
//! Guarantees: a hint changes nothing but time; no address is wrong. On processors other than x86-64 hints are nothing.

/// Octets in a line of the cache.
const LINE: usize = 64;

/// Hints that all of `value` will be needed soon.
#[inline(always)]
pub fn fetch<T: ?Sized>(value: &T) {
    fetch_front(value, size_of_val(value));
}

/// Hints that the first `octets` of `value` will be needed soon. More than it has are no mistake: what lies behind is fetched.
#[inline(always)]
pub fn fetch_front<T: ?Sized>(value: &T, octets: usize) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    let before = start.addr() % LINE;
    let mut at = 0;
    while at < before + octets {
        hint(start.wrapping_sub(before).wrapping_add(at));
        at += LINE;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hint(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 processor has the instruction, and it reads nothing that the program could see: an address that is
    // not mapped is passed over.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn hint(_address: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_any_length_and_place_are_harmless() {
        let values = [0_u8; 300];
        for start in 0..130 {
            for octets in [0, 1, 63, 64, 65, 170, 4000] {
                fetch_front(&values[start], octets);
            }
            fetch(&values[start..]);
        }
        fetch(&());
        fetch::<[u64]>(&[]);
        assert_eq!(values, [0; 300]);
    }
}
