//! Talking to valgrind, if the program runs under it; else nothing happens.
//!
//! Memcheck follows which bits of memory and registers are undefined through every instruction,
//! and reports a jump or an address that depends on one. A secret that is declared undefined is
//! thereby followed in the same way.

#![expect(
    unsafe_code,
    reason = "a request is a sequence of instructions that do nothing"
)]

use std::{arch::asm, ops::Range};

/// Declares the bytes of `value` undefined: they keep their values, and are followed from now on.
pub fn mark<T: ?Sized>(value: &T) {
    request(MAKE_MEM_UNDEFINED, [address(value), size_of_val(value), 0]);
}

/// As [`mark`], for these bytes of `value`.
pub fn mark_part<T: ?Sized>(value: &T, bytes: Range<usize>) {
    let place = address(value) + bytes.start;
    request(MAKE_MEM_UNDEFINED, [place, bytes.len(), 0]);
}

/// Declares the bytes of `value` defined again.
pub fn reveal<T: ?Sized>(value: &T) {
    request(MAKE_MEM_DEFINED, [address(value), size_of_val(value), 0]);
}

/// As [`reveal`], for these bytes of `value`.
pub fn reveal_part<T: ?Sized>(value: &T, bytes: Range<usize>) {
    let place = address(value) + bytes.start;
    request(MAKE_MEM_DEFINED, [place, bytes.len(), 0]);
}

/// Whether `byte` was marked, or came out of something that was.
pub fn is_marked(byte: u8) -> bool {
    let mut bits = 0u8;
    let places = [address(&byte), (&raw mut bits).expose_provenance(), 1];
    request(GET_VBITS, places);
    bits != 0
}

/// How often something was reported so far, repetitions included.
pub fn reports() -> usize {
    request(COUNT_ERRORS, [0; 3])
}

/// Whether the program runs under valgrind.
pub fn is_heard() -> bool {
    request(RUNNING_ON_VALGRIND, [0; 3]) != 0
}

fn address<T: ?Sized>(value: &T) -> usize {
    (&raw const *value).expose_provenance()
}

/// The preamble of `valgrind.h`, for x86-64.
fn request(number: usize, [first, second, third]: [usize; 3]) -> usize {
    let message = [number, first, second, third, 0, 0];
    let mut answer = 0;
    // SAFETY: The rotations of `rdi` add up to two whole turns, and `rbx` is exchanged with
    // itself: a processor does nothing but set flags. Valgrind takes the sequence as a call. It
    // reads `message`, and changes what it knows about memory, not the memory, but for
    // `GET_VBITS`, which writes `third` bytes to `second`: the one caller provides them.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const message,
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}

const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
/// The first number of memcheck's own requests.
const MEMCHECK: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16;
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;
