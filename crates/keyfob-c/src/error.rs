//! The texts of errors.

use std::{error::Error, ffi::c_char, iter, ptr};

/// The text of an error with its sources.
pub(crate) fn chain(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Writes a text that ends with NUL, shortened to what has room.
///
/// # Safety
///
/// If `buffer` is not null, `size` bytes behind it can be written.
pub(crate) unsafe fn write(text: &str, buffer: *mut c_char, size: usize) {
    if buffer.is_null() || size == 0 {
        return;
    }
    let mut length = text.len().min(size - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    // SAFETY: `length` is less than `size`, and at most that of the text, which does not overlap with
    // what the caller may write to.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), length);
        buffer.add(length).write(0);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn written(text: &str, size: usize) -> Vec<u8> {
        let mut buffer = [c_char::MAX; 16];
        // SAFETY: the size is at most that of the buffer, which then has a NUL.
        unsafe {
            write(text, buffer.as_mut_ptr(), size);
            CStr::from_ptr(buffer.as_ptr()).to_bytes().to_owned()
        }
    }

    #[test]
    fn a_text_is_shortened_to_its_buffer_between_characters() {
        assert_eq!(written("text", 16), b"text");
        assert_eq!(written("text", 5), b"text");
        assert_eq!(written("text", 4), b"tex");
        assert_eq!(written("text", 1), b"");
        assert_eq!(written("\u{e4}\u{e4}", 4), "\u{e4}".as_bytes());
        // SAFETY: nothing is written.
        unsafe { write("text", ptr::null_mut(), 16) };
    }
}
