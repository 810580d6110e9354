//! Texts that cross the border.

use std::{ffi::c_char, ptr, slice};

/// Bytes that somebody else owns. They need not end with NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyfobView {
    /// The first byte. NULL if there is none.
    pub data: *const c_char,
    /// The number of bytes.
    pub length: usize,
}

impl KeyfobView {
    pub(crate) const EMPTY: Self = Self {
        data: ptr::null(),
        length: 0,
    };

    pub(crate) fn of(text: &str) -> Self {
        Self {
            data: text.as_ptr().cast(),
            length: text.len(),
        }
    }

    /// The bytes; `None` if the view cannot be one.
    ///
    /// # Safety
    ///
    /// If `data` is not null, `length` bytes behind it can be read, and do not change, for `'a`.
    pub(crate) unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: the caller vouches for the bytes.
        unsafe { list(self.data.cast(), self.length) }
    }
}

/// The elements of an array; `None` if the pointer and the number cannot be one's.
///
/// # Safety
///
/// If `first` is not null and aligned, `count` elements behind it can be read, and do not change, for
/// `'a`.
pub(crate) unsafe fn list<'a, T>(first: *const T, count: usize) -> Option<&'a [T]> {
    if count == 0 {
        return Some(&[]);
    }
    let fits = count
        .checked_mul(size_of::<T>())
        .is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if first.is_null() || !first.is_aligned() || !fits {
        return None;
    }
    // SAFETY: the caller vouches for the elements; the pointer is aligned, and the length fits.
    Some(unsafe { slice::from_raw_parts(first, count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_cannot_be_one_is_refused() {
        let view = |data: *const c_char, length| KeyfobView { data, length };
        let text = KeyfobView::of("text");
        // SAFETY: the views are of literals, or refused before they are read.
        unsafe {
            assert_eq!(text.bytes(), Some(&b"text"[..]));
            assert_eq!(view(text.data, 2).bytes(), Some(&b"te"[..]));
            assert_eq!(KeyfobView::EMPTY.bytes(), Some(&b""[..]));
            assert_eq!(view(ptr::null(), 1).bytes(), None);
            assert_eq!(view(text.data, usize::MAX).bytes(), None);
            let odd = ptr::without_provenance::<KeyfobView>(1);
            assert!(list(odd, 1).is_none());
            assert!(list(odd, usize::MAX).is_none());
        }
    }
}
