//! Whether two sets of times differ: Welch's t-test over crops, the method of dudect.
//!
//! Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", DATE 2017.

/// What the test says of two sets of times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finding {
    /// Welch's t, with the sign of `difference`.
    pub t: f64,
    /// By how much the mean of the first set is above that of the second, in nanoseconds.
    pub difference: f64,
    /// The mean of the second set, in nanoseconds.
    pub mean: f64,
}

/// Compares two sets of times in nanoseconds, and sorts them.
///
/// A few long times (an interrupt, another program) hide a small difference. So the test is made
/// on all times, and a hundred times on those below a limit that goes up; the answer is that with
/// the greatest t. A crop of few times says nothing and is passed over.
pub fn compare(first: &mut [u32], second: &mut [u32]) -> Finding {
    first.sort_unstable();
    second.sort_unstable();
    let mut all = [&*first, &*second].concat();
    all.sort_unstable();

    let (mut a, mut b) = (Sums::default(), Sums::default());
    let mut worst = Finding::default();
    for limit in limits(&all).chain([u32::MAX]) {
        a.add_below(limit, first);
        b.add_below(limit, second);
        if a.count.min(b.count) >= COUNT_MIN {
            let finding = welch(&a, &b);
            if finding.t.abs() > worst.t.abs() {
                worst = finding;
            }
        }
    }
    worst
}

/// A hundred limits between the smallest and the greatest of `sorted`, closer to each other the
/// closer to the end.
fn limits(sorted: &[u32]) -> impl Iterator<Item = u32> {
    (1..=100u32).map(|crop| {
        let above = 0.5f64.powf(f64::from(crop) / 10.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index, of which a part is taken"
        )]
        let at = ((1.0 - above) * sorted.len() as f64) as usize;
        sorted.get(at).copied().unwrap_or(u32::MAX)
    })
}

/// The sums over the first so many of a sorted set.
#[derive(Default)]
struct Sums {
    count: usize,
    sum: u64,
    squares: u128,
}

impl Sums {
    fn add_below(&mut self, limit: u32, sorted: &[u32]) {
        let rest = sorted.iter().skip(self.count);
        for &time in rest.take_while(|time| **time < limit) {
            self.count += 1;
            self.sum += u64::from(time);
            self.squares += u128::from(time) * u128::from(time);
        }
    }

    /// The mean, and the square of its standard error.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the differences were taken before"
    )]
    fn mean_and_error(&self) -> (f64, f64) {
        let count = self.count as f64;
        let scaled = self.count as u128 * self.squares - u128::from(self.sum).pow(2);
        let variance = scaled as f64 / (count * (count - 1.0));
        (self.sum as f64 / count, variance / count)
    }
}

fn welch(a: &Sums, b: &Sums) -> Finding {
    let ((first, first_error), (second, second_error)) = (a.mean_and_error(), b.mean_and_error());
    let error = (first_error + second_error).sqrt();
    let difference = first - second;
    // Times that are all alike have no error: nothing is found, or something for certain.
    let t = if difference == 0.0 {
        0.0
    } else {
        difference / error
    };
    Finding {
        t,
        difference,
        mean: second,
    }
}

/// The smallest crop that is looked at.
const COUNT_MIN: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_by_an_independent_implementation() {
        // python3 -c 'from statistics import *; a = [27, 31, 19, 44, 25]; b = [30, 52, 41, 38];
        //   print((mean(a) - mean(b)) / (variance(a) / 5 + variance(b) / 4) ** 0.5)'
        let (mut a, mut b) = (Sums::default(), Sums::default());
        a.add_below(u32::MAX, &[19, 25, 27, 31, 44]);
        b.add_below(u32::MAX, &[30, 38, 41, 52]);
        let finding = welch(&a, &b);
        assert!((finding.t - T).abs() < 1e-9, "{finding:?}");
        assert!((finding.difference - (29.2 - 40.25)).abs() < 1e-9);
    }

    const T: f64 = -1.788_569_987_278_399;

    /// Times around `base`, one in a hundred of them very long.
    fn times(base: u32, seed: u64) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..50_000)
            .map(|_| match random.u32(..100) {
                0 => base + random.u32(..1_000_000),
                _ => base + random.u32(..20),
            })
            .collect()
    }

    #[test]
    fn alike_is_not_told_apart() {
        let finding = compare(&mut times(200, 1), &mut times(200, 2));
        assert!(finding.t.abs() < 4.5, "{finding:?}");
    }

    #[test]
    fn a_small_difference_is_found_under_long_times() {
        let finding = compare(&mut times(201, 1), &mut times(200, 2));
        assert!(finding.t > 20.0, "{finding:?}");
        assert!((finding.difference - 1.0).abs() < 0.5, "{finding:?}");
    }
}
